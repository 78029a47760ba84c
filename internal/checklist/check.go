package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A Check looks at one item of the plan and changes nothing, but for
// verify:update, which says so. Its findings say what was looked at, what was
// found and what to do; that it could not look is a finding too, never a pass.
type Check struct {
	Name    string // its target
	Command string // the plan's command that it stands for
	Python  bool   // it has to start the release's Python: only that can tell
	look    func(ctx context.Context, t *Target, s Subject) []report.Finding
}

// A Subject is what checks look at: a release and the time since which the
// service's behaviour counts.
type Subject struct {
	Release *release.Release // nil: none is installed yet
	Live    *release.Release // nil: before the first deployment
	Since   time.Time        // verify: the cut-over

	before     *baseline      // verify: how the service did before that, where the operation has noted it
	migrations *migrationPlan // filled in by pre:migrations, for the cut-over to come
}

func found(looked, what string, args ...any) report.Finding {
	return report.Finding{Status: report.OK, Looked: looked, Found: fmt.Sprintf(what, args...)}
}

func warn(looked, what, do string) report.Finding {
	return report.Finding{Status: report.Warning, Looked: looked, Found: host.Redact(what), Do: do}
}

func fault(looked, what, do string) report.Finding {
	return report.Finding{Status: report.Fault, Looked: looked, Found: host.Redact(what), Do: do}
}

// unseen is a check that could not look.
func unseen(looked string, err error, do string) report.Finding {
	return report.Finding{Status: report.Unknown, Looked: looked, Found: host.Redact(err.Error()), Do: do}
}

// Run looks, within the configured time, and names the check in each finding.
func (c Check) Run(ctx context.Context, t *Target, s Subject) []report.Finding {
	findings := lookAll(ctx, t, look{c.Name, c.deadline(t), func(ctx context.Context, t *Target) []report.Finding {
		return c.look(ctx, t, s)
	}})
	for i := range findings {
		findings[i].Check, findings[i].Command = c.Name, c.Command
	}
	return findings
}

func (c Check) deadline(t *Target) time.Duration {
	if strings.HasPrefix(c.Name, "verify:") {
		return t.Config.Timeouts.Verify + t.Config.Timeouts.Check
	}
	return t.Config.Timeouts.Check
}

// RunChecks runs checks side by side, for targets that stand alone, and
// returns their findings in the order of the list. The error is that of Judge.
func (t *Target) RunChecks(ctx context.Context, checks []Check, s Subject) ([]report.Finding, error) {
	results := make([][]report.Finding, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() {
			t.Observer.Started(c.Name)
			began := time.Now()
			results[i] = c.Run(ctx, t, s)
			outcome := "done"
			if Judge(results[i]) != nil {
				outcome = "failed"
			}
			t.Observer.Finished(c.Name, outcome, time.Since(began), summary(results[i]))
		})
	}
	wg.Wait()
	all := slices.Concat(results...)
	return all, Judge(all)
}

// Judge is nil when nothing is wrong; an error with step.ErrFault when a fault
// was found, another one when something could not be looked at.
func Judge(findings []report.Finding) error {
	var faults, unknown []string
	for _, f := range findings {
		text := fmt.Sprintf("%s: %s: %s", f.Check, f.Looked, f.Found)
		if f.Do != "" {
			text += " – " + f.Do
		}
		switch f.Status {
		case report.Fault:
			faults = append(faults, text)
		case report.Unknown:
			unknown = append(unknown, text)
		}
	}
	switch {
	case len(faults) > 0:
		return fmt.Errorf("%w: %s", step.ErrFault, strings.Join(append(faults, unknown...), "; "))
	case len(unknown) > 0:
		return fmt.Errorf("could not look: %s", strings.Join(unknown, "; "))
	}
	return nil
}

// summary is one line for a check that has run.
func summary(findings []report.Finding) string {
	var worst report.Finding
	for _, f := range findings {
		if worst.Looked == "" || rank(f.Status) > rank(worst.Status) {
			worst = f
		}
	}
	if worst.Status == report.OK && len(findings) > 1 {
		return fmt.Sprintf("%d looked at, all well", len(findings))
	}
	return worst.Looked + ": " + worst.Found
}

func rank(s report.Status) int {
	return slices.Index([]report.Status{report.OK, report.Warning, report.Unknown, report.Fault}, s)
}

// checkStep is a check as a step of an operation: it looks at the release to
// come, or after the cut-over at the live one.
type checkStep struct {
	inputs
	c Check
}

func (s checkStep) String() string          { return s.c.Name }
func (s checkStep) Deadline() time.Duration { return s.c.deadline(s.t) + 10*time.Second }

func (s checkStep) Describe(context.Context) ([]string, error) {
	return []string{"looks, in place of: " + strings.ReplaceAll(s.c.Command, "\n", "; ")}, nil
}

func (s checkStep) Run(ctx context.Context, r *step.Run) error {
	subject, err := s.t.subjectOf(ctx, r.Operation)
	if err != nil {
		return err
	}
	subject.migrations = &migrationPlan{}
	findings := s.c.Run(ctx, s.t, subject)
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := r.Note(ctx, "findings/"+s.c.Name, findings); err != nil {
		return err
	}
	if subject.migrations.To != "" {
		if err := r.Note(ctx, factMigrations, subject.migrations); err != nil {
			return err
		}
	}
	for _, f := range findings {
		if f.Status == report.Warning {
			r.Log("%s: %s. %s", f.Looked, f.Found, f.Do)
		}
	}
	r.Say("%s", summary(findings))
	return Judge(findings)
}

// subjectOf is what the checks of an operation look at.
func (t *Target) subjectOf(ctx context.Context, op *step.Operation) (Subject, error) {
	var s Subject
	var rel release.Release
	ok, err := op.Fact(factRelease, &rel)
	if err != nil {
		return s, err
	}
	if ok {
		s.Release = &rel
	}
	if s.Live, err = t.Releases.Current(ctx); err != nil {
		return s, err
	}
	if s.Release == nil {
		s.Release = s.Live
	}
	if _, err := op.Fact(factWorkersStarted, &s.Since); err != nil {
		return s, err
	}
	var stopped time.Time
	if ok, err := op.Fact(factWorkersStopped, &stopped); err != nil {
		return s, err
	} else if ok {
		s.Since = stopped
	} else if s.Live != nil && s.Live.ActivatedBy == op.ID() && s.Live.Activated != nil {
		s.Since = *s.Live.Activated // nothing ran that had to be stopped
	}
	s.before, err = baselineOf(op)
	return s, err
}

// SubjectAlone is what a check looks at that runs by itself: the live release,
// or with a ref the installed release of that commit.
func (t *Target) SubjectAlone(ctx context.Context, ref string) (Subject, error) {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return Subject{}, err
	}
	s := Subject{Release: live, Live: live}
	if live != nil && live.Activated != nil {
		s.Since = *live.Activated
	}
	if ref == "" {
		return s, nil
	}
	rel, err := t.installed(ctx, ref)
	s.Release = &rel
	return s, err
}

func asSteps(in inputs, checks []Check) step.Together {
	var group step.Together
	for _, c := range checks {
		group = append(group, checkStep{in, c})
	}
	return group
}
