package step_test

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Each point with each action in a process of its own, and what the next
// process makes of it.
func TestFaultPoints(t *testing.T) {
	const killed = -1
	for fault, want := range map[string]struct {
		code   int
		says   string
		trace  string
		states string
		resume string // the trace that going on adds
	}{
		"": {0, "", "run a, run b, run c", "a done, b done, c done", ""},

		"b:before=kill": {killed, "", "run a", "a done", "run b, run c"},
		"b:during=kill": {killed, "", "run a, run b", "a done, b start", "run b, run c"},
		"b:after=kill":  {killed, "", "run a, run b", "a done, b start", "run b, run c"},

		"b:before=fail": {1, "b: fault point b:before: failing as ETF_FAULTS asks", "run a, undo a", "a undone, b failed", "run a, run b, run c"},
		"b:during=fail": {1, "b: fault point b:during", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},
		"b:after=fail":  {1, "b: fault point b:after", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},

		"b:during=hang,b:deadline=20ms":  {1, "deadline of 20ms", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},
		"b:during=hang,b:deadline=never": {1, "b:deadline", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},

		"b:during=hang": {1, "deadline of 500ms", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},
		"b:before=term": {1, "terminated", "run a, undo a", "a undone, b failed", "run a, run b, run c"},
		"b:during=term": {1, "terminated", "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},

		"c:during=fail,b:undo=kill": {killed, "", "run a, run b, run c, undo c", "a done, b undo, c undone", "run b, run c"},
		"c:during=fail,b:undo=fail": {4, "the service needs a person: taking back b", "run a, run b, run c, undo c", "a done, b undo-failed, c undone", "run b, run c"},

		"b:during=explode":            {1, `unknown action "explode"`, "run a, run b, undo b, undo a", "a undone, b undone", "run a, run b, run c"},
		"other:during=kill,bb:after=": {0, "", "run a, run b, run c", "a done, b done, c done", ""},
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			op, _ := operation(t)
			dir := filepath.Dir(op.Journal().Path())
			code, said := runHelper(t, op, step.FaultVariable+"="+fault)
			if code != want.code || !strings.Contains(said, want.says) {
				t.Errorf("exit %d, %q; want exit %d, %q", code, said, want.code, want.says)
			}
			if got := traced(t, dir); got != want.trace {
				t.Errorf("it did %s; want %s", got, want.trace)
			}
			if got := states(t, op); got != want.states {
				t.Errorf("the journal says %s; want %s", got, want.states)
			}
			code, said = runHelper(t, op, step.FaultVariable+"=")
			if got := strings.TrimPrefix(strings.TrimPrefix(traced(t, dir), want.trace), ", "); code != 0 || got != want.resume {
				t.Errorf("going on: exit %d (%s), did %s; want %s", code, said, got, want.resume)
			}
			if got := states(t, op); !strings.HasPrefix(got, "a done, b done") || !strings.HasSuffix(got, "c done") {
				t.Errorf("after going on the journal says %s", got)
			}
		})
	}
}

// runHelper returns how a helper process ended, -1 for SIGKILL.
func runHelper(t *testing.T, op *step.Operation, env ...string) (code int, said string) {
	t.Helper()
	cmd, out := command(op.Journal().Path(), env...)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signaled() && st.Signal() != syscall.SIGKILL {
		t.Fatalf("ended by %s: %s", st.Signal(), out)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

func TestFault(t *testing.T) {
	for list, want := range map[string]string{
		"":                                 "",
		"a:before=fail":                    "",
		"b:before=fail":                    "fault point b:before",
		"a:before=fail,b:before=fail":      "fault point b:before",
		"release:fetch:before=fail":        "",
		"b:before":                         "unknown action",
		"b:before=hang":                    "deadline exceeded",
		"b:beforehand=fail,bb:before=hang": "",
	} {
		t.Setenv(step.FaultVariable, list)
		over, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
		err := step.Fault(over, "b:before")
		cancel()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("with %q: got error %v, want %q", list, err, want)
		}
	}
}
