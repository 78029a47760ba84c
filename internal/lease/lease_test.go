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
