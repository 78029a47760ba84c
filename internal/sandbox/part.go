package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// The names of the parts, as they stand in progress, status and processes.
const (
	partPostgres     = "postgres"
	partRedis        = "redis"
	partEpmd         = "epmd"
	partRabbitMQ     = "rabbitmq"
	partSupervisor   = "supervisor"
	partPrometheus   = "prometheus"
	partAlertmanager = "alertmanager"
	partExporter     = "node-exporter"
	partPrices       = "prices"
)

// systemPath is the PATH of everything that the sandbox starts: another
// python3 or postgres on the user's own must not come first.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// A part is one server of the stack.
type part struct {
	name string
	port string // the name of its port; empty where it listens on a Unix socket
	// launch writes what the server needs to begin and says how it is started.
	launch func(ctx context.Context) (command, error)
	// ready looks once whether the server answers, and as itself; ours are
	// the part's processes.
	ready func(ctx context.Context, ours []process) error
	// serves tells the server itself among the part's processes; nil takes
	// any of them.
	serves func(p process) bool
	limit  time.Duration // until it must be ready
	stop   syscall.Signal
	grace  time.Duration // from the stop signal to SIGKILL
}

// parts is the whole stack; the slowest comes first.
func (s *Sandbox) parts() []part {
	return []part{
		s.epmd(),
		s.rabbitmq(),
		s.postgres(),
		s.redis(),
		s.supervisor(),
		s.prometheus(),
		s.alertmanager(),
		s.exporter(),
		s.prices(),
	}
}

// server returns the process of a part that serves, if one runs: never a
// short-lived child of it, which looks like it until it has become another
// program.
func (p part) server(all []process) (process, bool) {
	set := filter(all, func(c process) bool {
		return c.part == p.name && (p.serves == nil || p.serves(c))
	})
	if top := roots(set); len(top) > 0 {
		return top[0], true
	}
	return process{}, false
}

// A command is how a server is started.
type command struct {
	argv []string
	env  []string
	attr *syscall.SysProcAttr // user and capabilities; nil for our own
}

// ensure brings one part up: it is left alone where it runs and answers,
// waited for where it is starting, and started anew otherwise.
func (s *Sandbox) ensure(ctx context.Context, p part) error {
	done := s.out.begin(p.name)
	result := ""
	defer func() { done(result) }()
	ctx, cancel := context.WithTimeoutCause(ctx, p.limit, fmt.Errorf("not ready after %s", p.limit))
	defer cancel()
	all := processes(s.dir)
	if server, runs := p.server(all); runs {
		err := s.await(ctx, p, func() error {
			if !server.alive() {
				return errEnded
			}
			return nil
		})
		if err == nil {
			result = "running"
			return nil
		}
		if !errors.Is(err, errEnded) {
			return fmt.Errorf("%s: process %d runs, but: %w: run sandbox:down and start again", p.name, server.PID, err)
		}
	}
	// What a killed server has left behind holds its port or its files.
	if err := end(ctx, ofPart(processes(s.dir), p.name), p.stop, 2*time.Second); err != nil {
		return err
	}
	if err := s.startPart(ctx, p); err != nil {
		return fmt.Errorf("starting %s: %w", p.name, err)
	}
	result = "ready"
	return nil
}

var errEnded = errors.New("it ended")

func (s *Sandbox) startPart(ctx context.Context, p part) error {
	cmd, err := p.launch(ctx)
	if err != nil {
		return err
	}
	path := s.path("log", p.name+".log")
	log, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	begin, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	exited, err := s.spawn(p.name, cmd, log)
	if err != nil {
		return err
	}
	err = s.await(ctx, p, func() error {
		select {
		case err := <-exited:
			return fmt.Errorf("%w at once (%v)", errEnded, err)
		default:
			return nil
		}
	})
	if err != nil {
		said, _ := io.ReadAll(io.NewSectionReader(log, begin, 1<<20))
		return fmt.Errorf("%w; see %s%w", err, path, textError(tailOf(said, 12)))
	}
	return nil
}

// textError carries what a server wrote as the end of an error's text.
type textError string

func (e textError) Error() string { return string(e) }

// await polls until the part is ready; ended says when that is in vain.
func (s *Sandbox) await(ctx context.Context, p part, ended func() error) error {
	for {
		err := s.lookAt(ctx, p)
		var taken *portTakenError
		if err == nil || errors.As(err, &taken) {
			return err
		}
		if gone := ended(); gone != nil {
			return gone
		}
		if sleep(ctx, 25*time.Millisecond) != nil {
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
	}
}

// lookAt looks once whether a part is up: its own process listens on its
// port, and the server says that it is the one.
func (s *Sandbox) lookAt(ctx context.Context, p part) error {
	ours := ofPart(processes(s.dir), p.name)
	if p.port != "" {
		port := s.st.Ports[p.port]
		switch who(port, listeners(), ours) {
		case listenForeign:
			return &portTakenError{port: port}
		case listenNone:
			return fmt.Errorf("nobody listens on port %d", port)
		case listenOurs:
		}
	}
	if len(ours) == 0 {
		return errors.New("no process of it runs")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	return p.ready(ctx, ours)
}

// spawn starts a program that outlives this process: in a session of its own,
// reading nothing, writing to its log. The channel tells how it ended, which
// also keeps it from staying behind as a zombie while this process lives.
func (s *Sandbox) spawn(name string, c command, log *os.File) (<-chan error, error) {
	cmd := exec.Command(c.argv[0], c.argv[1:]...)
	cmd.Dir = "/"
	cmd.Env = append(s.environment(name), c.env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = c.attr
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setsid = true
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	exited := make(chan error, 1)
	go func() { exited <- cmd.Wait() }()
	return exited, nil
}

// environment is what every process of a part is given.
func (s *Sandbox) environment(part string) []string {
	home, err := os.UserHomeDir()
	if err != nil {
		home = s.dir
	}
	return []string{
		"PATH=" + systemPath, "HOME=" + home, "LANG=C.UTF-8", "TZ=UTC",
		markProcess + "=" + s.dir, markPart + "=" + part,
	}
}

// tailOf renders the last lines of an output for the end of an error.
func tailOf(out []byte, lines int) string {
	text := strings.TrimSpace(string(out))
	if text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	return ":\n" + strings.Join(all[max(0, len(all)-lines):], "\n")
}
