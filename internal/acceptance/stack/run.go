package stack

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Run is one call of the program.
type Run struct {
	Code           int // -1 when a signal ended it
	Stdout, Stderr string
	Took           time.Duration
}

// Command prepares a call of the program, with further variables.
func (s *Stack) Command(env []string, args ...string) (cmd *exec.Cmd, stdout, stderr *bytes.Buffer) {
	cmd = exec.Command(s.Binary, args...)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "ETF_SANDBOX=", "ETF_ENV=sandbox", "NO_COLOR=1")
	// A person's call, also where a pipeline runs the tests.
	cmd.Env = append(cmd.Env, "CI=", "ETF_RUN_URL=", "CI_PIPELINE_URL=", "BUILD_URL=", "GITHUB_RUN_ID=", "GITHUB_ACTOR=", "GITHUB_OUTPUT=")
	cmd.Env = append(cmd.Env, env...)
	// A group of its own: signals of a test go to the program alone.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, stderr
	cmd.WaitDelay = 10 * time.Second
	return cmd, stdout, stderr
}

// Call calls the program and waits for its end, however it ends.
func (s *Stack) Call(env []string, args ...string) (Run, error) {
	cmd, stdout, stderr := s.Command(env, args...)
	began := time.Now()
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) || errors.Is(err, exec.ErrWaitDelay) {
		err = nil
	}
	return Run{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String(), time.Since(began)}, err
}

// Mage calls the program and wants this exit code.
func (s *Stack) Mage(t testing.TB, want int, args ...string) Run {
	t.Helper()
	return s.MageEnv(t, nil, want, args...)
}

// MageEnv is Mage with further variables.
func (s *Stack) MageEnv(t testing.TB, env []string, want int, args ...string) Run {
	t.Helper()
	r, err := s.Call(env, args...)
	if err != nil {
		t.Fatalf("%v: %v", args, err)
	}
	t.Logf("%s: exit %d after %.1fs", strings.Join(args, " "), r.Code, r.Took.Seconds())
	if r.Code != want {
		t.Fatalf("%s: exit %d, want %d\n%s\n%s", strings.Join(args, " "), r.Code, want, r.Stdout, r.Stderr)
	}
	return r
}

// Faults is the variable that sets off faults: a list of <point>=<action>.
func Faults(list string) []string { return []string{"ETF_FAULTS=" + list} }
