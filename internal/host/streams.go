package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"syscall"
)

const (
	maxStdout = 16 << 20 // bytes of output kept in a Result
	maxStderr = 64 << 10 // bytes of error output kept for errors
)

// feeder connects in to the command. Once the command has started, the first
// function begins to copy; the second, once it has ended, says what went wrong
// with reading. Run does not wait for a reader that still blocks then, as
// exec's own copying would.
func feeder(cmd *exec.Cmd, in io.Reader) (feed func() (failure func() error), err error) {
	if file, ok := in.(*os.File); ok || in == nil {
		if ok {
			cmd.Stdin = file
		}
		return func() func() error { return func() error { return nil } }, nil
	}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	src, failed := &source{Reader: in}, make(chan error, 1)
	return func() func() error {
		go func() {
			io.Copy(pipe, src) // writing fails when the command does not want more
			failed <- src.err  // before the command can see the end of its input
			pipe.Close()
		}()
		return func() error {
			select {
			case err := <-failed:
				return err
			default:
				return nil
			}
		}
	}, nil
}

// source remembers why reading failed.
type source struct {
	io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.Reader.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// outputs are the two streams of a command.
type outputs struct{ stdout, stderr output }

// attach gives the command its output streams.
func attach(cmd *exec.Cmd, c Command) *outputs {
	// One lock for both: they may be the same writer.
	mu := new(sync.Mutex)
	out := &outputs{
		stdout: output{mu: mu, to: c.Stdout, keep: &tail{limit: maxStdout}, all: c.Stdout == nil},
		stderr: output{mu: mu, to: c.Stderr, keep: &tail{limit: maxStderr}, all: true},
	}
	cmd.Stdout, cmd.Stderr = &out.stdout, &out.stderr
	if file, ok := c.Stdout.(*os.File); ok {
		cmd.Stdout = file // no copying of a dump
	}
	return out
}

// output passes on what a command prints, and keeps the end of it.
type output struct {
	mu   *sync.Mutex
	to   io.Writer // nil: nobody
	keep *tail
	all  bool  // keep
	err  error // of to
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all {
		o.keep.Write(p)
	}
	if o.to == nil {
		return len(p), nil
	}
	n, err := o.to.Write(p)
	if err != nil {
		o.err = err
	}
	return n, err
}

// errorOf tells what went wrong with a command: err is what Wait returned,
// ended that the context or the time ended it, unread why its input could not
// be read.
func (out *outputs) errorOf(ctx context.Context, c Command, err error, ended bool, unread error) error {
	name := commandName(c.Argv)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		e := &ExitError{Argv: redactAll(c.Argv), Code: exit.ExitCode(), Stderr: Redact(out.stderr.keep.String())}
		if st, ok := exit.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			e.Signal = st.Signal().String()
		}
		err = e
	case errors.Is(err, exec.ErrWaitDelay):
		err = fmt.Errorf("%s: it ended, but a process that it left behind holds its output open", name)
	case err != nil:
		err = fmt.Errorf("%s: %w", name, err)
	case out.stdout.keep.lost:
		err = fmt.Errorf("%s: printed more than %d bytes", name, maxStdout)
	case ended:
		err = fmt.Errorf("%s: ended before it was done", name)
	}
	// What the command could not help is the reason of what it did.
	for _, cause := range []struct {
		doing string
		err   error
	}{{"writing its output", out.stdout.err}, {"writing its error output", out.stderr.err}, {"reading its input", unread}} {
		if cause.err != nil {
			err = errors.Join(fmt.Errorf("%s: %s: %w", name, cause.doing, cause.err), err)
		}
	}
	if ended {
		err = fmt.Errorf("%w: %w", err, context.Cause(ctx))
	}
	return err
}

func redactAll(words []string) []string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = Redact(w)
	}
	return out
}
