package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// stagesKind is the kind of an operation whose stages are targets of their
// own, called one by one: by hand, or in the steps and jobs of a pipeline.
// Between two of them the lease is parked. Together they are a deployment, and
// are taken back as one.
const stagesKind = "stages"

// opening are the stages that leave something to be done, and so begin such an
// operation when none is open.
var opening = []string{"services:stop", "release:migrate", "release:activate"}

// joining are those that belong to one that is open; otherwise they are whole
// by themselves.
var joining = []string{"release:fetch", "release:install", "backup:create", "cache:clear", "services:start", "verify:criteria", "docs:changelog", "docs:notes"}

// choosing are those that are told which release the operation is about.
var choosing = []string{"release:fetch", "release:install", "release:migrate", "release:activate"}

func isStage(kind string) bool {
	return slices.Contains(opening, kind) || slices.Contains(joining, kind)
}

// staged is all that the stages of an operation may do, in its order.
func (t *Target) staged(o Options) Agenda {
	in := inputs{t}
	return Agenda{Steps: slices.Concat(
		[]step.Step{selectStep{in, o.Ref}, fenceStep{in}},
		t.cutOver(in),
		t.verification(in),
	)}
}

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

// stageSteps are those of one stage.
func (t *Target) stageSteps(kind string, o Options) []step.Step {
	in := inputs{t}
	switch kind {
	case "release:fetch":
		return []step.Step{fetchStep{in, o.Ref}}
	case "release:install":
		return []step.Step{fetchStep{in, o.Ref}, installStep{in}}
	case "release:migrate":
		return []step.Step{selectStep{in, o.Ref}, fenceStep{in}, migrateStep{in}}
	case "release:activate":
		return []step.Step{selectStep{in, o.Ref}, activateStep{in}}
	case "services:stop":
		return []step.Step{stopStep{in}}
	case "services:start":
		return []step.Step{startStep{in}}
	case "backup:create":
		return []step.Step{backupStep{in}}
	case "cache:clear":
		return []step.Step{cacheStep{in}}
	case "verify:criteria":
		return t.verification(in)
	case "docs:changelog":
		return []step.Step{changelogStep{in}}
	case "docs:notes":
		return []step.Step{changelogStep{in}, notesStep{in}}
	}
	panic("not a stage: " + kind)
}

// stage runs a target as the next stage of the operation that is open, as the
// first one of a new operation or, where it is whole by itself, alone.
func (t *Target) stage(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	log, err := t.openStages(ctx)
	if err != nil {
		return nil, err
	}
	if log == nil && !slices.Contains(opening, kind) {
		return t.alone(ctx, kind, o)
	}
	id := journal.NewID(stagesKind, t.Now())
	if log != nil {
		id = log.Header().ID
	}
	held, err := t.takeLease(ctx, id, kind, o.Wait)
	if err != nil {
		return nil, err
	}
	defer held.release()
	var op *step.Operation
	if log == nil {
		op, err = held.begin(held.ctx, id, stagesKind, o)
	} else {
		op, err = held.join(*log, kind, o)
	}
	if err != nil {
		return op, err
	}
	return op, held.stage(op, kind, o)
}

// stage runs the steps of one, and ends the operation or parks its lease.
func (held *heldLease) stage(op *step.Operation, kind string, o Options) error {
	t := held.t
	agenda := t.staged(o)
	steps := t.stageSteps(kind, o)
	activated, _ := op.Journal().Log().Step(activateStep{}.String())
	// Services that were stopped and are started again: what runs by then
	// stays running.
	agenda.Keep = kind == "services:start" && !activated.Touched()
	var papers error // takes nothing back
	if strings.HasPrefix(kind, "docs:") {
		papers = op.Do(held.ctx, steps)
	} else if err := held.do(op, agenda, steps); err != nil {
		return err
	}
	if agenda.Keep || kind == "verify:criteria" || !serviceTouched(op.Journal().Log(), agenda) {
		return op.End(held.ctx, journal.Succeeded, "")
	}
	if err := op.Journal().Append(held.ctx, journal.Record{Type: journal.Park, Text: kind}); err != nil {
		return err
	}
	held.park(t.Config.Operation.Parked)
	t.Observer.Log("stage", fmt.Sprintf("%s is kept for its next stage for %s: %s; `resume` does all that is left, `resume -undo` takes the service back",
		op.ID(), t.Config.Operation.Parked, join(stepsLeft(op.Journal().Log(), agenda.asFarAs(op.Journal().Log())))))
	return papers
}

// openStages is the operation of ours that waits for its next stage, or whose
// last stage was interrupted; nil when there is none.
func (t *Target) openStages(ctx context.Context) (*journal.Log, error) {
	open, err := t.unfinished(ctx)
	if err != nil {
		return nil, err
	}
	for _, log := range open {
		if log.Header().Kind != stagesKind || log.Outcome() != "" {
			continue
		}
		if mine(lease.Holder{By: log.Header().By, Run: log.Header().Run}) {
			return &log, nil
		}
	}
	return nil, nil
}

// join takes the operation up for its next stage. One that was interrupted
// within a stage is joined by that same stage only: any other would build on
// what is half done.
func (held *heldLease) join(log journal.Log, kind string, o Options) (*step.Operation, error) {
	ctx, t := held.ctx, held.t
	log, err := journal.Read(ctx, t.Host, log.Path) // as it is now that we hold the lease
	if err != nil {
		return nil, err
	}
	steps := t.stageSteps(kind, o)
	aside := kind == "release:fetch" || kind == "release:install" // nothing running is touched
	if !aside && !onlyInterruptedIn(log, steps) {
		return nil, fmt.Errorf("%w: %s", ErrInterruptedBefore, describeUnfinished(log, t.staged(o)))
	}
	op, err := held.takeUp(ctx, log, kind)
	if err != nil {
		return op, err
	}
	var again []string
	for _, s := range step.Flat(steps) {
		// The backup is of before the migration: a second one would not be.
		if _, isBackup := s.(backupStep); !isBackup {
			again = append(again, s.String())
		}
	}
	op.Again(again...)
	if slices.Contains(choosing, kind) {
		err = op.Note(ctx, factOptions, o)
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

// asFarAs is what is to be done, or taken back, of an operation in stages:
// where no release was chosen, what was begun and the start of what was
// stopped.
func (a Agenda) asFarAs(log journal.Log) Agenda {
	if _, chosen := log.Step(selectStep{}.String()); chosen {
		return a
	}
	a.Steps = slices.DeleteFunc(step.Flat(a.Steps), func(s step.Step) bool {
		_, began := log.Step(s.String())
		return !began && s.String() != startStep{}.String()
	})
	return a
}
