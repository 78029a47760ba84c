package checklist

import (
	"context"
	"fmt"
	"slices"

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
var joining = []string{"backup:create", "cache:clear", "services:start", "verify:criteria"}

// aside are those that touch nothing running: beside one that is open they are
// whole by themselves too.
var aside = []string{"release:fetch", "release:install", "docs:changelog", "docs:notes"}

func isStage(kind string) bool { return slices.Contains(slices.Concat(opening, joining, aside), kind) }

// staged is all that the stages of an operation may do, in its order.
func (t *Target) staged(o Options) Agenda {
	in := inputs{t}
	return Agenda{Steps: slices.Concat(
		[]step.Step{selectStep{in, o.Ref}, fenceStep{in}},
		t.cutOver(in),
		t.verification(in),
	)}
}

// stageSteps are those of one stage.
func (t *Target) stageSteps(kind string, o Options) []step.Step {
	in := inputs{t}
	switch kind {
	case "release:fetch":
		return []step.Step{fetchStep{in, o.Ref, true}}
	case "release:install":
		return []step.Step{fetchStep{in, o.Ref, true}, installStep{in}}
	case "release:migrate":
		return []step.Step{selectStep{in, o.Ref}, fenceStep{in}, migrateStep{in}}
	case "release:activate":
		return []step.Step{selectStep{in, o.Ref}, activateStep{in}}
	case "services:stop":
		return []step.Step{stopStep{inputs: in}}
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
	switch {
	case err != nil:
		return nil, err
	case log == nil && !slices.Contains(opening, kind):
		return t.alone(ctx, kind, o)
	case log == nil:
		return t.firstStage(ctx, kind, o)
	}
	held, err := t.takeLease(ctx, lease.Request{Operation: log.Header().ID, Purpose: kind, Wait: o.Wait})
	if err != nil {
		return nil, err
	}
	defer held.release()
	now, err := journal.Read(ctx, t.Host, log.Path)
	if err == nil && now.Outcome() != "" { // while we waited for the lease
		held.release()
		return t.stage(ctx, kind, o)
	}
	if state, _ := now.Step(kind); err == nil && o.IfNeeded && (state.Type == journal.Done || state.Type == journal.Skipped) {
		held.asItWas()
		return nil, fmt.Errorf("%w: %s is done in %s: %s", step.ErrNothingToDo, kind, now.Header().ID, state.Text)
	}
	if err == nil {
		err = held.settleBeside(now)
	}
	if err == nil && standsAside(now, kind) {
		defer held.asItWas()
		return held.beside(kind, o)
	}
	if err == nil {
		err = held.t.mayJoin(ctx, now, kind, o)
	}
	if err != nil {
		held.asItWas()
		return nil, err
	}
	op, err := held.join(now, kind, o)
	if err != nil {
		held.asItWas()
		return op, err
	}
	return op, held.stage(op, kind, o)
}

// standsAside reports whether a target does not touch what the open operation
// is about: also a further backup, which is not the one to go back to.
func standsAside(log journal.Log, kind string) bool {
	var id string
	backedUp, _ := log.Fact(factBackup, &id)
	state, _ := log.Step(backupStep{}.String()) // one that was interrupted is settled first
	return slices.Contains(aside, kind) || kind == backupStep{}.String() && backedUp && state.Type != journal.Start
}

func (t *Target) firstStage(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	held, err := t.takeLease(ctx, lease.Request{Name: t.newID(stagesKind), Purpose: kind, Wait: o.Wait})
	if err != nil {
		return nil, err
	}
	defer held.release()
	op, err := held.begin(held.ctx, stagesKind, o)
	if err != nil {
		return op, err
	}
	return op, held.stage(op, kind, o)
}

// settleBeside tidies up what was interrupted beside an open operation.
func (held *heldLease) settleBeside(log journal.Log) error {
	open, err := held.t.unfinished(held.ctx)
	if err != nil {
		return err
	}
	for _, other := range open {
		agenda, err := held.t.agendaOf(other)
		if err != nil {
			return err
		}
		if other.Header().ID == log.Header().ID || serviceTouched(other, agenda) {
			continue
		}
		if _, err := held.goOn(held.ctx, other, agenda, true); err != nil {
			return err
		}
	}
	return nil
}

// beside runs what touches nothing running, under the lease that is parked for
// an open operation, in a journal of its own.
func (held *heldLease) beside(kind string, o Options) (*step.Operation, error) {
	id, err := held.t.newID(kind)(held.ctx)
	if err != nil {
		return nil, err
	}
	op, err := held.create(held.ctx, id, kind, o)
	if err != nil {
		return op, err
	}
	agenda, err := held.t.agenda(kind, o)
	if err != nil {
		return op, err
	}
	return op, held.perform(op, agenda)
}

// stage runs the steps of one, and ends the operation or parks its lease.
func (held *heldLease) stage(op *step.Operation, kind string, o Options) error {
	t := held.t
	agenda := t.staged(o)
	activated, _ := op.Journal().Log().Step(activateStep{}.String())
	// Services that were stopped and are started again: what runs by then
	// stays running.
	agenda.Keep = kind == "services:start" && !activated.Touched()
	if err := held.do(op, agenda, t.stageSteps(kind, o)); err != nil {
		return err
	}
	if agenda.Keep || kind == "verify:criteria" || !serviceTouched(op.Journal().Log(), agenda) {
		return op.End(held.ctx, journal.Succeeded, "")
	}
	held.briefly(farewell/2, t.maintenance.rest)
	if err := op.Journal().Append(held.ctx, journal.Record{Type: journal.Park, Text: kind}); err != nil {
		return err
	}
	held.briefly(farewell, held.teller.end)
	held.park(t.Now().Add(t.Config.Operation.Parked))
	t.Observer.Log("stage", fmt.Sprintf("%s is kept for its next stage for %s: %s; `resume` does all that is left, `resume -undo` takes the service back",
		op.ID(), t.Config.Operation.Parked, join(stepsLeft(op.Journal().Log(), agenda.asFarAs(op.Journal().Log())))))
	return nil
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
