package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Options of an operation, as the person gave them.
type Options struct {
	Ref      string        `json:"ref,omitempty"`      // branch, tag or commit; empty: source.ref
	Force    bool          `json:"force,omitempty"`    // also when the commit is live already
	Override string        `json:"override,omitempty"` // reason for a cut-over outside the maintenance window
	Reason   string        `json:"reason,omitempty"`   // why updates are paused
	Wait     time.Duration `json:"-"`                  // how long to wait for a lease that somebody holds
	IfNeeded bool          `json:"-"`                  // not where the open operation has done it

	// Of a rollback:
	To          string `json:"to,omitempty"`           // release; empty: the verified one that was live last
	Path        Way    `json:"path,omitempty"`         // empty: the one that costs least
	Backup      string `json:"backup,omitempty"`       // empty: the newest that was taken while that release was live
	Carry       string `json:"carry,omitempty"`        // CarryAll or CarryNone; empty: none
	KeepRelease bool   `json:"keep_release,omitempty"` // the fault came from elsewhere: the code stays
	BringBack   bool   `json:"bring_back,omitempty"`   // also rows that were deleted since the backup

	// Of data:restore, rows chosen by hand:
	Table string `json:"table,omitempty"`
	Where string `json:"where,omitempty"` // SQL condition
	CSV   string `json:"csv,omitempty"`   // reviewed file, on the host
}

// The plan's sections, each a list that reads like it.
var (
	// PreDeployment is section 1.
	PreDeployment = Checks{checkMigrations, checkData, checkRates, checkConfig, checkConnections}
	// ServiceDependencies is section 2.
	ServiceDependencies = Checks{checkCelery, checkRedis}
	// PostDeployment is the verification. The update travels first: logs and
	// performance are judged with its traces in them.
	PostDeployment      = Checks{verifyAPI, verifyTasks, verifyMetrics, verifyAlerts, verifyBackups, verifyUpdate}
	PostDeploymentTrace = Checks{verifyLogs, verifyPerformance}
	// Verification is both.
	Verification = slices.Concat(PostDeployment, PostDeploymentTrace)
)

// deploy is the plan, from "Pull latest changes" to the papers.
func (t *Target) deploy(o Options) Agenda {
	in := inputs{t}
	return Agenda{
		Steps: slices.Concat(
			[]step.Step{
				fetchStep{in, o.Ref, false},
				notLiveYet{in, o.Force},
				installStep{in},

				// 1 and 2: everything is looked at before anything is touched.
				append(asSteps(in, PreDeployment), asSteps(in, ServiceDependencies.asWarnings(o.Force))...),
				windowStep{in, o.Override},
				fenceStep{in},
			},
			t.cutOver(in),
			t.verification(in),
		),
		Record: []step.Step{
			changelogStep{in},
			notesStep{in},
			cleanStep{in},
		},
	}
}

// cutOver is section 3, Deployment Steps, from the stop on.
func (t *Target) cutOver(in inputs) []step.Step {
	return []step.Step{
		stopStep{inputs: in},
		backupStep{in},
		cacheStep{in},
		migrateStep{in},
		activateStep{in},
		startStep{in},
	}
}

// verification is Post-Deployment, at whose end the release is verified.
func (t *Target) verification(in inputs) []step.Step {
	return []step.Step{
		asSteps(in, PostDeployment),
		asSteps(in, PostDeploymentTrace),
		criteriaStep{in},
	}
}

// agenda is what an operation of this kind does. With no options it serves to
// end one.
func (t *Target) agenda(kind string, o Options) (Agenda, error) {
	switch kind {
	case "deploy":
		return t.deploy(o), nil
	case stagesKind:
		return t.staged(o), nil
	case rollbackKind:
		return t.immediate(o), nil
	case "services:start":
		// The person wanted it started: what runs by then stays running.
		return Agenda{Steps: t.stageSteps(kind, o), Keep: true}, nil
	case gradualKind:
		return t.gradual(o), nil
	case "updates:pause":
		return Agenda{Steps: []step.Step{pauseStep{inputs{t}, o.Reason}}}, nil
	case "updates:resume":
		return Agenda{Steps: []step.Step{unpauseStep{inputs{t}, o.Force}}}, nil
	case "data:inconsistencies":
		return Agenda{Steps: []step.Step{chooseBackup{inputs{t}, o.Backup}, fenceStep{inputs{t}}, inconsistenciesStep{inputs{t}}}}, nil
	case "data:restore":
		return t.restoringData(o), nil
	case "docs:changelog", "docs:notes":
		return Agenda{Record: t.stageSteps(kind, o)}, nil
	}
	if isStage(kind) {
		return Agenda{Steps: t.stageSteps(kind, o)}, nil
	}
	return Agenda{}, fmt.Errorf("operation of kind %q: this program does not know it: use the newer one that wrote it", kind)
}

// notLiveYet ends a deployment that would change nothing.
type notLiveYet struct {
	inputs
	force bool
}

func (notLiveYet) String() string { return "release:compare" }

func (s notLiveYet) Run(ctx context.Context, r *step.Run) error {
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	live, err := s.t.Releases.Current(ctx)
	if err := errors.Join(err, r.Fault(ctx, "during")); err != nil {
		return err
	}
	if live == nil {
		r.Say("this is the first deployment: there are no workers to ask yet and no release to go back to")
		return nil
	}
	if live.Commit == rel.Commit && !s.force {
		return fmt.Errorf("%w: %s is live already, as release %s: -force deploys it again", step.ErrNothingToDo, rel.Commit[:8], live.ID)
	}
	r.Say("live is %s “%s”", live.Commit[:8], live.Subject)
	all, err := s.t.Releases.All(ctx)
	for _, left := range all {
		if left.Commit == rel.Commit && left.State == release.RolledBack {
			r.Log("warning: this commit was rolled back before, as release %s: it is deployed again", left.ID)
		}
	}
	return err
}

// windowStep begins no cut-over that does not fit into the maintenance window.
type windowStep struct {
	inputs
	override string
}

func (windowStep) String() string { return "window" }

func (s windowStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	needs := s.t.expectedCutOver(ctx)
	w := s.t.Config.Window
	opening, err := w.At(s.t.Now(), needs)
	switch {
	case err == nil:
		r.Say("%s, needs about %s", openingText(opening), report.Duration(needs))
		if w.Enforce {
			return r.Note(ctx, factWindowEnds, opening.Deadline)
		}
		return nil
	case s.override != "":
		r.Say("closed, overridden: %s", s.override)
		return r.Note(ctx, "override", s.override)
	case !w.Enforce:
		r.Say("closed, not enforced in %s", s.t.Config.Environment)
		return nil
	}
	return fmt.Errorf("%w: %w: -override=\"reason\" goes on all the same", step.ErrFault, err)
}

// factWindowEnds is when the cut-over has to be done.
const factWindowEnds = "window.ends" // time.Time

// withinWindow is looked at between the steps up to the migration, the last
// point at which going back costs less than going on.
func withinWindow(op *step.Operation) error {
	var ends time.Time
	if ok, err := op.Fact(factWindowEnds, &ends); err != nil || !ok || op.Now().Before(ends) {
		return err
	}
	return fmt.Errorf("the maintenance window ended at %s, before the migration began", ends.UTC().Format(time.RFC3339))
}

// expectedCutOver is how long the last successful deployment had the workers
// stopped; before there is one, what the configuration says. A journal that
// cannot be read is not asked.
func (t *Target) expectedCutOver(ctx context.Context) time.Duration {
	logs, _ := journal.Newest(ctx, t.Host, t.journalDir(), wholeDeployment)
	for _, log := range slices.DeleteFunc(logs, func(log journal.Log) bool { return !wholeDeployment(log) }) {
		var from, to time.Time
		stopped, fromErr := log.Fact(factWorkersStopped, &from)
		started, toErr := log.Fact(factWorkersStarted, &to)
		if stopped && started && fromErr == nil && toErr == nil {
			return min(to.Sub(from), t.Config.Window.Maximum)
		}
	}
	return t.Config.Window.CutOver
}

// criteriaStep closes the deployment: the six success criteria, and with them
// the release is verified, a candidate for every rollback to come.
type criteriaStep struct{ inputs }

func (criteriaStep) String() string { return "verify:criteria" }

func (s criteriaStep) Run(ctx context.Context, r *step.Run) error {
	criteria, err := criteriaFromFindings(r.Operation)
	if err != nil {
		return err
	}
	later := 0
	for _, c := range criteria {
		if c.Later {
			// Nobody would verify the release afterwards, and a rollback would not
			// find it. That the criterion is open still, the target says.
			r.Log("criterion %d, %s, is not met yet: %s; `verify:criteria` when updates go on", c.Number, c.Text, c.Evidence)
			later++
		} else if !c.Met {
			return fmt.Errorf("%w: criterion %d, %s: %s", step.ErrFault, c.Number, c.Text, c.Evidence)
		}
	}
	rel, err := s.t.Releases.Current(ctx)
	if err == nil && (rel == nil || rel.ActivatedBy != r.ID()) {
		err = errors.New("the live release is not the one that this operation has activated")
	}
	if err := errors.Join(err, r.Fault(ctx, "during")); err != nil {
		return err
	}
	rel.State = release.Verified
	met := fmt.Sprintf("all %d met", len(criteria))
	if later > 0 {
		met = fmt.Sprintf("%d of %d met and %d not looked at yet", len(criteria)-later, len(criteria), later)
	}
	r.Say("%s, release %s verified", met, rel.ID)
	return s.t.Releases.Put(ctx, *rel)
}
