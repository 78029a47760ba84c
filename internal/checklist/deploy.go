package checklist

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Options of a deployment, as the person gave them.
type Options struct {
	Ref      string // branch, tag or commit; empty: source.ref
	Force    bool   // also when the commit is live already
	Override string // reason for a cut-over outside the maintenance window
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
	return Agenda{
		Steps: []step.Step{
			fetchStep{t, o.Ref},
			notLiveYet{t, o.Force},
			installStep{t},

			// 1 and 2: everything is looked at before anything is touched.
			append(asSteps(t, PreDeployment), asSteps(t, ServiceDependencies)...),
			windowStep{t, o.Override},

			// 3 Deployment Steps.
			stopStep{t},
			backupStep{t},
			cacheStep{t},
			migrateStep{t},
			activateStep{t},
			startStep{t},

			// Post-Deployment.
			asSteps(t, PostDeployment),
			asSteps(t, PostDeploymentTrace),
			criteriaStep{t},
		},
		Record: []step.Step{
			changelogStep{t},
			notesStep{t},
			cleanStep{t},
		},
	}
}

// agenda is what an operation of this kind does. With no options it serves to
// take one back.
func (t *Target) agenda(kind string, o Options) (Agenda, error) {
	single := func(steps ...step.Step) (Agenda, error) { return Agenda{Steps: steps}, nil }
	switch kind {
	case "deploy":
		return t.deploy(o), nil
	case "release:fetch":
		return single(fetchStep{t, o.Ref})
	case "release:install":
		return single(fetchStep{t, o.Ref}, installStep{t})
	case "release:migrate":
		return single(selectStep{t, o.Ref}, migrateStep{t})
	case "release:activate":
		return single(selectStep{t, o.Ref}, activateStep{t})
	case "services:stop":
		return single(stopStep{t})
	case "services:start":
		return single(startAlone{startStep{t}})
	case "backup:create":
		return single(backupStep{t})
	case "cache:clear":
		return single(cacheStep{t})
	case "docs:changelog":
		return Agenda{Record: []step.Step{changelogStep{t}}}, nil
	case "docs:notes":
		return Agenda{Record: []step.Step{changelogStep{t}, notesStep{t}}}, nil
	}
	return Agenda{}, fmt.Errorf("operation of kind %q: this program does not know it: use the newer one that wrote it", kind)
}

// startAlone is services:start by itself: there is nothing to take back, the
// person wanted it started.
type startAlone struct{ startStep }

// Undo leaves what runs running.
func (startAlone) Undo(context.Context, *step.Run) error { return nil }

// notLiveYet ends a deployment that would change nothing.
type notLiveYet struct {
	t     *Target
	force bool
}

func (notLiveYet) String() string { return "release:compare" }

func (s notLiveYet) Run(ctx context.Context, r *step.Run) error {
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	live, err := s.t.Releases.Current(ctx)
	if err != nil {
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
	return nil
}

// windowStep begins no cut-over that does not fit into the maintenance window.
type windowStep struct {
	t        *Target
	override string
}

func (windowStep) String() string { return "window" }

func (s windowStep) Run(ctx context.Context, r *step.Run) error {
	needs, err := s.t.expectedCutOver(ctx)
	if err != nil {
		return err
	}
	w := s.t.Config.Window
	opening, err := w.At(s.t.Now(), needs)
	switch {
	case err == nil:
		r.Say("%s, needs about %s", openingText(opening), report.Duration(needs))
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

// expectedCutOver is how long the last successful deployment had the workers
// stopped, with as much again for what may come; before there is one, what the
// configuration says.
func (t *Target) expectedCutOver(ctx context.Context) (time.Duration, error) {
	logs, err := journal.List(ctx, t.Host, t.journalDir())
	if err != nil {
		return 0, err
	}
	for _, log := range logs {
		if log.Header().Kind != "deploy" || log.Outcome() != journal.Succeeded {
			continue
		}
		var from, to time.Time
		stopped, err := log.Fact(factWorkersStopped, &from)
		if err != nil {
			return 0, err
		}
		if started, err := log.Fact(factWorkersStarted, &to); err != nil {
			return 0, err
		} else if stopped && started {
			return 2 * to.Sub(from), nil
		}
	}
	return t.Config.Window.CutOver, nil
}

// criteriaStep closes the deployment: the six success criteria, and with them
// the release is verified, a candidate for every rollback to come.
type criteriaStep struct{ t *Target }

func (criteriaStep) String() string { return "verify:criteria" }

func (s criteriaStep) Run(ctx context.Context, r *step.Run) error {
	criteria, err := criteriaFromFindings(r.Operation)
	if err != nil {
		return err
	}
	for _, c := range criteria {
		if !c.Met {
			return fmt.Errorf("%w: criterion %d, %s: %s", step.ErrFault, c.Number, c.Text, c.Evidence)
		}
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if rel, err = s.t.Releases.Find(ctx, rel.ID); err != nil {
		return err
	}
	rel.State = release.Verified
	r.Say("all %d met, release %s verified", len(criteria), rel.ID)
	return s.t.Releases.Put(ctx, rel)
}
