package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

func TestTokensGrowAfterTheFolderWasLost(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ops")
	old := take(t, dir, me())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	wantLost(t, "its file is gone", old.Check(ctx), fmt.Sprint("lease.", old.Token()))
	if l := take(t, dir, other(noon.Add(time.Minute))); l.Token() <= old.Token() {
		t.Errorf("token %d after %d", l.Token(), old.Token())
	}
	wantLost(t, "Release", old.Release(ctx), "other@here")
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
	release(t, take(t, dir, me()))
	var second *lease.Lease
	h := &slow{before: func() {
		release(t, take(t, dir, me()))
		second = take(t, dir, me())
	}}
	_, _, err := lease.Take(ctx, h, dir, other(noon))
	wantHeld(t, "slow", err, lease.Held, "me@here")
	if err := second.Check(ctx); err != nil {
		t.Error(err)
	}
	if got, want := files(t, dir), fmt.Sprint("lease.0 lease.", second.Token()); got != want {
		t.Errorf("the folder holds %s, want %s", got, want)
	}
	// And one whose turn it is when the others have released it again.
	release(t, second)
	var third *lease.Lease
	h.before = func() {
		third = take(t, dir, me())
		release(t, third)
	}
	l, before, err := lease.Take(ctx, h, dir, other(noon))
	if err != nil || before != nil || l.Token() <= third.Token() {
		t.Errorf("got %+v from %v, %v", l, before, err)
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
	release(t, take(t, dir, me()))
	_, _, err := lease.Take(ctx, &vanishing{before: func() { take(t, dir, other(noon)) }}, dir, me())
	wantHeld(t, "passed on", err, lease.Held, "other@here")
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

func TestContextEnds(t *testing.T) {
	dir := t.TempDir()
	release(t, take(t, dir, me()))
	before := files(t, dir)
	errStop := errors.New("somebody asked for the end")
	over, stop := context.WithCancelCause(ctx)
	stop(errStop)
	if _, _, err := lease.Take(over, local, dir, me()); err == nil {
		t.Error("it was taken")
	}
	if got := files(t, dir); got != before {
		t.Errorf("the folder holds %s, before %s", got, before)
	}
	// Just after the file was made it is held all the same: somebody has to
	// release it.
	over, stop = context.WithCancelCause(ctx)
	l, _, err := lease.Take(over, &after{do: func() { stop(errStop) }}, dir, me())
	if err != nil {
		t.Fatalf("made and lost: %v, %s", err, files(t, dir))
	}
	if err := l.Check(ctx); err != nil {
		t.Error(err)
	}
}

// The contents of a file that nothing can be learned from, and what is said.
func damagedFiles(t *testing.T) map[string]struct{ content, says string } {
	good, err := json.Marshal(lease.Holder{V: lease.Version, Token: 99, Process: gone(t)})
	if err != nil {
		t.Fatal(err)
	}
	return map[string]struct{ content, says string }{
		"rubbish":                 {"rubbish", "damaged"},
		"empty":                   {"", "damaged"},
		"cut off":                 {string(good[:len(good)/2]), "damaged"},
		"an empty object":         {"{}", "damaged"},
		"null":                    {"null", "damaged"},
		"another number":          {strings.Replace(string(good), "99", "98", 1), "damaged"},
		"a newer format":          {strings.Replace(string(good), `"v":1`, `"v":2`, 1), "format 2"},
		"a newer format, changed": {`{"v":2,"token":"99"}`, "format 2"},
	}
}

func TestDamaged(t *testing.T) {
	for name, test := range damagedFiles(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			file := filepath.Join(dir, "lease.99")
			earlier := take(t, dir, me())
			if err := os.Remove(filepath.Join(dir, fmt.Sprint("lease.", earlier.Token()))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, _, takeErr := lease.Take(ctx, local, dir, me())
			_, showErr := lease.Show(ctx, local, dir)
			for what, err := range map[string]error{"Take": takeErr, "Show": showErr} {
				if err == nil || errors.Is(err, lease.ErrHeld) || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), test.says) {
					t.Errorf("%s: got error %v, want one that names the file and says %q", what, err, test.says)
				}
				if test.says == "damaged" && (!strings.Contains(err.Error(), dir+"/journal") || !strings.Contains(err.Error(), "lease:release")) {
					t.Errorf("%s: the error does not say what to do: %v", what, err)
				}
			}
			if b, err := os.ReadFile(file); err != nil || string(b) != test.content || files(t, dir) != "lease.0 lease.99" {
				t.Errorf("it was changed: %q, %v, %s", b, err, files(t, dir))
			}
		})
	}
}

// Who finds a damaged later one has lost it too, and is told of the file.
func TestLostToADamagedOne(t *testing.T) {
	dir := t.TempDir()
	l := take(t, dir, me())
	file := filepath.Join(dir, fmt.Sprint("lease.", l.Token()+1))
	if err := os.WriteFile(file, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantLost(t, "Check", l.Check(ctx), file, "damaged", "lease:release")
}

func TestOtherFilesBesideIt(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, lease.Holder{V: lease.Version, Token: 99, Process: gone(t)})
	for _, name := range []string{"lease.98", "lease.x", "lease", ".lease.100.1", "journal", "lease.200.damaged", "lease.0300", "lease.+400", "lease.-500"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("rubbish"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if l := take(t, dir, me()); l.Token() != 100 {
		t.Errorf("token %d, want 100", l.Token())
	}
	if got := files(t, dir); strings.Contains(got, "lease.99") || strings.Contains(got, "lease.98") || !strings.Contains(got, "lease.200.damaged") {
		t.Errorf("the folder holds %s", got)
	}
}
