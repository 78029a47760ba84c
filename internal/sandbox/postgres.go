package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// The roles and the database of the service.
const (
	roleSuper = "postgres"
	roleOwner = "etf_owner"
	roleApp   = "etf_app"
	database  = "goldfinch"
)

func postgresData(dir string) string { return filepath.Join(dir, "postgres", "data") }

func (s *Sandbox) postgres() part {
	return part{
		name: partPostgres, port: portPostgres,
		launch: s.launchPostgres, ready: s.postgresReady,
		serves: func(p process) bool { return lockFilePID(s.dir) == p.PID },
		limit:  time.Minute, stop: syscall.SIGINT, grace: 30 * time.Second,
	}
}

// launchPostgres creates the cluster if there is none and writes its
// configuration.
func (s *Sandbox) launchPostgres(ctx context.Context) (command, error) {
	bin, err := postgresBin()
	if err != nil {
		return command{}, err
	}
	account, err := s.postgresAccount()
	if err != nil {
		return command{}, err
	}
	if err := account.folder(s.path("postgres")); err != nil {
		return command{}, err
	}
	data := postgresData(s.dir)
	if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) {
		if err := s.initdb(ctx, filepath.Join(bin, "initdb"), account); err != nil {
			return command{}, err
		}
	}
	for name, text := range map[string]string{
		"postgresql.conf": postgresConf(s.st.Ports[portPostgres]),
		"pg_hba.conf":     "# written by sandbox:up\nhost all all 127.0.0.1/32 scram-sha-256\n",
	} {
		if err := account.file(filepath.Join(data, name), text); err != nil {
			return command{}, err
		}
	}
	// No server of ours runs (see ensure): a lock file is a killed one's, and
	// its pid may be somebody else's by now.
	if err := os.Remove(filepath.Join(data, "postmaster.pid")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return command{}, err
	}
	return command{argv: []string{filepath.Join(bin, "postgres"), "-D", data}, attr: account.attr()}, nil
}

// initdb makes the cluster aside and gives it its name when it is whole, so
// that a run that was cut short leaves nothing to be mistaken for one.
func (s *Sandbox) initdb(ctx context.Context, program string, account *account) error {
	aside, secret := postgresData(s.dir)+".new", s.path("postgres", "password")
	if err := os.RemoveAll(aside); err != nil {
		return err
	}
	defer os.Remove(secret)
	if err := account.file(secret, s.st.Secrets.Superuser+"\n"); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, program, "-D", aside, "-U", roleSuper, "--pwfile", secret,
		"-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
	cmd.Dir = "/"
	cmd.Env = s.environment(partPostgres)
	cmd.SysProcAttr = account.attr()
	cmd.SysProcAttr.Setpgid = true
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("creating the database cluster: initdb: %w%s", err, tailOf(out, 12))
	}
	return os.Rename(aside, postgresData(s.dir))
}

// postgresConf keeps shared memory in files of the data folder: /dev/shm is
// missing, closed or tiny in some containers, and what a killed server leaves
// there would outlive a purge.
func postgresConf(port int) string {
	return fmt.Sprintf(`# written by sandbox:up
listen_addresses = '127.0.0.1'
port = %d
unix_socket_directories = ''
max_connections = 60
password_encryption = 'scram-sha-256'
shared_buffers = 128MB
dynamic_shared_memory_type = mmap
max_wal_size = 2GB
timezone = 'UTC'
log_timezone = 'UTC'
datestyle = 'iso, ymd'
default_text_search_config = 'pg_catalog.english'
`, port)
}

// postgresReady asks the server for its data folder: an open port proves
// nothing, not even that our process has opened it.
func (s *Sandbox) postgresReady(ctx context.Context, _ []process) error {
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	var dir string
	if err := conn.QueryRow(ctx, "show data_directory").Scan(&dir); err != nil {
		return err
	}
	if dir != postgresData(s.dir) {
		return fmt.Errorf("the server on port %d has its data in %s, not in %s", s.st.Ports[portPostgres], dir, postgresData(s.dir))
	}
	return nil
}

// connect opens a session of the superuser.
func (s *Sandbox) connect(ctx context.Context, db string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(s.databaseURL("postgresql", roleSuper, s.st.Secrets.Superuser, db) + "?sslmode=disable&application_name=etf_sandbox")
	if err != nil {
		return nil, errors.New("connecting to postgresql: the sandbox's own URL is not valid")
	}
	cfg.OnNotice = nil
	return pgx.ConnectConfig(ctx, cfg)
}

func (s *Sandbox) databaseURL(scheme, user, password, db string) string {
	u := url.URL{Scheme: scheme, User: url.UserPassword(user, password), Host: loopback(s.st.Ports[portPostgres]), Path: "/" + db}
	return u.String()
}

// lockFilePID is the server's pid by its own lock file, 0 if there is none.
func lockFilePID(dir string) int { return lockFileLine(postgresData(dir), 1) }

// lockFilePort is the port of a running server by its lock file; the data
// folder is taken from the command line.
func lockFilePort(pid int) int {
	cmdline, _ := os.ReadFile(procPath(pid, "cmdline"))
	args := strings.Split(string(cmdline), "\x00")
	if i := slices.Index(args, "-D"); i > 0 && i+1 < len(args) && lockFileLine(args[i+1], 1) == pid {
		return lockFileLine(args[i+1], 4)
	}
	return 0
}

// lockFileLine reads one number of postmaster.pid: line 1 is the pid, line 4
// the port.
func lockFileLine(data string, line int) int {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return 0
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < line {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(lines[line-1]))
	return n
}
