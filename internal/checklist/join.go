package checklist

import (
	"context"
	"fmt"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// CriteriaAreAStage reports whether verify:criteria is what an operation of
// ours waits for: it then verifies the release that was activated. Otherwise
// it only looks.
func (t *Target) CriteriaAreAStage(ctx context.Context) (bool, error) {
	log, err := t.openStages(ctx)
	if err != nil || log == nil {
		return false, err
	}
	state, _ := log.Step(startStep{}.String())
	activated, _ := log.Step(activateStep{}.String())
	return state.Type == journal.Done && activated.Touched(), nil
}

// openStages is the operation of ours that waits for its next stage, or whose
// last stage was interrupted; nil when there is none.
func (t *Target) openStages(ctx context.Context) (*journal.Log, error) {
	open, err := t.unfinished(ctx)
	if err != nil {
		return nil, err
	}
	for _, log := range open {
		if log.Header().Kind != stagesKind || log.Outcome() != "" || !mine(lease.Holder{By: log.Header().By, Run: log.Header().Run}) {
			continue
		}
		agenda, err := t.agendaOf(log)
		if err == nil && achieved(log, agenda) {
			continue // only its end is missing
		}
		return &log, err
	}
	return nil, nil
}

// mayJoin refuses a stage that would build on what is half done, gone by, or
// of another release.
func (t *Target) mayJoin(ctx context.Context, log journal.Log, kind string, o Options) error {
	agenda := t.staged(o).asFarAs(log)
	tooLate := t.Now().Sub(log.Last().Time) > t.Config.Operation.Parked
	if tooLate || goesBack(log, agenda) || !onlyInterruptedIn(log, t.stageSteps(kind, o)) {
		return fmt.Errorf("%w: %s", ErrInterruptedBefore, describeUnfinished(log, agenda))
	}
	acted := func(s step.Step) bool { state, _ := log.Step(s.String()); return state.Touched() }
	started, _ := log.Step(startStep{}.String())
	var plan migrationPlan
	if _, err := log.Fact(factMigrations, &plan); err != nil {
		return err
	}
	refuse := func(why string) error { return fmt.Errorf("%w: %s: %s", ErrUsage, log.Header().ID, why) }
	switch {
	case acted(activateStep{}) && started.Type == journal.Done && !slices.Contains(joining, kind):
		return refuse("its release is activated and started: `verify:criteria` ends it, `resume -undo` takes it back")
	case kind == "services:start" && acted(migrateStep{}) && len(plan.Pending) > 0 && !acted(activateStep{}):
		return refuse("the database is migrated, and the release for it is not live: `release:activate` comes first, or `resume -undo` takes the service back")
	case kind == "release:migrate" || kind == "release:activate":
		rel, err := t.installed(ctx, o.Ref)
		if err != nil {
			return err
		}
		var chosen release.Release
		if ok, err := log.Fact(factRelease, &chosen); err != nil {
			return err
		} else if ok && chosen.Commit != rel.Commit && (acted(migrateStep{}) || acted(activateStep{})) {
			return refuse(fmt.Sprintf("it is about %s, not about %s: say -ref=%s, or `resume -undo` and begin anew", chosen.Commit[:8], rel.Commit[:8], chosen.Commit))
		}
	}
	return nil
}

// join takes the operation up for its next stage, which does what it does also
// when it was done before.
func (held *heldLease) join(log journal.Log, kind string, o Options) (*step.Operation, error) {
	t := held.t
	op, err := held.takeUp(held.ctx, log, kind)
	if err != nil {
		return op, err
	}
	var again []string
	for _, s := range step.Flat(t.stageSteps(kind, o)) {
		again = append(again, s.String())
	}
	op.Again(again...)
	if slices.Contains([]string{"release:migrate", "release:activate"}, kind) {
		err = op.Note(held.ctx, factOptions, o)
	}
	return op, err
}

// onlyInterruptedIn reports whether an operation is on its way forward and no
// other step than one of these was interrupted.
func onlyInterruptedIn(log journal.Log, steps []step.Step) bool {
	if log.TakenBack() {
		return false
	}
	for _, state := range log.Steps() {
		ofStage := slices.ContainsFunc(step.Flat(steps), func(s step.Step) bool { return s.String() == state.Name })
		if state.Type == journal.Failed || state.Type == journal.Start && !ofStage {
			return false
		}
	}
	return true
}
