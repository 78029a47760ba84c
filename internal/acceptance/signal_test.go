package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// interrupted starts a forced deployment that hangs at a fault point of a
// step, waits until it is there and sends a signal.
func interrupted(t *testing.T, s *stack.Stack, step string, sig syscall.Signal) (code int, output string) {
	t.Helper()
	cmd, _, stderr := s.Command(stack.Faults(step+":during=hang"), "deploy", "-force")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.AwaitStep(t, step)
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), stderr.String()
}

func sigtermDuringDump(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	code, out := interrupted(t, s, "backup:create", syscall.SIGTERM)
	if code != 1 {
		t.Errorf("exit %d, want 1\n%s", code, out)
	}
	s.ServesAgain(t, before)
	noPartialBackup(t, s)
}

func sigintAtStop(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	code, out := interrupted(t, s, "services:stop", syscall.SIGINT)
	if code != 1 {
		t.Errorf("exit %d, want 1\n%s", code, out)
	}
	// Mage may have ended the process; the one that took over goes on.
	s.AwaitOutcome(t, "undone")
	s.ServesAgain(t, before)
}

func sigkillDuringDump(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	interrupted(t, s, "backup:create", syscall.SIGKILL)
	st := s.Status(t)
	if st.Operation.Outcome != "interrupted" || !strings.HasPrefix(st.Next, "resume") {
		t.Errorf("status does not see it: %+v", st)
	}
	if r := s.Mage(t, 1, "deploy"); !strings.Contains(r.Stderr, "resume -undo") || !strings.Contains(r.Stderr, "backup:create") {
		t.Errorf("deploy does not say what it found:\n%s", r.Stderr)
	}
	s.Mage(t, 0, "resume", "-undo")
	s.ServesAgain(t, before)
	noPartialBackup(t, s)
	if r := s.Mage(t, 0, "resume"); !strings.Contains(r.Stderr, "no operation is interrupted") {
		t.Errorf("resume with nothing to resume says:\n%s", r.Stderr)
	}
}

// goToolGone sends SIGTERM to the go command above Mage, which does not pass
// it on: the target has to notice by itself.
func goToolGone(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	cmd := exec.Command("go", "tool", "mage", "deploy", "-force")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "ETF_SANDBOX="+filepath.Join(s.Dir, ".sandbox"), "ETF_ENV=sandbox", stack.Faults("services:stop:during=hang")[0])
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	unlock, err := stack.LockMagefiles("../..") // Mage may compile first
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.AwaitStep(t, "services:stop")
	unlock()
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	s.AwaitOutcome(t, "undone")
	s.ServesAgain(t, before)
}

// underNohup deploys from a shell that ends at once, and hangs up.
func underNohup(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	// main is a bad release by now.
	script := `nohup "$0" deploy -force -ref=v1.3 </dev/null >deploy.out 2>&1 & echo $!`
	cmd := exec.Command("sh", "-c", script, s.Binary)
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), "ETF_SANDBOX=", "ETF_ENV=sandbox")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	s.AwaitStep(t, "services:stop")
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.AwaitOutcome(t, "succeeded")
	if after := s.Serves(t); after == before {
		t.Errorf("%s serves as before", after)
	}
}

func noPartialBackup(t *testing.T, s *stack.Stack) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.Env["ETF_ROOT"], "backups", ".partial-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := exec.Command("pgrep", "-f", "pg_dump.*"+s.Dir).Output(); err == nil {
		t.Errorf("pg_dump still runs: %s", out)
	}
}
