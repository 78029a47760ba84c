package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A rig is a stack with cheap releases to deploy and somebody who writes all
// the while.
type rig struct {
	*stack.Stack
	releases *releases
	writer   *writer
	live     string // the commit that should be live
	from     string // the commit that a rollback goes back to

	mu    sync.Mutex
	trace []string // what the program printed in this cell
}

// up brings up the sandbox, takes the service to a first release and begins to
// write. On a rig that is up already it replaces everything.
func (r *rig) up(ctx context.Context) (err error) {
	if err := r.down(ctx); err != nil {
		return err
	}
	waitIfAbandoned()
	if r.Stack, err = stack.Up(ctx, 4, os.Stderr); err != nil {
		return err
	}
	if r.releases, err = newReleases(ctx, r.Stack); err != nil {
		return err
	}
	first, err := r.releases.commit(ctx, expand)
	if err != nil {
		return err
	}
	run, err := r.Call(nil, "deploy", "-ref="+first)
	if err == nil && run.Code != 0 {
		err = fmt.Errorf("exit %d\n%s", run.Code, run.Stderr)
	}
	if err != nil {
		return fmt.Errorf("the first deployment: %w", err)
	}
	r.releases.isLive(first)
	r.live, r.from = first, ""
	r.writer = startWriter(r.Stack)
	return nil
}

func (r *rig) down(ctx context.Context) error {
	if r.writer != nil {
		r.writer.stop()
		r.writer = nil
	}
	if r.Stack == nil {
		return nil
	}
	waitIfAbandoned()
	killAll(r.programs())
	err := r.Stack.Down(ctx)
	r.Stack = nil
	return err
}

// Revive brings back the servers that are gone.
func (r *rig) Revive(ctx context.Context) error {
	waitIfAbandoned()
	return r.Stack.Revive(ctx)
}

// waitIfAbandoned does not return while the sandbox is taken down for good:
// this process ends behind that.
func waitIfAbandoned() {
	if abandoned.Load() {
		select {}
	}
}

// call calls the program and keeps what it printed for the case that the cell
// fails.
func (r *rig) call(t testing.TB, env []string, args ...string) stack.Run {
	t.Helper()
	run, err := r.Call(env, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	r.tell(env, args, run)
	return run
}

// tell keeps what a call of the program printed.
func (r *rig) tell(env, args []string, run stack.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trace = append(r.trace, fmt.Sprintf("--- %s %s %s: exit %d after %.1fs\n%s%s", time.Now().UTC().Format(time.TimeOnly),
		strings.Join(env, " "), strings.Join(args, " "), run.Code, run.Took.Seconds(), run.Stdout, run.Stderr))
}

// want fails the cell unless the call ended with one of these codes.
func want(t testing.TB, run stack.Run, what string, codes ...int) {
	t.Helper()
	for _, code := range codes {
		if run.Code == code {
			return
		}
	}
	t.Fatalf("%s: exit %d, want %v", what, run.Code, codes)
}

// cell runs f as a test of its own; when it fails, everything that the program
// printed is shown, and the service is brought to a known state.
func (r *rig) cell(t *testing.T, name string, f func(t *testing.T)) bool {
	t.Helper()
	r.trace = nil
	ok := t.Run(name, func(t *testing.T) {
		defer func() {
			if t.Failed() {
				r.mu.Lock()
				defer r.mu.Unlock()
				t.Log(strings.Join(r.trace, "\n"))
				t.Log(r.journalAndLog())
			}
		}()
		f(t)
	})
	if ok {
		return true
	}
	if err := r.mend(); err != nil {
		fmt.Printf("the state could not be mended (%v): taking a new sandbox\n", err)
		if err := r.up(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return false
}

// journalAndLog is what the newest operation has recorded, and what those
// wrote who ended it.
func (r *rig) journalAndLog() string {
	file := r.Journal()
	text, _ := os.ReadFile(file)
	id := strings.TrimSuffix(filepath.Base(file), ".jsonl")
	log, err := os.ReadFile(filepath.Join(r.Env["ETF_ROOT"], "ops", id+".log"))
	if err != nil {
		log = []byte("none")
	}
	return fmt.Sprintf("--- journal %s\n%s\n--- log of the successor\n%s", id, text, log)
}

// mend brings the service to a known state after a cell that failed, by what
// the program offers.
func (r *rig) mend() error {
	killAll(r.programs())
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	if err := r.Revive(ctx); err != nil {
		return err
	}
	for _, args := range [][]string{{"resume", "-undo", "-yes"}, {"resume", "-yes"}} {
		if run, err := r.Call(nil, args...); err != nil {
			return err
		} else if run.Code == 0 {
			break
		}
	}
	ref := r.releases.unsure()
	if run, err := r.Call(nil, "deploy", "-force", "-ref="+ref); err != nil {
		return err
	} else if run.Code != 0 {
		return errors.New("a forced deployment fails:\n" + run.Stderr)
	}
	r.releases.isLive(ref)
	r.live, r.from = ref, ""
	r.writer.forget()
	return r.dropKept(ctx)
}

// git runs git in a folder.
func git(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir, "-c", "user.name=test", "-c", "user.email=test@localhost"}, args...)...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w\n%s", strings.Join(args, " "), err, stderr.Bytes())
	}
	return strings.TrimSpace(out.String()), nil
}
