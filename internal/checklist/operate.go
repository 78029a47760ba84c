package checklist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// An Agenda is what an operation of one kind does: the steps that are taken
// back together when one of them fails, and those that only record what was
// achieved, whose failure takes nothing back.
type Agenda struct {
	Steps  []step.Step
	Record []step.Step
	Keep   bool // a failure is left as it is: taking it back is not what was asked for
}

// Operate runs a new operation of this kind: it takes the lease, looks for an
// interrupted operation, records everything in a journal of its own, and takes
// back what it did when a step fails. The operation is returned also with an
// error, for the report, unless it never began.
func (t *Target) Operate(ctx context.Context, kind string, o Options) (*step.Operation, error) {
	if o.Ref == "" {
		o.Ref = t.Config.Source.Ref
	}
	if err := CheckRef(o.Ref); err != nil {
		return nil, err
	}
	agenda, err := t.agenda(kind, o)
	if err != nil {
		return nil, err
	}
	id := journal.NewID(kind, t.Now())
	held, err := t.takeLease(ctx, id, kind)
	if err != nil {
		return nil, err
	}
	defer t.releaseLease(held)
	ctx, stop := held.Keep(ctx)
	defer stop()
	if err := t.settleEarlier(ctx, o.Force); err != nil {
		return nil, err
	}
	self, err := t.Host.Process(ctx, os.Getpid())
	if err != nil {
		return nil, err
	}
	j, err := journal.Create(ctx, t.Host, t.journalDir(), journal.Header{
		ID: id, Kind: kind, By: Whoami(), Process: self, Run: runURL(), Reason: o.Override, Token: held.Token(),
	}, t.Now)
	if err != nil {
		return nil, err
	}
	op := step.NewOperation(j, t.Observer, t.Now)
	return op, t.perform(ctx, op, agenda, held)
}

// perform runs an agenda to one of its ends and records which.
func (t *Target) perform(ctx context.Context, op *step.Operation, agenda Agenda, held *lease.Lease) error {
	touched := func() bool { return serviceTouched(op.Journal().Log(), agenda) }
	successor := &successor{t: t, op: op}
	// At a signal Mage leaves five seconds, which the end of a step may take
	// alone: who takes the service back is started at once, and waits for us.
	stop := context.AfterFunc(ctx, func() {
		if touched() && !agenda.Keep {
			successor.start()
		}
	})
	err := op.Do(ctx, agenda.Steps)
	stop()
	switch {
	case err == nil:
		return t.record(ctx, op, agenda)
	case agenda.Keep && touched():
		return errors.Join(fmt.Errorf("%w: it was left as it is: %w", step.ErrNeedsPerson, err), op.End(ctx, journal.Left, err.Error()))
	case touched():
		t.releaseLease(held)
		return errors.Join(err, successor.follow(ctx))
	}
	return errors.Join(err, t.undo(ctx, op, agenda, false, err))
}

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

// takeLease takes the lease on the target for an operation.
func (t *Target) takeLease(ctx context.Context, id, purpose string) (*lease.Lease, error) {
	held, _, err := lease.Take(ctx, t.Host, t.opsDir(), lease.Request{
		Operation: id, Purpose: purpose, By: Whoami(), Run: runURL(),
		Expiry: t.Config.Operation.Expiry, Now: t.Now,
		Warn: func(text string) { t.Observer.Log("lease", text) },
	})
	return held, err
}

// releaseLease frees the lease. That it was taken over meanwhile is no fault;
// that it could not be written is told, the next taker will see a dead process.
func (t *Target) releaseLease(held *lease.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := held.Release(ctx); err != nil && !errors.Is(err, lease.ErrHeld) {
		t.Observer.Log("lease", err.Error())
	}
}
