package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

const supervisordProgram = "/usr/bin/supervisord"

// maxSocketPath is below the kernel's limit of 108 bytes: supervisord binds a
// temporary name, which is longer than the final one.
const maxSocketPath = 90

// programs are the processes of the service, in the order of their start.
var programs = []string{"celery_worker", "etf_api", "celery_beat"}

func (s *Sandbox) supervisor() part {
	return part{
		name:   partSupervisor,
		launch: s.launchSupervisor, ready: s.supervisorReady,
		// It lets a worker finish its task before it ends itself.
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: drainLimit,
	}
}

// drainLimit is how long a worker may go on with its task when it is to end.
const (
	workerStopSeconds = 150
	drainLimit        = (workerStopSeconds + 15) * time.Second
)

func (s *Sandbox) launchSupervisor(context.Context) (command, error) {
	if err := s.folders("supervisor", "run"); err != nil {
		return command{}, err
	}
	if err := s.socketFolder(); err != nil {
		return command{}, err
	}
	path := s.path("supervisor", "supervisord.conf")
	if err := writeFile(path, []byte(s.supervisordConf()), 0o600); err != nil {
		return command{}, err
	}
	return command{argv: []string{supervisordProgram, "--nodaemon", "--configuration", path}}, nil
}

func (s *Sandbox) supervisordConf() string {
	// A percent sign begins an expansion in supervisord's configuration.
	path := func(names ...string) string { return strings.ReplaceAll(s.path(names...), "%", "%%") }
	var b strings.Builder
	fmt.Fprintf(&b, `; written by sandbox:up
[unix_http_server]
file = %s
chmod = 0700

[supervisord]
nodaemon = true
silent = true
logfile = %s
logfile_maxbytes = 0
pidfile = %s
childlogdir = %s
`, strings.ReplaceAll(s.Socket(), "%", "%%"), path("log", "supervisord.log"), path("run", "supervisord.pid"), path("log"))
	if os.Geteuid() == 0 {
		b.WriteString("user = root\n")
	}
	fmt.Fprintf(&b, `
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface

[supervisorctl]
serverurl = unix://%s
`, strings.ReplaceAll(s.Socket(), "%", "%%"))
	run := path("etf", "current", "src", "backend", "bin", "etf-run")
	program := func(kind, name, arguments, rest string) {
		fmt.Fprintf(&b, `
[%s:%s]
command = "%s" %s
autostart = false
startsecs = 1
stopsignal = TERM
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = %s
stdout_logfile_maxbytes = 0
environment = %s="%s"
%s`, kind, name, run, arguments, path("log", name+".log"), markPart, name, rest)
	}
	const twice = "numprocs = 2\nprocess_name = %(program_name)s_%(process_num)02d\nstartretries = 2\n"
	program("fcgi-program", "etf_api", "api",
		fmt.Sprintf("socket = tcp://%s\nstopwaitsecs = 15\n", loopback(s.st.Ports[portAPI]))+twice)
	program("program", "celery_worker", "worker %(process_num)d",
		fmt.Sprintf("stopwaitsecs = %d\n", workerStopSeconds)+twice)
	program("program", "celery_beat", "beat", "stopwaitsecs = 15\n")
	return b.String()
}

// Socket is the path of supervisord's Unix socket. It lies in the sandbox
// unless that makes it too long for the kernel.
func (s *Sandbox) Socket() string {
	if path := s.path("run", "supervisor.sock"); len(path) <= maxSocketPath {
		return path
	}
	return filepath.Join(s.shortFolder(), "supervisor.sock")
}

// shortFolder stands in for run/ where the path is too long.
func (s *Sandbox) shortFolder() string {
	sum := sha256.Sum256([]byte(s.dir))
	return filepath.Join(os.TempDir(), "etf-sandbox-"+hex.EncodeToString(sum[:8]))
}

// socketFolder makes the socket's folder. Where that lies among everybody's
// temporary files it has to be ours and closed to others.
func (s *Sandbox) socketFolder() error {
	dir := filepath.Dir(s.Socket())
	if len(s.Socket()) > maxSocketPath {
		return fmt.Errorf("supervisord's socket: %s: longer than %d bytes: set TMPDIR to a shorter folder", s.Socket(), maxSocketPath)
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("supervisord's socket: %s: not a folder of this user's own (0700): remove it", dir)
	}
	return nil
}

func (s *Sandbox) supervisorClient() *supervisor.Client {
	return supervisor.New(host.Local{}, s.Socket())
}

func (s *Sandbox) supervisorReady(ctx context.Context, ours []process) error {
	daemon, err := s.supervisorClient().Daemon(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(ours, func(p process) bool { return p.PID == daemon.PID }) {
		return fmt.Errorf("the supervisord at %s is process %d, not the sandbox's", s.Socket(), daemon.PID)
	}
	return nil
}

// deployed reports whether a release is live.
func (s *Sandbox) deployed() bool {
	_, err := os.Stat(s.path("etf", "current"))
	return err == nil
}
