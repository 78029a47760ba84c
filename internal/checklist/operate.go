package checklist

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// An Agenda is what an operation of one kind does: the steps that are taken
// back together when one of them fails; those that look at what was achieved,
// whose failure takes nothing back and needs a person; and those that only
// record it.
type Agenda struct {
	Steps  []step.Step
	Verify []step.Step
	Record []step.Step
	Keep   bool // a failure is left as it is: taking it back is not what was asked for

	Onward *onward // with Keep: what was left can be gone on with
}

// Operate runs a target that changes something, as an operation of its own or
// as the next stage of one that is open. The operation is returned also with
// an error, for the report, unless it never began. Over an interrupted
// operation a pipeline takes the way that the configuration names.
func (t *Target) Operate(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	op, err := t.operate(ctx, kind, o)
	way := t.Config.Operation.Interrupted
	if !errors.Is(err, ErrInterruptedBefore) || way == config.InterruptedStop || !inPipeline() {
		return op, err
	}
	t.Observer.Log("resume", fmt.Sprintf("%v: operation.interrupted is %s", err, way))
	if earlier, err := t.Settle(ctx, way == config.InterruptedUndo, o.Wait); err != nil {
		return earlier, err
	}
	return t.operate(ctx, kind, o)
}

// inPipeline reports whether nobody can be asked: GitHub Actions and most
// others set CI.
func inPipeline() bool { return os.Getenv("CI") != "" || runURL() != "" }

func (t *Target) operate(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	if o.Ref == "" {
		o.Ref = t.Config.Source.Ref
	}
	if err := errors.Join(CheckRef(o.Ref), checkRepair(o)); err != nil {
		return nil, err
	}
	if _, err := t.agenda(kind, o); err != nil {
		return nil, err
	}
	if isStage(kind) {
		return t.stage(ctx, kind, o)
	}
	return t.alone(ctx, kind, o)
}

// alone runs a target as an operation of its own.
func (t *Target) alone(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	held, err := t.takeLease(ctx, lease.Request{Name: t.newID(kind), Purpose: kind, Wait: o.Wait})
	if err != nil {
		return nil, err
	}
	defer held.release()
	op, err := held.begin(held.ctx, kind, o)
	if err != nil {
		return nil, err
	}
	agenda, err := held.t.agenda(kind, o)
	if err != nil {
		return op, err
	}
	return op, held.perform(op, agenda)
}

// begin opens the journal of a new operation, when earlier ones are settled.
func (held *heldLease) begin(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	t := held.t
	if kind == (pauseStep{}).String() {
		// The brake works over whatever was interrupted, or is not in order.
		return held.create(ctx, held.Holder().Operation, kind, o)
	}
	// First: what an interrupted operation left half-way is not mended by hand.
	if err := t.settleEarlier(ctx, held, o.Force && kind == "deploy"); err != nil {
		return nil, err
	}
	warnings, err := t.soundRecords(ctx)
	for _, w := range warnings {
		t.Observer.Log("records", w)
	}
	if err != nil {
		return nil, err
	}
	return held.create(ctx, held.Holder().Operation, kind, o)
}

// create makes the journal of a new operation.
func (held *heldLease) create(ctx context.Context, id, kind string, o Options) (*step.Operation, error) {
	t := held.t
	keys, err := t.configKeys()
	if err != nil {
		return nil, err
	}
	options, err := json.Marshal(o)
	if err != nil {
		return nil, err
	}
	holder := held.Holder()
	j, err := journal.Create(ctx, t.Host, t.journalDir(), journal.Header{
		ID: id, Kind: kind, By: holder.By, Process: holder.Process, Run: holder.Run, Reason: cmp.Or(o.Override, o.Reason), Token: holder.Token, Options: options,
	}, t.Now)
	if err != nil {
		return nil, err
	}
	held.teller.begin(ctx, j)
	op := step.NewOperation(j, t.Observer, t.Now)
	return op, op.Note(ctx, factConfig, keys)
}

// factOptions are the Options of a later stage, where it chose the release.
const factOptions = "options"

// agendaOf is what an operation set out to do, for whoever goes on with it.
func (t *Target) agendaOf(log journal.Log) (Agenda, error) {
	o, err := optionsOf(log)
	if err != nil {
		return Agenda{}, err
	}
	o.Ref = cmp.Or(o.Ref, t.Config.Source.Ref)
	agenda, err := t.agenda(log.Header().Kind, o)
	if log.Header().Kind == stagesKind {
		agenda = agenda.asFarAs(log)
	}
	return agenda, err
}

// optionsOf is what an operation was called with.
func optionsOf(log journal.Log) (o Options, err error) {
	chosen, err := log.Fact(factOptions, &o)
	if given := log.Header().Options; err == nil && !chosen && len(given) > 0 {
		err = json.Unmarshal(given, &o)
	}
	if err != nil {
		return o, fmt.Errorf("reading the options of %s: %w", log.Header().ID, err)
	}
	return o, nil
}

// perform runs an agenda to one of its ends and records which.
func (held *heldLease) perform(op *step.Operation, agenda Agenda) error {
	if err := held.do(op, agenda, agenda.Steps); err != nil {
		return err
	}
	return held.finish(op, agenda)
}

// finish looks at what was achieved, and writes its papers.
func (held *heldLease) finish(op *step.Operation, agenda Agenda) error {
	ctx := held.ctx
	err := op.Do(ctx, agenda.Verify)
	switch {
	case err == nil:
		return held.t.record(ctx, op, agenda)
	case ctx.Err() != nil || errors.Is(err, lease.ErrLost):
		return errors.Join(err, context.Cause(ctx)) // `resume` goes on with it
	}
	err = fmt.Errorf("%w: it stays on the release that it went to: %w", step.ErrNeedsPerson, err)
	papers := op.Do(context.WithoutCancel(ctx), agenda.Record)
	return errors.Join(err, papers, op.End(ctx, journal.Left, err.Error()))
}

// do runs steps of an agenda. When one fails all of the agenda is taken back:
// by another process where the service was touched. An operation that has lost
// its lease does nothing more: whoever took it over decides.
func (held *heldLease) do(op *step.Operation, agenda Agenda, steps []step.Step) error {
	ctx, t := held.ctx, held.t
	touched := func() bool { return serviceTouched(op.Journal().Log(), agenda) }
	successor := &successor{t: t, op: op}
	// At a signal Mage leaves five seconds, which the end of a step may take
	// alone: who takes the service back is started at once, and waits for us.
	stop := context.AfterFunc(ctx, func() {
		if touched() && !agenda.Keep && !lost(ctx) {
			successor.start()
		}
	})
	err := op.Do(ctx, steps)
	stop()
	if err == nil && successor.started() && !achieved(op.Journal().Log(), agenda) {
		err = context.Cause(ctx) // the signal came with the last step: it is being taken back
	}
	switch {
	case err == nil:
		return nil
	case lost(ctx) || errors.Is(err, lease.ErrLost):
		return errors.Join(err, context.Cause(ctx))
	case errors.Is(err, errUntouched) && (agenda.Onward == nil || !agenda.Onward.resumes):
	case agenda.Keep && touched():
		return agenda.leave(ctx, op, err)
	case touched():
		held.park(t.Now().Add(successorPatience))
		return errors.Join(err, successor.follow(ctx))
	}
	return errors.Join(err, t.undo(ctx, op, agenda, false, err))
}

// lost reports whether a context has ended because the lease was lost.
func lost(ctx context.Context) bool { return errors.Is(context.Cause(ctx), lease.ErrLost) }

// record writes the papers of what was achieved. It is not cut short: the
// service is where it should be, and what is missing is only said.
func (t *Target) record(ctx context.Context, op *step.Operation, agenda Agenda) error {
	ctx = context.WithoutCancel(ctx)
	text := ""
	if err := op.Do(ctx, agenda.Record); err != nil {
		if len(agenda.Steps) == 0 {
			return errors.Join(err, op.End(ctx, journal.Unchanged, err.Error()))
		}
		text = "the service is fine, its papers are not: " + err.Error()
		t.Observer.Log("warning", text)
	}
	return op.End(ctx, journal.Succeeded, text)
}

// undo takes back what the steps did, and records how that ended.
func (t *Target) undo(ctx context.Context, op *step.Operation, agenda Agenda, touched bool, cause error) error {
	ctx = context.WithoutCancel(ctx)
	if err := op.Undo(ctx, agenda.Steps); err != nil {
		return errors.Join(err, op.End(ctx, journal.Stuck, err.Error()))
	}
	if !touched {
		return op.End(ctx, journal.Unchanged, cause.Error())
	}
	return errors.Join(ErrTakenBack, op.End(ctx, journal.TakenBack, cause.Error()))
}

// serviceTouched reports whether a step that changes the running service began
// and was not taken back.
func serviceTouched(log journal.Log, agenda Agenda) bool {
	for _, s := range step.Flat(agenda.Steps) {
		if _, changes := s.(step.Changer); !changes {
			continue
		}
		if state, began := log.Step(s.String()); began && state.Touched() {
			return true
		}
	}
	return false
}
