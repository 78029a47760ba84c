package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Run runs one command in a process group of its own: a Ctrl-C at the
// terminal reaches the suite, never the command behind its back. When the
// context ends or the time is up, the whole group gets SIGTERM and, after the
// grace, SIGKILL; Run then fails whatever status the command ended with.
func (Local) Run(ctx context.Context, c Command) (Result, error) {
	if len(c.Argv) == 0 {
		return Result{}, errors.New("running a command: no program given")
	}
	name := commandName(c.Argv)
	c.Timeout, c.Grace = cmp.Or(c.Timeout, DefaultTimeout), cmp.Or(c.Grace, DefaultGrace)
	ctx, cancel := context.WithTimeoutCause(ctx, c.Timeout,
		fmt.Errorf("its time of %s was up: %w", c.Timeout, context.DeadlineExceeded))
	defer cancel()
	if ctx.Err() != nil {
		return Result{}, fmt.Errorf("%s: not started: %w", name, context.Cause(ctx))
	}

	op := OperationOf(ctx)
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(append(os.Environ(), op.Env...), c.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A grandchild that keeps the pipes open must not keep us waiting.
	cmd.WaitDelay = c.Grace
	out := attach(cmd, c)
	feed, err := feeder(cmd, c.Stdin)
	if err != nil {
		return Result{}, fmt.Errorf("starting %s: %w", name, err)
	}

	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("starting %s: %w", name, notStarted(c, err))
	}
	if op.Started != nil {
		if err := recordStart(op, cmd.Process.Pid, c.Argv[0]); err != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			cmd.Wait()
			return Result{}, fmt.Errorf("recording the start of %s: %w", name, err)
		}
	}
	fed := feed()
	stop := endGroupWith(ctx, cmd.Process.Pid, c.Grace)
	err = cmd.Wait()
	ended := stop()
	res := Result{Stdout: []byte(out.stdout.keep.String()), Stderr: []byte(Redact(out.stderr.keep.String())), Duration: time.Since(begin)}
	return res, out.errorOf(ctx, c, err, ended, fed())
}

// notStarted names the folder when that is what is missing, and has a program
// that is not in the PATH count as a missing file.
func notStarted(c Command, err error) error {
	if _, dirErr := os.Stat(c.Dir); c.Dir != "" && dirErr != nil {
		return dirErr
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fmt.Errorf("%w: %w", err, fs.ErrNotExist)
	}
	return err
}

func recordStart(op Operation, pid int, argv0 string) error {
	p, err := Local{}.Process(context.Background(), pid)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // it has ended already
	}
	if err != nil {
		return err
	}
	return op.Started(p, argv0)
}

// endGroupWith ends the process group pid when ctx does. The returned
// function waits until nothing more will be signalled and reports whether
// anything was.
func endGroupWith(ctx context.Context, pid int, grace time.Duration) (stop func() (ended bool)) {
	done := make(chan struct{})
	ended := make(chan bool, 1)
	go func() {
		select {
		case <-done:
		case <-ctx.Done():
		}
		select {
		case <-done: // both at once: the command has ended by itself
			ended <- false
			return
		default:
		}
		syscall.Kill(-pid, syscall.SIGTERM)
		// Those behind a leader that goes at once have the grace too.
		if !await(context.Background(), grace, func() bool { return !groupRuns(pid) }) {
			syscall.Kill(-pid, syscall.SIGKILL)
		}
		ended <- true
	}()
	return func() bool { close(done); return <-ended }
}
