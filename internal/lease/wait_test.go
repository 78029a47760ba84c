package lease_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

func TestWaitInVain(t *testing.T) {
	dir := t.TempDir()
	take(t, dir, me())
	r := other(noon)
	r.Wait = 700 * time.Millisecond
	var told []string
	r.Waiting = func(h lease.Holder) { told = append(told, h.By) }
	begin := time.Now()
	_, _, err := lease.Take(ctx, local, dir, r)
	wantHeld(t, "waiting", err, lease.Held, "me@here", "waited 700ms")
	if waited := time.Since(begin); waited < r.Wait || waited > r.Wait+2*time.Second {
		t.Errorf("waited %s, want %s", waited, r.Wait)
	}
	if strings.Join(told, " ") != "me@here" {
		t.Errorf("told %q, want each holder once", told)
	}
}

// It passes from one holder to another, and then is free.
func TestWaitForTwo(t *testing.T) {
	dir := t.TempDir()
	first := take(t, dir, me())
	r := other(noon)
	r.Wait = time.Minute
	told := make(chan string, 10)
	r.Waiting = func(h lease.Holder) { told <- h.Operation }
	took := make(chan error, 1)
	go func() {
		l, before, err := lease.Take(ctx, local, dir, r)
		if err == nil && (before != nil || l.Check(ctx) != nil) {
			err = errors.New("it was taken over, or is not held")
		}
		took <- err
	}()
	if got := <-told; got != "op" {
		t.Errorf("told of %s", got)
	}
	if err := first.Park(ctx, noon.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	second := take(t, dir, me()) // the next stage
	if got := <-told; got != "op" {
		t.Errorf("told of %s", got)
	}
	release(t, second)
	select {
	case err := <-took:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it is free, but was not taken")
	}
	if len(told) > 0 {
		t.Errorf("told too often, of %s", <-told)
	}
}

func TestWaitIsCutShort(t *testing.T) {
	dir := t.TempDir()
	take(t, dir, me())
	errStop := errors.New("somebody asked for the end")
	waiting, stop := context.WithCancelCause(ctx)
	r := other(noon)
	r.Wait = time.Minute
	r.Waiting = func(lease.Holder) { stop(errStop) }
	begin := time.Now()
	_, _, err := lease.Take(waiting, local, dir, r)
	if !errors.Is(err, errStop) || errors.Is(err, lease.ErrHeld) || !strings.Contains(err.Error(), "me@here") || time.Since(begin) > 10*time.Second {
		t.Errorf("got error %v after %s", err, time.Since(begin))
	}
}
