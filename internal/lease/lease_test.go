package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

func at(t time.Time) func() time.Time { return func() time.Time { return t } }

// me asks for the lease at noon.
func me() lease.Request {
	return lease.Request{Operation: "op", Purpose: "deploy", By: "me@here", Run: "https://ci/1", Now: at(noon)}
}

// other asks for it too, at another time.
func other(now time.Time) lease.Request {
	return lease.Request{Operation: "other", Purpose: "rollback", By: "other@here", Now: at(now)}
}

func take(t *testing.T, dir string, r lease.Request) *lease.Lease {
	t.Helper()
	l, _, err := lease.Take(ctx, local, dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t *testing.T, l *lease.Lease) {
	t.Helper()
	if err := l.Release(ctx); err != nil {
		t.Fatal(err)
	}
}

func show(t *testing.T, dir string) lease.Holder {
	t.Helper()
	h, err := lease.Show(ctx, local, dir)
	if err != nil || h == nil {
		t.Fatalf("got %v, %v", h, err)
	}
	return *h
}

// write makes a lease file as another machine or program would have.
func write(t *testing.T, dir string, h lease.Holder) {
	t.Helper()
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprint("lease.", h.Token)), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// gone is a process that has ended.
func gone(t testing.TB) host.Process {
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
	return p
}

func files(t *testing.T, dir string) string {
	t.Helper()
	names, err := local.List(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

// wantLost demands that a holder finds its lease lost, and who has it.
func wantLost(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	if !errors.Is(err, lease.ErrLost) || !errors.Is(err, lease.ErrHeld) {
		t.Errorf("%s: got error %v, want %v", what, err, lease.ErrLost)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error does not say %q: %v", what, s, err)
		}
	}
}

// wantHeld demands that the lease is refused, and who has it.
func wantHeld(t *testing.T, what string, err error, state lease.State, says ...string) {
	t.Helper()
	var held *lease.HeldError
	if !errors.Is(err, lease.ErrHeld) || !errors.As(err, &held) || held.State != state || errors.Is(err, lease.ErrLost) {
		t.Errorf("%s: got error %v, want that it is %s", what, err, state)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%s: the error does not say %q: %v", what, s, err)
		}
	}
}

func TestOneHolder(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ops")
	if h, err := lease.Show(ctx, local, dir); h != nil || err != nil || h.State(ctx, noon) != lease.Free {
		t.Errorf("before the first: got %v, %v", h, err)
	}
	l := take(t, dir, me())
	if l.Token() <= noon.Unix() {
		t.Errorf("the first token is %d, want more than %d", l.Token(), noon.Unix())
	}
	_, _, err := lease.Take(ctx, local, dir, other(noon.Add(time.Second)))
	wantHeld(t, "a second one", err, lease.Held,
		"me@here", "2026-11-23T12:00:00Z", "deploy", fmt.Sprint(os.Getpid()), "https://ci/1", "last heard of", "2026-11-23T12:01:00Z")
	held := show(t, dir)
	self, err := local.Process(ctx, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if held.Operation != "op" || held.Token != l.Token() || held.Released != nil || held.V != lease.Version || held.Process != self ||
		!strings.HasPrefix(held.Namespace, "pid:") || !held.Heartbeat.Equal(noon) || !held.Expires.Equal(noon.Add(lease.DefaultExpiry)) || held.Parked {
		t.Errorf("got %+v", held)
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

// A new operation is named when it has the lease, not before it waited.
func TestNamedWhenTaken(t *testing.T) {
	dir := t.TempDir()
	r := me()
	calls := 0
	r.Operation, r.Name = "", func(context.Context) (string, error) { calls++; return "named", nil }
	l := take(t, dir, r)
	if calls != 1 || l.Holder().Operation != "named" || show(t, dir).Operation != "named" {
		t.Errorf("%d calls, %+v", calls, l.Holder())
	}
	r.Name = func(context.Context) (string, error) { return "", errors.New("no name") }
	release(t, l)
	if _, _, err := lease.Take(ctx, local, dir, r); err == nil || !strings.Contains(err.Error(), "no name") {
		t.Errorf("got %v", err)
	}
}

func TestReleased(t *testing.T) {
	dir := t.TempDir()
	now := noon
	r := me()
	r.Now = func() time.Time { return now }
	first := take(t, dir, r)
	now = noon.Add(time.Second)
	release(t, first)
	if h := show(t, dir); h.Released == nil || !h.Released.Equal(now) || h.State(ctx, now) != lease.Free || !strings.Contains(h.String(), "released at 2026-11-23T12:00:01Z") {
		t.Errorf("got %v", h)
	}
	wantLost(t, "Check after Release", first.Check(ctx), "released")
	wantLost(t, "Park after Release", first.Park(ctx, noon.Add(time.Hour)), "released")
	release(t, first)                                                               // once more does no harm
	second, before, err := lease.Take(ctx, local, dir, other(noon.Add(-time.Hour))) // a clock that goes behind
	if err != nil || before != nil || second.Token() <= first.Token() {
		t.Fatalf("got %+v after %d, from %v, %v", second, first.Token(), before, err)
	}
	wantLost(t, "Release of one that was passed on", first.Release(ctx), "other@here")
	if err := second.Check(ctx); err != nil {
		t.Error(err)
	}
	if h := show(t, dir); h.Released != nil {
		t.Errorf("the old holder released the new one's: %+v", h)
	}
}

func TestParked(t *testing.T) {
	dir := t.TempDir()
	until := noon.Add(2 * time.Hour)
	l := take(t, dir, me())
	if err := l.Park(ctx, until); err != nil {
		t.Fatal(err)
	}
	wantLost(t, "Check after Park", l.Check(ctx), "parked")
	wantLost(t, "Park after Park", l.Park(ctx, until.Add(time.Hour)), "parked")
	h := show(t, dir)
	if !h.Parked || h.Process.PID != 0 || h.Namespace != "" || !h.Expires.Equal(until) || h.State(ctx, until.Add(-1)) != lease.Parked || h.State(ctx, until) != lease.Expired {
		t.Errorf("got %+v", h)
	}
	_, _, err := lease.Take(ctx, local, dir, other(until.Add(-1)))
	wantHeld(t, "another operation", err, lease.Parked, "me@here", "parked until 2026-11-23T14:00:00Z", "lease:release")

	next := me() // the next stage, on another machine
	next.Now = at(noon.Add(time.Hour))
	second, before, err := lease.Take(ctx, local, dir, next)
	if err != nil || before != nil || second.Token() <= l.Token() {
		t.Fatalf("the next stage: got %+v, from %v, %v", second, before, err)
	}
	if was, ok := second.WasParked(); !ok || !was.Equal(until) {
		t.Errorf("it was parked until %v, %t", was, ok)
	}
	if _, ok := l.WasParked(); ok {
		t.Error("the first one was taken from a parked one")
	}
	wantLost(t, "the stage before", l.Release(ctx), "me@here")
	if err := second.Park(ctx, until); err != nil {
		t.Fatal(err)
	}
	// Late, its next stage only goes on; another operation takes it over.
	next.Now = at(until.Add(time.Second))
	third, before, err := lease.Take(ctx, local, dir, next)
	if err != nil || before != nil {
		t.Fatalf("the late stage: got %+v, from %v, %v", third, before, err)
	}
	if err := third.Park(ctx, until.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, before, err = lease.Take(ctx, local, dir, other(until.Add(time.Minute)))
	if err != nil || before == nil || before.Operation != "op" || !before.Parked {
		t.Errorf("another operation, when it has expired: from %v, %v", before, err)
	}
}

// Without an operation there is no other stage of the same.
func TestParkedWithoutOperation(t *testing.T) {
	dir := t.TempDir()
	r := me()
	r.Operation = ""
	if err := take(t, dir, r).Park(ctx, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	_, _, err := lease.Take(ctx, local, dir, r)
	wantHeld(t, "no operation", err, lease.Parked)
}

// Each holder that another program may have written, on this machine or
// another one, before and after it expires.
func TestState(t *testing.T) {
	self, err := local.Process(ctx, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	take(t, dir, me())
	written := show(t, dir)
	reused := self // its number is another process now
	reused.Start--
	elsewhere := self
	elsewhere.Boot = "00000000-0000-0000-0000-000000000000"
	goneElsewhere := gone(t)
	goneElsewhere.Boot = elsewhere.Boot
	for name, test := range map[string]struct {
		process       host.Process
		namespace     string
		before, after lease.State
	}{
		"it runs":                      {self, written.Namespace, lease.Held, lease.Expired},
		"it was killed":                {gone(t), written.Namespace, lease.Dead, lease.Dead},
		"its number was used again":    {reused, written.Namespace, lease.Dead, lease.Dead},
		"another machine":              {elsewhere, written.Namespace, lease.Held, lease.Expired},
		"another machine, no such one": {goneElsewhere, written.Namespace, lease.Held, lease.Expired},
		"another container":            {gone(t), "pid:[1]", lease.Held, lease.Expired},
		"no process":                   {host.Process{Boot: self.Boot}, written.Namespace, lease.Held, lease.Expired},
	} {
		h := written
		h.Process, h.Namespace = test.process, test.namespace
		if got := h.State(ctx, h.Expires.Add(-1)); got != test.before {
			t.Errorf("%s: got %s, want %s", name, got, test.before)
		}
		if got := h.State(ctx, h.Expires); got != test.after {
			t.Errorf("%s, past its expiry: got %s, want %s", name, got, test.after)
		}
	}
	// Those of programs without a heartbeat: one that runs does not expire.
	for name, test := range map[string]struct {
		process       host.Process
		before, after lease.State
	}{
		"it runs":         {self, lease.Held, lease.Held},
		"it was killed":   {gone(t), lease.Dead, lease.Dead},
		"another machine": {elsewhere, lease.Held, lease.Expired},
	} {
		h := lease.Holder{V: 1, Token: 1, Since: noon, Process: test.process}
		if got := h.State(ctx, noon.Add(time.Minute-1)); got != test.before {
			t.Errorf("former format, %s: got %s, want %s", name, got, test.before)
		}
		if got := h.State(ctx, noon.Add(time.Minute)); got != test.after {
			t.Errorf("former format, %s, a minute later: got %s, want %s", name, got, test.after)
		}
	}
	over, cancel := context.WithCancel(ctx)
	cancel()
	killed := written
	killed.Process = gone(t)
	if got := killed.State(over, noon); got != lease.Held {
		t.Errorf("it could not be looked: got %s, want %s", got, lease.Held)
	}
}

// What is left by a dead holder, and by one that was not heard of.
func TestTakenOver(t *testing.T) {
	dir := t.TempDir()
	first := take(t, dir, me())
	killed := show(t, dir)
	killed.Process = gone(t)
	write(t, dir, killed)
	l, before, err := lease.Take(ctx, local, dir, other(noon))
	if err != nil || before == nil || before.Operation != "op" || before.Process != killed.Process || before.Released != nil || before.Token != first.Token() || l.Token() <= first.Token() {
		t.Fatalf("dead: got %+v from %v, %v", l, before, err)
	}
	wantLost(t, "Check of the dead one", first.Check(ctx), "taken over", "other@here")

	far := show(t, dir)
	far.Process.Boot = "00000000-0000-0000-0000-000000000000"
	write(t, dir, far)
	_, _, err = lease.Take(ctx, local, dir, me())
	wantHeld(t, "another machine's", err, lease.Held, "other@here")
	late := me()
	late.Now = at(far.Expires)
	_, before, err = lease.Take(ctx, local, dir, late)
	if err != nil || before == nil || before.Operation != "other" {
		t.Errorf("expired: from %v, %v", before, err)
	}
}

func TestFormerFormat(t *testing.T) {
	dir := t.TempDir()
	p := gone(t)
	old := fmt.Sprintf(`{"v":1,"token":99,"operation":"op","purpose":"deploy","by":"old@here","process":{"pid":%d,"start":%d,"boot":"%s"},"since":"2026-11-23T11:59:30Z"}`,
		p.PID, p.Start, p.Boot)
	file := filepath.Join(dir, "lease.99")
	if err := os.WriteFile(file, []byte(strings.Replace(old, p.Boot, "another", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := lease.Take(ctx, local, dir, me())
	wantHeld(t, "within a minute", err, lease.Held, "old@here")
	if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	l, before, err := lease.Take(ctx, local, dir, me())
	if err != nil || before == nil || before.By != "old@here" || l.Token() != 100 {
		t.Errorf("got %+v from %v, %v", l, before, err)
	}
}
