package lease_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// person is who frees a lease.
func person(now time.Time) lease.Request {
	return lease.Request{Purpose: "lease:release", By: "person@here", Now: at(now)}
}

func TestBreak(t *testing.T) {
	dir := t.TempDir()
	if broken, err := lease.Break(ctx, local, dir, person(noon)); broken != nil || err != nil {
		t.Errorf("there is none: got %v, %v", broken, err)
	}
	l := take(t, dir, me())
	_, err := lease.Break(ctx, local, dir, person(noon))
	wantHeld(t, "held", err, lease.Held, "me@here")
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	for name, end := range map[string]func(l *lease.Lease){
		"parked": func(l *lease.Lease) {
			if err := l.Park(ctx, noon.Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		},
		"dead": func(*lease.Lease) {
			h := show(t, dir)
			h.Process = gone(t)
			write(t, dir, h)
		},
		"expired": func(*lease.Lease) {
			h := show(t, dir)
			h.Expires = noon
			write(t, dir, h)
		},
	} {
		end(l)
		broken, err := lease.Break(ctx, local, dir, person(noon))
		if err != nil || broken == nil || broken.Token != l.Token() || broken.Operation != "op" || broken.Released != nil {
			t.Errorf("%s: got %+v, %v", name, broken, err)
		}
		h := show(t, dir)
		if h.Released == nil || h.Token <= l.Token() || h.By != "person@here" || h.Purpose != "lease:release" {
			t.Errorf("%s: got %+v", name, h)
		}
		if name != "parked" {
			wantLost(t, name+": the holder", l.Check(ctx), "passed on", "person@here")
		}
		wantLost(t, name+": the holder", l.Release(ctx), "passed on", "person@here")
		if again, err := lease.Break(ctx, local, dir, person(noon)); again != nil || err != nil || show(t, dir).Token != h.Token {
			t.Errorf("%s: freed again: got %v, %v", name, again, err)
		}
		var before *lease.Holder
		if l, before, err = lease.Take(ctx, local, dir, me()); err != nil || before != nil || l.Token() <= h.Token {
			t.Fatalf("%s: taken from %v, %v", name, before, err)
		}
	}
}

func TestBreakDamaged(t *testing.T) {
	for name, test := range damagedFiles(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "lease.99")
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			broken, err := lease.Break(ctx, local, dir, person(noon))
			if test.says != "damaged" {
				if err == nil || !strings.Contains(err.Error(), test.says) || files(t, dir) != "lease.99" {
					t.Errorf("got %v, %v, %s", broken, err, files(t, dir))
				}
				return
			}
			if err != nil || *broken != (lease.Holder{Token: 99, Purpose: "damaged"}) {
				t.Fatalf("got %+v, %v", broken, err)
			}
			if b, err := os.ReadFile(file + ".damaged"); err != nil || string(b) != test.content || files(t, dir) != "lease.100 lease.99.damaged" {
				t.Errorf("kept %q, %v, %s", b, err, files(t, dir))
			}
			if l := take(t, dir, me()); l.Token() != 101 {
				t.Errorf("token %d, want 101", l.Token())
			}
		})
	}
}

// The ground that is damaged no longer says where the numbers are.
func TestBreakDamagedGround(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "lease.0"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := lease.Take(ctx, local, dir, me()); err == nil || errors.Is(err, lease.ErrHeld) {
		t.Errorf("got error %v", err)
	}
	if _, err := lease.Break(ctx, local, dir, person(noon)); err != nil {
		t.Fatal(err)
	}
	if l := take(t, dir, me()); l.Token() <= noon.Unix() {
		t.Errorf("token %d, want more than %d", l.Token(), noon.Unix())
	}
}

// Somebody takes it while a person frees it: it is held then.
func TestBreakRaces(t *testing.T) {
	dir := t.TempDir()
	take(t, dir, me())
	h := show(t, dir)
	h.Process = gone(t)
	write(t, dir, h)
	var l *lease.Lease
	_, err := lease.Break(ctx, &slow{before: func() { l = take(t, dir, other(noon)) }}, dir, person(noon))
	wantHeld(t, "taken meanwhile", err, lease.Held, "other@here")
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
	if got, want := files(t, dir), fmt.Sprint("lease.0 lease.", l.Token()); got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
}
