// Package hosttest is the conformance suite of host.Host: what the rest of
// the suite relies on, whatever the host is and however it is reached.
package hosttest

import (
	"bytes"
	"context"
	"errors"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// New returns a host and the path of an empty folder on it, both for one test.
// The host is the machine that the test runs on, however it is reached: the
// suite listens for Dial there, and everything else it does through the host.
type New func(t testing.TB) (h host.Host, dir string)

// Run has each requirement checked, side by side where nothing is measured.
func Run(t *testing.T, newHost New) {
	for _, group := range []struct {
		name  string
		tests map[string]func(*suite)
	}{
		{"command", commandTests},
		{"ending", endingTests},
		{"file", fileTests},
		{"race", raceTests},
		{"process", processTests},
		{"dial", dialTests},
	} {
		for name, test := range group.tests {
			t.Run(group.name+"/"+name, func(t *testing.T) {
				t.Parallel()
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				h, dir := newHost(t)
				test(&suite{T: t, h: h, dir: dir, ctx: ctx})
			})
		}
	}
}

// A suite is one test with its host.
type suite struct {
	*testing.T
	h   host.Host
	dir string // on the host
	ctx context.Context
}

func (s *suite) path(name string) string { return path.Join(s.dir, name) }

// must ends the test when something that is not under test fails.
func (s *suite) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// wantIs demands an error of a kind that names the object it is about.
func (s *suite) wantIs(what string, err, kind error, named string) {
	s.Helper()
	switch {
	case !errors.Is(err, kind):
		s.Errorf("%s: got error %v, want one that is %v", what, err, kind)
	case !strings.Contains(err.Error(), named):
		s.Errorf("%s: the error does not name %s: %v", what, named, err)
	}
}

// sh runs a script with arguments, which it sees as $1, $2, …
func sh(script string, args ...string) host.Command {
	return host.Command{Argv: append([]string{"sh", "-c", script, "sh"}, args...)}
}

// output runs a command that has to succeed.
func (s *suite) output(ctx context.Context, c host.Command) string {
	s.Helper()
	res, err := s.h.Run(ctx, c)
	s.must(err)
	return string(res.Stdout)
}

// started runs a command beside the test and returns once the file ready,
// which it has to make when it is, exists. The channel gives its error.
func (s *suite) started(ctx context.Context, c host.Command, ready string) <-chan error {
	s.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := s.h.Run(ctx, c)
		ended <- err
	}()
	s.await("the command is ready", func() bool {
		_, err := s.h.Stat(s.ctx, ready)
		return err == nil
	})
	return ended
}

// ended waits for the error of a command that was started.
func (s *suite) ended(errs <-chan error) error {
	s.Helper()
	select {
	case err := <-errs:
		return err
	case <-time.After(patience):
		s.Fatalf("the command did not end within %s", patience)
		return nil
	}
}

// patience is how long a busy machine may take for what is expected.
const patience = 20 * time.Second

func (s *suite) await(what string, come func() bool) {
	s.Helper()
	for end := time.Now().Add(patience); !come(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			s.Fatalf("waited %s in vain until %s", patience, what)
		}
	}
}

// pid reads a process number that a script has written to a file.
func (s *suite) pid(file string) int {
	s.Helper()
	var n int
	s.await(file+" holds a number", func() bool {
		b, err := s.h.ReadFile(s.ctx, file)
		if err != nil {
			return false
		}
		n, err = strconv.Atoi(string(bytes.TrimSpace(b)))
		return err == nil
	})
	return n
}

// gone demands that a process has ended; a moment is granted, since a zombie's
// state may follow its group's.
func (s *suite) gone(what string, pid int) {
	s.Helper()
	s.await(what+" is gone", func() bool {
		_, err := s.h.Process(s.ctx, pid)
		return err != nil
	})
}

// endLater has a process that a test leaves behind end with the test.
func (s *suite) endLater(pid int) {
	s.Helper()
	p, err := s.h.Process(s.ctx, pid)
	s.must(err)
	s.Cleanup(func() {
		if err := s.h.Terminate(context.Background(), p, 0); err != nil {
			s.Error(err)
		}
	})
}
