package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/host/hosttest"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

func TestGuardConforms(t *testing.T) {
	hosttest.Run(t, func(t testing.TB) (host.Host, string) {
		l, _, err := lease.Take(ctx, local, t.TempDir(), me())
		if err != nil {
			t.Fatal(err)
		}
		return l.Guard(local), t.TempDir()
	})
}

// calls is every call that changes something, and every one that only looks.
func calls(dir string, address string) (changes, reads map[string]func(context.Context, host.Host) error) {
	file, file2 := filepath.Join(dir, "file"), filepath.Join(dir, "new")
	self := os.Getpid()
	changes = map[string]func(context.Context, host.Host) error{
		"Run": func(ctx context.Context, h host.Host) error {
			_, err := h.Run(ctx, host.Command{Argv: []string{"touch", file2}})
			return err
		},
		"WriteFile": func(ctx context.Context, h host.Host) error { return h.WriteFile(ctx, file2, nil, 0o600) },
		"Create":    func(ctx context.Context, h host.Host) error { return h.Create(ctx, file2, nil, 0o600) },
		"Append":    func(ctx context.Context, h host.Host) error { return h.Append(ctx, file2, nil, 0o600) },
		"Mkdir":     func(ctx context.Context, h host.Host) error { return h.Mkdir(ctx, file2, 0o700) },
		"Remove":    func(ctx context.Context, h host.Host) error { return h.Remove(ctx, file) },
		"Rename":    func(ctx context.Context, h host.Host) error { return h.Rename(ctx, file, file2) },
		"Symlink":   func(ctx context.Context, h host.Host) error { return h.Symlink(ctx, file, file2) },
		"Terminate": func(ctx context.Context, h host.Host) error { return h.Terminate(ctx, host.Process{PID: self}, 0) },
		"Dial": func(ctx context.Context, h host.Host) error {
			c, err := h.Dial(ctx, "tcp", address)
			if err == nil {
				c.Close()
			}
			return err
		},
	}
	reads = map[string]func(context.Context, host.Host) error{
		"ReadFile":  func(ctx context.Context, h host.Host) error { _, err := h.ReadFile(ctx, file); return err },
		"Stat":      func(ctx context.Context, h host.Host) error { _, err := h.Stat(ctx, file); return err },
		"Readlink":  func(ctx context.Context, h host.Host) error { _, err := h.Readlink(ctx, "/proc/self/cwd"); return err },
		"List":      func(ctx context.Context, h host.Host) error { _, err := h.List(ctx, dir); return err },
		"FreeBytes": func(ctx context.Context, h host.Host) error { _, err := h.FreeBytes(ctx, dir); return err },
		"Process":   func(ctx context.Context, h host.Host) error { _, err := h.Process(ctx, self); return err },
		"Processes": func(ctx context.Context, h host.Host) error { _, err := h.Processes(ctx, "A=b"); return err },
	}
	return changes, reads
}

// listen is a server that keeps what comes to it.
func listen(t *testing.T) (address string, came <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	lines := make(chan string, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				for in := bufio.NewScanner(c); in.Scan(); {
					lines <- in.Text()
				}
			}()
		}
	}()
	return l.Addr().String(), lines
}

// Each way in which a lease is lost keeps every change back, whatever context
// it comes with; what only looks goes on.
func TestGuardOfALostLease(t *testing.T) {
	address, _ := listen(t)
	for name, lose := range map[string]func(l *lease.Lease, dir string){
		"taken over": func(_ *lease.Lease, dir string) { take(t, dir, other(noon.Add(time.Hour))) },
		"released":   func(l *lease.Lease, _ string) { release(t, l) },
		"parked":     func(l *lease.Lease, _ string) { l.Park(ctx, noon.Add(time.Hour)) },
		"folder lost": func(_ *lease.Lease, dir string) {
			if err := os.RemoveAll(dir); err != nil {
				t.Fatal(err)
			}
		},
	} {
		ops, dir := t.TempDir(), t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		changes, reads := calls(dir, address)
		l := take(t, ops, me())
		h := l.Guard(local)
		if h.String() != local.String() {
			t.Errorf("it is called %s", h)
		}
		lose(l, ops)
		over, cancel := context.WithCancel(ctx)
		cancel()
		for call, do := range changes {
			for what, ctx := range map[string]context.Context{"any context": ctx, "one that goes on": context.WithoutCancel(over), "one that has ended": over} {
				err := do(ctx, h)
				if what != "one that has ended" || name != "taken over" && name != "folder lost" {
					wantLost(t, name+": "+call+", "+what, err)
				} else if err == nil {
					t.Errorf("%s: %s, %s: it was done", name, call, what)
				}
			}
		}
		if got := files(t, dir); got != "file" {
			t.Errorf("%s: the folder holds %s", name, got)
		}
		for call, do := range reads {
			if err := do(ctx, h); err != nil {
				t.Errorf("%s: %s: %v", name, call, err)
			}
		}
	}
}

// A context that has ended, or ends meanwhile, is not a lost lease.
func TestGuardAndTheEndOfAContext(t *testing.T) {
	dir := t.TempDir()
	l := take(t, t.TempDir(), me())
	errStop := errors.New("somebody asked for the end")
	over, stop := context.WithCancelCause(ctx)
	stop(errStop)
	changes, _ := calls(dir, "127.0.0.1:1")
	for call, do := range changes {
		err := do(over, l.Guard(local))
		if !errors.Is(err, errStop) || !errors.Is(err, context.Canceled) || errors.Is(err, lease.ErrHeld) {
			t.Errorf("%s: got error %v", call, err)
		}
	}
	if err := l.Guard(local).Mkdir(context.WithoutCancel(over), filepath.Join(dir, "new"), 0o700); err != nil {
		t.Error(err)
	}
}

// stuck is a host whose folders cannot be listed.
type stuck struct{ host.Local }

var errStuck = errors.New("input/output error")

func (stuck) List(ctx context.Context, _ string) ([]string, error) {
	if host.OperationOf(ctx).Env != nil {
		return nil, errors.New("it looked in the operation's name")
	}
	return nil, errStuck
}

// switched is one host or another.
type switched struct{ host.Host }

// Who cannot look changes nothing, but has not lost anything.
func TestGuardThatCannotLook(t *testing.T) {
	dir := t.TempDir()
	h := &switched{local}
	l, _, err := lease.Take(ctx, h, t.TempDir(), me())
	if err != nil {
		t.Fatal(err)
	}
	g := l.Guard(local)
	h.Host = stuck{}
	err = g.Mkdir(host.WithOperation(ctx, host.Operation{Env: []string{"OP=1"}}), filepath.Join(dir, "new"), 0o700)
	if !errors.Is(err, errStuck) || errors.Is(err, lease.ErrHeld) || !strings.Contains(err.Error(), filepath.Join(dir, "new")) || files(t, dir) != "" {
		t.Errorf("got error %v, %s", err, files(t, dir))
	}
	h.Host = local
	if err := g.Mkdir(ctx, filepath.Join(dir, "new"), 0o700); err != nil {
		t.Error(err)
	}
}

// A connection that was there before the lease was lost.
func TestGuardedConnection(t *testing.T) {
	ops := t.TempDir()
	address, came := listen(t)
	l := take(t, ops, me())
	c, err := l.Guard(local).Dial(ctx, "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := fmt.Fprintln(c, "held"); err != nil || <-came != "held" {
		t.Errorf("got %v", err)
	}
	take(t, ops, other(noon.Add(time.Hour)))
	time.Sleep(250 * time.Millisecond)
	_, err = fmt.Fprintln(c, "lost")
	wantLost(t, "writing", err, address, "other@here")
	select {
	case line := <-came:
		t.Errorf("the server was told %q", line)
	case <-time.After(100 * time.Millisecond):
	}
}

// changerProcess changes files without end, and writes down before and after
// each change that it does.
func changerProcess() {
	ops := os.Getenv("LEASE_DIR")
	parent := filepath.Dir(ops)
	out, err := os.Create(filepath.Join(parent, "said"))
	if err != nil {
		panic(err)
	}
	l, _, err := lease.Take(ctx, local, ops, brief(time.Second))
	if err != nil {
		panic(err)
	}
	kept, stop := l.Keep(ctx)
	defer stop()
	h := l.Guard(local)
	over := context.WithoutCancel(kept) // as an undo does
	for n := 0; ; n++ {
		fmt.Fprintln(out, "change")
		if n%2 == 0 {
			err = h.Append(over, filepath.Join(parent, "log"), fmt.Appendln(nil, n), 0o600)
		} else {
			err = h.WriteFile(over, filepath.Join(parent, "file"), fmt.Append(nil, n), 0o600)
		}
		if err != nil {
			fmt.Fprintln(out, "end", errors.Is(err, lease.ErrLost), err)
			<-kept.Done()
			fmt.Fprintln(out, "context", errors.Is(context.Cause(kept), lease.ErrLost), context.Cause(kept))
			return
		}
		fmt.Fprintln(out, "changed")
		time.Sleep(2 * time.Millisecond)
	}
}

// A process that stands still past its expiry, and goes on when another has
// the lease: frozen between two changes it makes none, frozen within one it
// makes at most that one.
func TestFrozenHolder(t *testing.T) {
	for _, within := range []bool{false, true} {
		t.Run(fmt.Sprintf("within=%t", within), func(t *testing.T) {
			t.Parallel()
			parent := t.TempDir()
			ops := filepath.Join(parent, "ops")
			p := startHelper(t, "changer", ops)
			freeze(t, p.cmd.Process, filepath.Join(parent, "said"), within)
			r := other(time.Now())
			r.Now, r.Wait = time.Now, 10*time.Second
			next, before, err := lease.Take(ctx, local, ops, r)
			if err != nil || before == nil || before.Process.PID != p.cmd.Process.Pid {
				t.Fatalf("taken over from %v, %v", before, err)
			}
			log, file := content(t, parent, "log"), content(t, parent, "file")
			signal(t, p.cmd.Process, syscall.SIGCONT)
			if err := p.cmd.Wait(); err != nil {
				t.Error(err)
			}
			said := content(t, parent, "said")
			if !strings.Contains(said, "\nend true ") || !strings.Contains(said, "\ncontext true ") {
				t.Errorf("it did not end with %v: %s", lease.ErrLost, said[max(0, len(said)-500):])
			}
			more := strings.Count(content(t, parent, "log"), "\n") - strings.Count(log, "\n")
			if content(t, parent, "file") != file {
				more++
			}
			if more > 0 && !within || more > 1 {
				t.Errorf("it made %d changes more", more)
			}
			if err := next.Check(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

func content(t *testing.T, dir, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(b)
}

func signal(t *testing.T, p *os.Process, s os.Signal) {
	t.Helper()
	if err := p.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// freeze stops a process after some changes, within one or between two.
func freeze(t *testing.T, p *os.Process, said string, within bool) {
	t.Helper()
	dir, name := filepath.Split(said)
	await(t, "it changes something", func() bool { return strings.Count(content(t, dir, name), "changed") > 20 })
	await(t, "it was stopped at the right moment", func() bool {
		signal(t, p, syscall.SIGSTOP)
		await(t, "it stands still", func() bool { return still(p.Pid) })
		if strings.HasSuffix(content(t, dir, name), "change\n") == within {
			return true
		}
		signal(t, p, syscall.SIGCONT)
		return false
	})
}

// still reports whether every thread of a process is stopped.
func still(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, thread := range threads {
		b, err := os.ReadFile(thread)
		if err != nil || !strings.Contains(string(b), ") T ") {
			return false
		}
	}
	return len(threads) > 0
}
