package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

var (
	ctx   = context.Background()
	local = host.Local{}
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// me is a holder that runs: this process.
func me(t testing.TB) lease.Holder {
	t.Helper()
	self, err := local.Process(ctx, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	return lease.Holder{Operation: "op", Purpose: "deploy", By: "me@here", Process: self, Run: "https://ci/1"}
}

// dead is a holder whose process has gone.
func dead(t testing.TB) lease.Holder {
	t.Helper()
	cmd := exec.Command("sleep", "300")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p, err := local.Process(ctx, cmd.Process.Pid)
	cmd.Process.Kill()
	cmd.Wait()
	if err != nil {
		t.Fatal(err)
	}
	h := me(t)
	h.Process, h.By = p, "dead@here"
	return h
}

func take(t *testing.T, dir string, holder lease.Holder, now time.Time) *lease.Lease {
	t.Helper()
	l, err := lease.Take(ctx, local, dir, holder, now)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func files(t *testing.T, dir string) string {
	t.Helper()
	names, err := local.List(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func TestOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ops")
	if h, err := lease.Show(ctx, local, dir); h != nil || err != nil {
		t.Errorf("before the first: got %v, %v", h, err)
	}
	l := take(t, dir, me(t), noon)
	if l.Token() <= noon.Unix() {
		t.Errorf("the first token is %d, want more than %d", l.Token(), noon.Unix())
	}
	other := me(t)
	other.By = "other@here"
	_, err := lease.Take(ctx, local, dir, other, noon.Add(time.Hour))
	if !errors.Is(err, lease.ErrHeld) {
		t.Fatalf("got error %v, want %v", err, lease.ErrHeld)
	}
	for _, part := range []string{"me@here", "2026-11-23T12:00:00Z", "deploy", fmt.Sprint(os.Getpid()), "https://ci/1"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
	held, err := lease.Show(ctx, local, dir)
	if err != nil || held.Operation != "op" || held.Token != l.Token() || held.Released != nil || held.V != lease.Version {
		t.Errorf("got %+v, %v", held, err)
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	if got, want := files(t, dir), fmt.Sprint("lease.0 lease.", l.Token()); got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	if st, err := os.Stat(filepath.Join(dir, fmt.Sprint("lease.", l.Token()))); err != nil || st.Mode() != 0o600 {
		t.Errorf("got mode %v, %v", st.Mode(), err)
	}
}

func TestReleased(t *testing.T) {
	dir := t.TempDir()
	first := take(t, dir, me(t), noon)
	if err := first.Release(ctx, noon.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	h, err := lease.Show(ctx, local, dir)
	if err != nil || h.Released == nil || !h.Released.Equal(noon.Add(time.Minute)) {
		t.Errorf("got %+v, %v", h, err)
	}
	second := take(t, dir, me(t), noon.Add(-time.Hour)) // a clock that goes behind
	if second.Token() <= first.Token() {
		t.Errorf("token %d after %d", second.Token(), first.Token())
	}
	for what, err := range map[string]error{"Check": first.Check(ctx), "Release": first.Release(ctx, noon)} {
		if !errors.Is(err, lease.ErrHeld) {
			t.Errorf("%s of one that was passed on: got error %v", what, err)
		}
	}
	if err := second.Check(ctx); err != nil {
		t.Error(err)
	}
	if h, err := lease.Show(ctx, local, dir); err != nil || h.Released != nil {
		t.Errorf("the old holder released the new one's: %+v, %v", h, err)
	}
}

func TestDeadHolder(t *testing.T) {
	reused := me(t) // its number is another process now
	reused.Process.Start--
	rebooted := me(t)
	rebooted.Process.Boot = "00000000-0000-0000-0000-000000000000"
	for name, gone := range map[string]lease.Holder{"killed": dead(t), "number used again": reused, "machine started again": rebooted} {
		dir := t.TempDir()
		old := take(t, dir, gone, noon)
		begin := time.Now()
		l := take(t, dir, me(t), noon)
		if l.Token() <= old.Token() || time.Since(begin) > 5*time.Second {
			t.Errorf("%s: token %d after %d, taken in %s", name, l.Token(), old.Token(), time.Since(begin))
		}
		if err := old.Check(ctx); !errors.Is(err, lease.ErrHeld) {
			t.Errorf("%s: the old one passes: %v", name, err)
		}
	}
}

// blind cannot look for processes, as when a connection breaks.
type blind struct{ host.Local }

var errBlind = errors.New("connection lost")

func (blind) Process(context.Context, int) (host.Process, error) { return host.Process{}, errBlind }

func TestHolderThatCannotBeLookedFor(t *testing.T) {
	dir := t.TempDir()
	held := take(t, dir, me(t), noon)
	if _, err := lease.Take(ctx, blind{}, dir, me(t), noon); !errors.Is(err, errBlind) || !strings.Contains(err.Error(), "me@here") {
		t.Errorf("got error %v", err)
	}
	if err := held.Check(ctx); err != nil {
		t.Errorf("it was taken over: %v", err)
	}
}

// Many takers with clocks that differ, round after round, on a lease that was
// released, left by a dead process, or never there.
func TestExactlyOneWinner(t *testing.T) {
	const rounds = 1000
	parent := t.TempDir()
	gone, self := dead(t), me(t)
	dir := filepath.Join(parent, "0")
	last := int64(0)
	h := unsynced{}
	for round := range rounds {
		switch round % 4 {
		case 0:
			dir = filepath.Join(parent, fmt.Sprint(round)) // never there
			last = 0
		case 1:
			if _, err := lease.Take(ctx, h, dir, gone, noon); err != nil {
				t.Fatal(err)
			}
		}
		takers := 4
		if round%50 < 4 {
			takers = 20
		}
		begin := make(chan struct{})
		results := make(chan *lease.Lease, takers)
		var all sync.WaitGroup
		for i := range takers {
			all.Go(func() {
				<-begin
				l, err := lease.Take(ctx, h, dir, self, noon.Add(time.Duration(i)*time.Second))
				if err != nil && !errors.Is(err, lease.ErrHeld) {
					t.Errorf("round %d: %v", round, err)
				}
				results <- l
			})
		}
		close(begin)
		all.Wait()
		close(results)
		var winners []*lease.Lease
		for l := range results {
			if l != nil {
				winners = append(winners, l)
			}
		}
		if len(winners) != 1 {
			t.Fatalf("round %d has %d winners: %s", round, len(winners), files(t, dir))
		}
		w := winners[0]
		if err := w.Check(ctx); err != nil || w.Token() <= last {
			t.Fatalf("round %d: token %d after %d, %v", round, w.Token(), last, err)
		}
		last = w.Token()
		if err := w.Release(ctx, noon); err != nil {
			t.Fatal(err)
		}
	}
}

// unsynced does what Local does by the same system calls, without waiting for
// the disk: a thousand rounds would only measure that.
type unsynced struct{ host.Local }

func (unsynced) Create(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	tmp, err := beside(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Link(tmp, path)
}

func (unsynced) WriteFile(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	tmp, err := beside(path, data)
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func beside(path string, data []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Close())
}

func TestTokensGrowAfterTheFolderWasLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ops")
	old := take(t, dir, me(t), noon)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := old.Check(ctx); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("its file is lost, but it passes: %v", err)
	}
	if l := take(t, dir, me(t), noon.Add(time.Minute)); l.Token() <= old.Token() {
		t.Errorf("token %d after %d", l.Token(), old.Token())
	}
	if err := old.Release(ctx, noon); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("it could be released: %v", err)
	}
}

// slow is a host on which something happens before a file is made, once.
type slow struct {
	host.Local
	before func()
}

func (s *slow) Create(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.Local.Create(ctx, path, data, mode)
}

// One who looked before two others came and went makes a number that is free
// again: it must notice that they have passed it.
func TestSlowTaker(t *testing.T) {
	dir := t.TempDir()
	if err := take(t, dir, me(t), noon).Release(ctx, noon); err != nil {
		t.Fatal(err)
	}
	var second *lease.Lease
	h := &slow{before: func() {
		if err := take(t, dir, me(t), noon).Release(ctx, noon); err != nil {
			t.Fatal(err)
		}
		second = take(t, dir, me(t), noon)
	}}
	if l, err := lease.Take(ctx, h, dir, me(t), noon); !errors.Is(err, lease.ErrHeld) {
		t.Errorf("got %+v, %v; want %v", l, err, lease.ErrHeld)
	}
	if err := second.Check(ctx); err != nil {
		t.Error(err)
	}
	if got, want := files(t, dir), fmt.Sprint("lease.0 lease.", second.Token()); got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	// And one whose turn it is when the others have released it again.
	h.before = func() {
		if err := second.Release(ctx, noon); err != nil {
			t.Fatal(err)
		}
	}
	if err := second.Release(ctx, noon); err != nil {
		t.Fatal(err)
	}
	if l, err := lease.Take(ctx, h, dir, me(t), noon); err != nil || l.Token() <= second.Token() {
		t.Errorf("got %+v, %v", l, err)
	}
}

// vanishing has a file taken away between being listed and being read, once.
type vanishing struct {
	host.Local
	before func()
}

func (v *vanishing) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if before := v.before; before != nil {
		v.before = nil
		before()
	}
	return v.Local.ReadFile(ctx, path)
}

func TestPassedOnWhileBeingRead(t *testing.T) {
	dir := t.TempDir()
	if err := take(t, dir, me(t), noon).Release(ctx, noon); err != nil {
		t.Fatal(err)
	}
	next := me(t)
	next.By = "next@here"
	_, err := lease.Take(ctx, &vanishing{before: func() { take(t, dir, next, noon) }}, dir, me(t), noon)
	if !errors.Is(err, lease.ErrHeld) || !strings.Contains(err.Error(), "next@here") {
		t.Errorf("got error %v, want that next@here holds it", err)
	}
}

func TestContextEnds(t *testing.T) {
	dir := t.TempDir()
	if err := take(t, dir, me(t), noon).Release(ctx, noon); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	errStop := errors.New("somebody asked for the end")
	over, stop := context.WithCancelCause(ctx)
	stop(errStop)
	if _, err := lease.Take(over, local, dir, me(t), noon); err == nil {
		t.Error("it was taken")
	}
	if got := files(t, dir); got != before {
		t.Errorf("the folder holds %s, before %s", got, before)
	}
	// Just after the file was made it is held all the same: somebody has to
	// release it.
	over, stop = context.WithCancelCause(ctx)
	l, err := lease.Take(over, &after{do: func() { stop(errStop) }}, dir, me(t), noon)
	if err != nil {
		t.Fatalf("made and lost: %v, %s", err, files(t, dir))
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
}

// after does something when a file has been made.
type after struct {
	host.Local
	do func()
}

func (a *after) Create(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	err := a.Local.Create(ctx, path, data, mode)
	a.do()
	return err
}

func TestDamaged(t *testing.T) {
	good, err := json.Marshal(lease.Holder{V: lease.Version, Token: 99, Process: dead(t).Process})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ content, says string }{
		"rubbish":                 {"rubbish", "damaged"},
		"empty":                   {"", "damaged"},
		"cut off":                 {string(good[:len(good)/2]), "damaged"},
		"an empty object":         {"{}", "damaged"},
		"null":                    {"null", "damaged"},
		"another number":          {strings.Replace(string(good), "99", "98", 1), "damaged"},
		"a newer format":          {strings.Replace(string(good), `"v":1`, `"v":2`, 1), "format 2"},
		"a newer format, changed": {`{"v":2,"token":"99"}`, "format 2"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "lease.99")
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := lease.Take(ctx, local, dir, me(t), noon)
			if err == nil || errors.Is(err, lease.ErrHeld) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got error %v, want one that names the file and says %q", err, test.says)
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != test.content || files(t, dir) != "lease.99" {
				t.Errorf("it was changed: %q, %v, %s", b, err, files(t, dir))
			}
		})
	}
	dir := t.TempDir()
	for name, content := range map[string]string{"lease.99": string(good), "lease.98": "rubbish", "lease.x": "", "lease": "", ".lease.100.1": "", "journal": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l := take(t, dir, me(t), noon); l.Token() != 100 {
		t.Errorf("beside other files: token %d, want 100", l.Token())
	}
}
