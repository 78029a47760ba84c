package checklist

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

func TestExitCode(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{step.ErrNothingToDo, 0},
		{ErrNothingToResume, 0},
		{errors.New("anything"), 1},
		{step.ErrInterrupted, 1},
		{fmt.Errorf("x: %w", ErrUsage), 2},
		{config.ErrInvalid, 2},
		{step.ErrFault, 3},
		{errors.Join(step.ErrFault, ErrTakenBack), 1}, // a verification failed, and everything was undone
		{errors.Join(step.ErrFault, step.ErrNeedsPerson), 4},
		{errors.Join(step.ErrInterrupted, step.ErrNeedsPerson), 4},
		{fmt.Errorf("x: %w", lease.ErrHeld), 5},
		{errors.Join(step.ErrNothingToDo, step.ErrNeedsPerson), 4},
		{errors.Join(ErrUsage, ErrTakenBack), 1},
		{errors.Join(step.ErrNeedsPerson, lease.ErrLost), 5}, // whoever took it over decides
	} {
		if got := ExitCode(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}

func TestCheckRef(t *testing.T) {
	for _, good := range []string{"main", "v1.1", "feature/x", "0123abcd"} {
		if err := CheckRef(good); err != nil {
			t.Error(err)
		}
	}
	for _, bad := range []string{"", "-x", "--upload-pack=x", "a b", "a..b:c", "main^", "HEAD~1", "a\nb", "x*"} {
		if err := CheckRef(bad); !errors.Is(err, ErrUsage) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Every check of the plan is in exactly one section, names the command that it
// stands for, and can be asked for by its name.
func TestSections(t *testing.T) {
	seen := map[string]bool{}
	for _, section := range []Checks{PreDeployment, ServiceDependencies, Verification, GradualRollback} {
		for _, c := range section {
			if seen[c.Name] || c.Command == "" || c.look == nil {
				t.Errorf("%q: twice, or incomplete", c.Name)
			}
			seen[c.Name] = true
			if got := section.Only(c.Name); len(got) != 1 || got[0].Name != c.Name {
				t.Errorf("Only(%q): %v", c.Name, got)
			}
		}
	}
}

// The order is the plan's as the design has it: whoever changes it should have
// to say so here.
func TestOrderOfDeployment(t *testing.T) {
	target := &Target{Config: &config.Config{}}
	agenda := target.deploy(Options{})
	var names []string
	for _, s := range agenda.Steps {
		if group, ok := s.(step.Together); ok {
			names = append(names, fmt.Sprintf("%d side by side", len(group)))
			continue
		}
		names = append(names, s.String())
	}
	want := []string{"release:fetch", "release:compare", "release:install", "7 side by side", "window", "lease:fence",
		"services:stop", "backup:create", "cache:clear", "release:migrate", "release:activate", "services:start",
		"6 side by side", "2 side by side", "verify:criteria"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	// Nothing before the stop touches the service, and the stop itself does.
	touched := false
	for _, s := range step.Flat(agenda.Steps) {
		_, changes := s.(step.Changer)
		if changes && !touched && s.String() != "services:stop" {
			t.Errorf("%s is the first to touch the service", s)
		}
		touched = touched || changes
	}
}

func TestJudge(t *testing.T) {
	ok := report.Finding{Status: report.OK}
	warning := report.Finding{Status: report.Warning}
	unknown := report.Finding{Status: report.Unknown}
	broken := report.Finding{Status: report.Fault}
	if err := Judge([]report.Finding{ok, warning}); err != nil {
		t.Error(err)
	}
	if err := Judge([]report.Finding{ok, unknown}); err == nil || errors.Is(err, step.ErrFault) {
		t.Errorf("could not look: %v", err)
	}
	if err := Judge([]report.Finding{unknown, broken}); !errors.Is(err, step.ErrFault) {
		t.Errorf("a fault: %v", err)
	}
}

func TestCriteriaCountWhatWasNotLookedAtAsNotMet(t *testing.T) {
	findings := []report.Finding{
		{Check: "verify:api", Status: report.OK},
		{Check: "verify:tasks", Status: report.OK}, // verify:update is missing
		{Check: "verify:logs", Status: report.Fault},
		{Check: "verify:metrics", Status: report.Warning},
		{Check: "verify:alerts", Status: report.Unknown},
	}
	var met []bool
	for _, c := range Criteria(findings) {
		met = append(met, c.Met)
	}
	if diff := cmp.Diff([]bool{true, false, false, true, false, false}, met); diff != "" {
		t.Error(diff)
	}
}
