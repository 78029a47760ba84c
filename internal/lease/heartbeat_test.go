package lease_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// brief asks for a lease that expires soon, by the real clock.
func brief(expiry time.Duration) lease.Request {
	return lease.Request{Operation: "op", Purpose: "deploy", By: "me@here", Expiry: expiry}
}

func await(t *testing.T, what string, come func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !come(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// ended waits for the end of a context.
func ended(t *testing.T, ctx context.Context) error {
	t.Helper()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(20 * time.Second):
		t.Fatal("the context does not end")
		return nil
	}
}

func TestHeartbeat(t *testing.T) {
	dir := t.TempDir()
	const expiry = 1200 * time.Millisecond
	l := take(t, dir, brief(expiry))
	first := show(t, dir)
	parent, cancel := context.WithCancel(ctx)
	kept, stop := l.Keep(parent)
	await(t, "there are several signs of life", func() bool { return show(t, dir).Heartbeat.Sub(first.Heartbeat) > expiry/2 })
	cancel() // what is taken back then needs the lease too
	if !errors.Is(ended(t, kept), context.Canceled) {
		t.Errorf("the context ended with %v", context.Cause(kept))
	}
	await(t, "its first expiry is over", func() bool { return time.Now().After(first.Expires.Add(expiry / 2)) })
	h := show(t, dir)
	if h.Expires.Sub(h.Heartbeat) != expiry || !h.Expires.After(time.Now()) || !h.Since.Equal(first.Since) || h.State(ctx, time.Now()) != lease.Held {
		t.Errorf("got %+v", h)
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	stop()
	h = show(t, dir)
	time.Sleep(expiry / 2)
	if got := show(t, dir); got.Heartbeat != h.Heartbeat {
		t.Error("after the stop there was another sign of life")
	}
	stop() // once more does no harm
	release(t, l)
}

// A holder on another machine, of which only its file is seen.
func TestHeartbeatFromElsewhere(t *testing.T) {
	dir := t.TempDir()
	take(t, dir, brief(time.Minute))
	h := show(t, dir)
	h.Process.Boot = "00000000-0000-0000-0000-000000000000"
	h.Expires = time.Now().Add(400 * time.Millisecond)
	write(t, dir, h)
	r := brief(time.Minute)
	r.Operation = "other"
	_, _, err := lease.Take(ctx, local, dir, r)
	wantHeld(t, "before it expires", err, lease.Held)
	h.Expires = time.Now().Add(time.Second) // a sign of life
	write(t, dir, h)
	r.Wait = 20 * time.Second
	_, before, err := lease.Take(ctx, local, dir, r)
	if err != nil || before == nil || before.Operation != "op" || time.Now().Before(h.Expires) {
		t.Errorf("got it %s before it expired, from %v, %v", time.Until(h.Expires), before, err)
	}
}

func TestTakenOverWhileKept(t *testing.T) {
	dir := t.TempDir()
	l := take(t, dir, brief(1200*time.Millisecond))
	kept, stop := l.Keep(ctx)
	defer stop()
	// Its clock is wrong by an hour, or this process stood still.
	late := other(time.Now().Add(time.Hour))
	late.Operation = "late"
	_, before, err := lease.Take(ctx, local, dir, late)
	if err != nil || before == nil {
		t.Fatalf("from %v, %v", before, err)
	}
	begin := time.Now()
	wantLost(t, "the context", ended(t, kept), "other@here", "taken over")
	if late := time.Since(begin); late > time.Second {
		t.Errorf("it was found after %s", late)
	}
	wantLost(t, "Check", l.Check(ctx), "other@here")
	next := show(t, dir)
	time.Sleep(400 * time.Millisecond)
	if got := show(t, dir); got.Token != next.Token || got.Heartbeat != next.Heartbeat {
		t.Errorf("the lost one still beats: %+v", got)
	}
}

// A check before a change finds it too, and ends the context at once.
func TestTakenOverIsFoundByCheck(t *testing.T) {
	dir := t.TempDir()
	l := take(t, dir, brief(time.Hour))
	kept, stop := l.Keep(ctx)
	defer stop()
	if _, _, err := lease.Take(ctx, local, dir, other(time.Now().Add(2*time.Hour))); err != nil {
		t.Fatal(err)
	}
	wantLost(t, "Check", l.Check(context.WithoutCancel(kept)))
	wantLost(t, "the context", ended(t, kept), "other@here")
	again, stop := l.Keep(ctx)
	defer stop()
	wantLost(t, "Keep of a lost one", ended(t, again))
}

// A machine that was suspended wakes up with its lease expired: who is quick
// to take it waits whether the holder goes on.
func TestBeatsAgain(t *testing.T) {
	dir := t.TempDir()
	const expiry = 600 * time.Millisecond
	l := take(t, dir, brief(expiry))
	time.Sleep(expiry + 50*time.Millisecond)
	go func() {
		time.Sleep(60 * time.Millisecond)
		l.Keep(ctx)
	}()
	_, _, err := lease.Take(ctx, local, dir, brief(expiry))
	var held *lease.HeldError
	if !errors.As(err, &held) || held.State != lease.Held {
		t.Errorf("it was taken over: %v", err)
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	release(t, l)
}

// full is a disk on which nothing can be written while it is full; where it
// hangs it never answers instead.
type full struct {
	host.Local
	full  atomic.Bool
	hangs chan struct{}
	tried atomic.Int64
}

var errFull = errors.New("no space left")

func (f *full) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if !f.full.Load() {
		return f.Local.WriteFile(ctx, path, data, mode)
	}
	f.tried.Add(1)
	if f.hangs != nil {
		<-f.hangs
	}
	return errFull
}

func TestNoSignOfLife(t *testing.T) {
	for _, name := range []string{"disk full", "write hangs"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			h := &full{}
			if name == "write hangs" {
				h.hangs = make(chan struct{})
			}
			const expiry = 1500 * time.Millisecond
			var mu sync.Mutex
			var warned []time.Time
			r := brief(expiry)
			r.Warn = func(text string) {
				mu.Lock()
				defer mu.Unlock()
				warned = append(warned, time.Now())
				if name == "disk full" && !strings.Contains(text, errFull.Error()) {
					t.Errorf("the warning does not say why: %s", text)
				}
			}
			l, _, err := lease.Take(ctx, h, dir, r)
			if err != nil {
				t.Fatal(err)
			}
			h.full.Store(true)
			kept, stop := l.Keep(ctx)
			begin := l.Holder().Heartbeat
			if err := l.Check(ctx); err != nil {
				t.Errorf("lost at once: %v", err)
			}
			await(t, "it has expired", func() bool { h := show(t, dir); return h.State(ctx, time.Now()) == lease.Expired })
			mu.Lock()
			if len(warned) != 1 || warned[0].Sub(begin) < expiry*2/3 {
				t.Errorf("warned at %v, want once after %s of %s", warned, expiry*2/3, begin)
			}
			mu.Unlock()
			if h.hangs == nil && h.tried.Load() < 4 {
				t.Errorf("it tried %d times", h.tried.Load())
			}
			// Nobody wants it: that is no reason to leave the service half-way.
			if err := l.Guard(local).Mkdir(ctx, dir+"/x", 0o700); err != nil || kept.Err() != nil {
				t.Errorf("it is lost though nobody has taken it: %v, %v", err, context.Cause(kept))
			}
			taken := take(t, dir, brief(time.Hour))
			wantLost(t, "a change", l.Guard(local).Mkdir(ctx, dir+"/y", 0o700))
			wantLost(t, "the context", ended(t, kept), "taken over")
			wantLost(t, "Check", l.Check(ctx))
			wantLost(t, "Park", l.Park(ctx, time.Now().Add(time.Hour)))
			h.full.Store(false)
			if h.hangs != nil {
				close(h.hangs)
			}
			stop()
			if got := show(t, dir); got.Token != taken.Token() || got.State(ctx, time.Now()) != lease.Held {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// A disk that has room again in time is no more than a warning.
func TestSignOfLifeAgain(t *testing.T) {
	dir := t.TempDir()
	h := &full{}
	warned := make(chan string, 10)
	r := brief(1500 * time.Millisecond)
	r.Warn = func(text string) { h.full.Store(false); warned <- text }
	l, _, err := lease.Take(ctx, h, dir, r)
	if err != nil {
		t.Fatal(err)
	}
	h.full.Store(true)
	kept, stop := l.Keep(ctx)
	<-warned
	before := l.Holder().Heartbeat
	await(t, "there is a sign of life", func() bool { return l.Holder().Heartbeat.After(before) })
	time.Sleep(time.Second)
	if kept.Err() != nil || l.Check(ctx) != nil || len(warned) > 0 {
		t.Errorf("got %v, %v, %d more warnings", context.Cause(kept), l.Check(ctx), len(warned))
	}
	h.full.Store(true)
	select {
	case <-warned: // each time
	case <-kept.Done():
		t.Error("the second time there was no warning")
	}
	stop()
}

// slowWrite is a host whose writes of a sign of life take their time.
type slowWrite struct {
	host.Local
	under chan struct{} // told when one has begun
}

func (s *slowWrite) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if strings.Contains(string(data), `"released"`) || strings.Contains(string(data), `"parked"`) {
		return s.Local.WriteFile(ctx, path, data, mode)
	}
	select {
	case s.under <- struct{}{}:
	default:
	}
	time.Sleep(300 * time.Millisecond)
	return s.Local.WriteFile(context.WithoutCancel(ctx), path, data, mode)
}

// A sign of life that is being written must not come after the end.
func TestSignOfLifeDoesNotResurrect(t *testing.T) {
	for name, end := range map[lease.State]func(*lease.Lease) error{
		lease.Free:   func(l *lease.Lease) error { return l.Release(ctx) },
		lease.Parked: func(l *lease.Lease) error { return l.Park(ctx, time.Now().Add(time.Hour)) },
	} {
		dir := t.TempDir()
		h := &slowWrite{under: make(chan struct{}, 1)}
		l, _, err := lease.Take(ctx, h, dir, brief(3*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		_, stop := l.Keep(ctx)
		<-h.under
		if err := end(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for range 2 {
			got := show(t, dir)
			if state := got.State(ctx, time.Now()); state != name {
				t.Errorf("it is %s, want %s", state, name)
			}
			time.Sleep(600 * time.Millisecond)
		}
		stop()
	}
}

// When stop has returned nothing is written any more.
func TestStopWaits(t *testing.T) {
	dir := t.TempDir()
	h := &slowWrite{under: make(chan struct{}, 1)}
	l, _, err := lease.Take(ctx, h, dir, brief(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	_, stop := l.Keep(ctx)
	<-h.under
	stop()
	before := show(t, dir)
	time.Sleep(400 * time.Millisecond)
	if after := show(t, dir); !after.Heartbeat.Equal(before.Heartbeat) {
		t.Errorf("after the stop a sign of life came, of %s", after.Heartbeat)
	}
}

// Long after it was taken the first sign of life is due at once.
func TestKeepBegunLate(t *testing.T) {
	dir := t.TempDir()
	l := take(t, dir, brief(600*time.Millisecond))
	time.Sleep(700 * time.Millisecond)
	kept, stop := l.Keep(ctx)
	defer stop()
	if kept.Err() != nil || !show(t, dir).Expires.After(time.Now()) {
		t.Errorf("got %v, %+v", context.Cause(kept), show(t, dir))
	}
}
