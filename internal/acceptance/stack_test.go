// Package acceptance runs the compiled program as a person and a pipeline do,
// against a sandbox of its own: deployments, failures, signals, bad input.
package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
)

// A stack is a sandbox with the program to work on it.
type stack struct {
	dir     string // working folder, with a deploy.yaml
	binary  string
	sandbox *sandbox.Sandbox
	env     map[string]string // of .sandbox/env
}

// theStack is brought up once for all tests; they run in the order of the
// story that they tell.
var theStack *stack

func TestMain(m *testing.M) {
	code, err := withStack(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func withStack(run func() int) (code int, err error) {
	dir, err := os.MkdirTemp("", "etf-acceptance-")
	if err != nil {
		return 1, err
	}
	ctx := context.Background()
	if err := sandbox.InstallPackages(ctx, os.Stderr, sandbox.StackPackages...); err != nil {
		return 1, err
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		return 1, err
	}
	s := &stack{dir: dir, binary: filepath.Join(dir, "etf-deploy")}
	build := exec.Command("go", "tool", "mage", "-compile", s.binary)
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return 1, fmt.Errorf("building the program: %w\n%s", err, out)
	}
	example, err := os.ReadFile(filepath.Join(root, "deploy.yaml"))
	if err != nil {
		return 1, err
	}
	if err := os.WriteFile(filepath.Join(dir, "deploy.yaml"), example, 0o644); err != nil {
		return 1, err
	}
	if s.sandbox, err = sandbox.New(filepath.Join(dir, ".sandbox"), sandbox.Options{ETFs: 8, Out: os.Stderr}); err != nil {
		return 1, err
	}
	defer func() {
		if code != 0 && os.Getenv("ETF_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "kept for a look:", dir)
			return
		}
		err = errors.Join(err, s.sandbox.Down(ctx, true), os.RemoveAll(dir))
	}()
	if err := s.sandbox.Up(ctx); err != nil {
		return 1, err
	}
	content, err := os.ReadFile(s.sandbox.EnvFile())
	if err != nil {
		return 1, err
	}
	if s.env, err = config.ParseEnv(content); err != nil {
		return 1, err
	}
	theStack = s
	return run(), nil
}

// A run is one call of the program.
type run struct {
	code           int
	stdout, stderr string
}

// command prepares a call of the program.
func (s *stack) command(env []string, args ...string) (*exec.Cmd, *bytes.Buffer, *bytes.Buffer) {
	cmd := exec.Command(s.binary, args...)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "ETF_SANDBOX=", "ETF_ENV=sandbox", "NO_COLOR=1")
	cmd.Env = append(cmd.Env, env...)
	// A group of its own: signals of a test go to the program alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = 10 * time.Second
	return cmd, &stdout, &stderr
}

// mage calls the program and wants this exit code.
func (s *stack) mage(t *testing.T, want int, args ...string) run {
	t.Helper()
	return s.mageEnv(t, nil, want, args...)
}

func (s *stack) mageEnv(t *testing.T, env []string, want int, args ...string) run {
	t.Helper()
	cmd, stdout, stderr := s.command(env, args...)
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("%v: %v", args, err)
	}
	r := run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	t.Logf("%s: exit %d after %.1fs", strings.Join(args, " "), r.code, time.Since(began).Seconds())
	if r.code != want {
		t.Fatalf("%s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), r.code, want, r.stdout, r.stderr)
	}
	return r
}

// status is what the program says of the service.
type status struct {
	Live *struct {
		ID, Commit, State string
		Ref               string
		Head              string `json:"alembic_head"`
	}
	Database  string `json:"alembic_head"`
	Processes []struct{ Name, State, Release string }
	Operation *struct{ ID, Kind, Outcome string }
	Next      string
	Unseen    []string
}

func (s *stack) status(t *testing.T) status {
	t.Helper()
	var st status
	if err := json.Unmarshal([]byte(s.mage(t, 0, "status", "-json").stdout), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// serves fails unless the service runs whole on one verified release, which it
// returns: every process, the API's answers, the database's head.
func (s *stack) serves(t *testing.T) string {
	t.Helper()
	st := s.status(t)
	if st.Live == nil || st.Live.State != "verified" || len(st.Unseen) > 0 {
		t.Fatalf("no verified release is live: %+v", st)
	}
	if st.Database != st.Live.Head {
		t.Errorf("the database is at %s, release %s at %s", st.Database, st.Live.ID, st.Live.Head)
	}
	if len(st.Processes) != 5 {
		t.Errorf("%d processes, want 5: %+v", len(st.Processes), st.Processes)
	}
	for _, p := range st.Processes {
		if p.State != "RUNNING" || p.Release != st.Live.ID {
			t.Errorf("%+v, want RUNNING on %s", p, st.Live.ID)
		}
	}
	for range 10 {
		if release, err := s.ask(); err != nil || release != st.Live.ID {
			t.Errorf("the API answers as %q (%v), want %s", release, err, st.Live.ID)
		}
	}
	s.mage(t, 0, "deps:celery")
	return st.Live.ID
}
