package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// interrupted starts a forced deployment that hangs at a fault point of a
// step, waits until it is there and sends a signal.
func (s *stack) interrupted(t *testing.T, step string, sig syscall.Signal) (code int, output string) {
	t.Helper()
	cmd, _, stderr := s.command(faults(step+":during=hang"), "deploy", "-force")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitStep(t, step)
	if err := cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	return cmd.ProcessState.ExitCode(), stderr.String()
}

// awaitStep waits until the running operation has begun a step.
func (s *stack) awaitStep(t *testing.T, step string) {
	t.Helper()
	s.await(t, 2*time.Minute, "the deployment to reach "+step, func() bool {
		return s.journalSays(t, `"type":"start","step":"`+step+`"`)
	})
	time.Sleep(300 * time.Millisecond) // from the record to the fault point
}

// journalSays looks into the newest journal, unless its operation has ended.
func (s *stack) journalSays(t *testing.T, text string) bool {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(s.env["ETF_ROOT"], "ops", "journal", "*.jsonl"))
	if err != nil || len(all) == 0 {
		return false
	}
	content, err := os.ReadFile(all[len(all)-1])
	return err == nil && strings.Contains(string(content), text) && !strings.Contains(string(content), `"type":"end"`)
}

func (s *stack) await(t *testing.T, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}

func (s *stack) awaitOutcome(t *testing.T, outcome string) {
	t.Helper()
	s.await(t, 2*time.Minute, "the operation to end as "+outcome, func() bool { return s.status(t).Operation.Outcome == outcome })
}

func sigtermDuringDump(t *testing.T, s *stack) {
	before := s.serves(t)
	code, out := s.interrupted(t, "backup:create", syscall.SIGTERM)
	if code != 1 {
		t.Errorf("exit %d, want 1\n%s", code, out)
	}
	s.servesAgain(t, before)
	s.noPartialBackup(t)
}

func sigintAtStop(t *testing.T, s *stack) {
	before := s.serves(t)
	code, out := s.interrupted(t, "services:stop", syscall.SIGINT)
	if code != 1 {
		t.Errorf("exit %d, want 1\n%s", code, out)
	}
	// Mage may have ended the process; the one that took over goes on.
	s.awaitOutcome(t, "undone")
	s.servesAgain(t, before)
}

func sigkillDuringDump(t *testing.T, s *stack) {
	before := s.serves(t)
	s.interrupted(t, "backup:create", syscall.SIGKILL)
	st := s.status(t)
	if st.Operation.Outcome != "interrupted" || !strings.HasPrefix(st.Next, "resume") {
		t.Errorf("status does not see it: %+v", st)
	}
	if r := s.mage(t, 1, "deploy"); !strings.Contains(r.stderr, "resume -undo") || !strings.Contains(r.stderr, "backup:create") {
		t.Errorf("deploy does not say what it found:\n%s", r.stderr)
	}
	s.mage(t, 0, "resume", "-undo")
	s.servesAgain(t, before)
	s.noPartialBackup(t)
	if r := s.mage(t, 0, "resume"); !strings.Contains(r.stderr, "no operation is interrupted") {
		t.Errorf("resume with nothing to resume says:\n%s", r.stderr)
	}
}

// goToolGone sends SIGTERM to the go command above Mage, which does not pass
// it on: the target has to notice by itself.
func goToolGone(t *testing.T, s *stack) {
	before := s.serves(t)
	cmd := exec.Command("go", "tool", "mage", "deploy", "-force")
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "ETF_SANDBOX="+filepath.Join(s.dir, ".sandbox"), "ETF_ENV=sandbox", step("services:stop"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.awaitStep(t, "services:stop")
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	s.awaitOutcome(t, "undone")
	s.servesAgain(t, before)
}

func step(name string) string { return faults(name + ":during=hang")[0] }

// underNohup deploys from a shell that ends at once, and hangs up.
func underNohup(t *testing.T, s *stack) {
	before := s.serves(t)
	// main is a bad release by now.
	script := `nohup "$0" deploy -force -ref=v1.3 </dev/null >deploy.out 2>&1 & echo $!`
	cmd := exec.Command("sh", "-c", script, s.binary)
	cmd.Dir = s.dir
	cmd.Env = append(os.Environ(), "ETF_SANDBOX=", "ETF_ENV=sandbox")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	s.awaitStep(t, "services:stop")
	if err := syscall.Kill(pid, syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.awaitOutcome(t, "succeeded")
	if after := s.serves(t); after == before {
		t.Errorf("%s serves as before", after)
	}
}

func (s *stack) servesAgain(t *testing.T, before string) {
	t.Helper()
	if after := s.serves(t); after != before {
		t.Errorf("%s serves, want %s", after, before)
	}
}

func (s *stack) noPartialBackup(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(s.env["ETF_ROOT"], "backups", ".partial-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if out, err := exec.Command("pgrep", "-f", "pg_dump.*"+s.dir).Output(); err == nil {
		t.Errorf("pg_dump still runs: %s", out)
	}
}
