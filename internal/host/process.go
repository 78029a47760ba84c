package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxStdout = 16 << 20 // bytes of output kept in a Result
	maxStderr = 64 << 10 // bytes of error output kept for errors
)

// Run runs one command in a process group of its own: a Ctrl-C at the
// terminal reaches the suite, never the command behind its back. When the
// context ends or the time is up, the whole group gets SIGTERM and, after the
// grace, SIGKILL.
func (Local) Run(ctx context.Context, c Command) (Result, error) {
	if len(c.Argv) == 0 {
		return Result{}, errors.New("running a command: no program given")
	}
	timeout, grace := c.Timeout, c.Grace
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	if grace == 0 {
		grace = DefaultGrace
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	op := OperationOf(ctx)
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir = c.Dir
	cmd.Env = append(append(os.Environ(), op.Env...), c.Env...)
	cmd.Stdin = c.Stdin
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	// A grandchild that keeps the pipes open must not keep us waiting.
	cmd.WaitDelay = grace
	stdout, stderr := &tail{limit: maxStdout}, &tail{limit: maxStderr}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	if c.Stdout != nil {
		cmd.Stdout = c.Stdout
	}
	if c.Stderr != nil {
		cmd.Stderr = teeWriter{c.Stderr, stderr}
	}

	if err := ctx.Err(); err != nil {
		return Result{}, fmt.Errorf("%s: not started: %w", commandName(c.Argv), err)
	}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return Result{}, fmt.Errorf("starting %s: %w", commandName(c.Argv), err)
	}
	if op.Started != nil {
		if err := recordStart(op, cmd.Process.Pid, c.Argv[0]); err != nil {
			syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			cmd.Wait()
			return Result{}, fmt.Errorf("recording the start of %s: %w", commandName(c.Argv), err)
		}
	}
	stop := endGroupWith(ctx, cmd.Process.Pid, grace)
	err := cmd.Wait()
	stop()
	res := Result{Stdout: []byte(stdout.String()), Stderr: []byte(Redact(stderr.String())), Duration: time.Since(begin)}
	if c.Stdout == nil && stdout.lost {
		return res, fmt.Errorf("%s: printed more than %d bytes", commandName(c.Argv), maxStdout)
	}
	return res, exitError(ctx, c, timeout, string(res.Stderr), err)
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
// function waits until nothing more will be signalled.
func endGroupWith(ctx context.Context, pid int, grace time.Duration) (stop func()) {
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		syscall.Kill(-pid, syscall.SIGTERM)
		select {
		case <-done:
		case <-time.After(grace):
		}
		// What is left of the group, also behind a leader that has gone.
		syscall.Kill(-pid, syscall.SIGKILL)
	})
	return func() { close(done); wg.Wait() }
}

func exitError(ctx context.Context, c Command, timeout time.Duration, stderr string, err error) error {
	if err == nil {
		return nil
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return fmt.Errorf("%s: %w", commandName(c.Argv), err)
	}
	e := &ExitError{Argv: redactAll(c.Argv), Code: exit.ExitCode(), Stderr: stderr}
	if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
		e.Signal = st.Signal().String()
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%w (its time of %s was up): %w", e, timeout, context.DeadlineExceeded)
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", e, context.Cause(ctx))
	}
	return e
}

func redactAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Redact(w)
	}
	return out
}

type teeWriter [2]interface{ Write([]byte) (int, error) }

func (t teeWriter) Write(p []byte) (int, error) {
	t[1].Write(p)
	return t[0].Write(p)
}

var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// Process reads /proc; a zombie counts as gone.
func (Local) Process(ctx context.Context, pid int) (Process, error) {
	if err := ctx.Err(); err != nil {
		return Process{}, err
	}
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return Process{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if err != nil {
		return Process{}, err
	}
	boot, err := bootID()
	if err != nil {
		return Process{}, err
	}
	// The name, in parentheses, may hold anything, also parentheses.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return Process{}, fmt.Errorf("process %d: cannot read /proc/%d/stat", pid, pid)
	}
	if fields[0] == "Z" || fields[0] == "X" {
		return Process{}, fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
	}
	start, err := strconv.ParseUint(fields[19], 10, 64)
	return Process{PID: pid, Start: start, Boot: boot}, err
}

// Processes looks at every process whose environment this user may read.
func (l Local) Processes(ctx context.Context, env string) ([]Process, error) {
	entries, err := l.List(ctx, "/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, name := range entries {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile("/proc/" + name + "/environ")
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+env+"\x00")) {
			continue
		}
		if p, err := l.Process(ctx, pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// Terminate signals the group that p leads, or p alone where it leads none.
func (l Local) Terminate(ctx context.Context, p Process, grace time.Duration) error {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if !Alive(ctx, l, p) {
			return ctx.Err()
		}
		target := p.PID
		if pgid, err := syscall.Getpgid(p.PID); err == nil && pgid == p.PID {
			target = -p.PID
		}
		if err := syscall.Kill(target, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending process %d: %w", p.PID, err)
		}
		for end := time.Now().Add(max(grace, 100*time.Millisecond)); time.Now().Before(end) && ctx.Err() == nil; {
			if !Alive(ctx, l, p) {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if Alive(ctx, l, p) {
		return fmt.Errorf("ending process %d: it is still there after SIGKILL", p.PID)
	}
	return nil
}
