package checklist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// An Agenda is what an operation of one kind does: the steps that are taken
// back together when one of them fails, and those that only record what was
// achieved, whose failure takes nothing back.
type Agenda struct {
	Steps  []step.Step
	Record []step.Step
}

// ErrInterruptedBefore is in the error of an operation that found an earlier
// one unfinished on a service that it had begun to change.
var ErrInterruptedBefore = errors.New("an earlier operation was interrupted")

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
	if err := t.settleEarlier(ctx, held); err != nil {
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
	err := t.takeFence(ctx, op)
	if err == nil {
		err = op.Do(ctx, agenda.Steps)
	}
	if err != nil {
		return t.takeBack(ctx, op, agenda, held, err)
	}
	return t.record(ctx, op, agenda)
}

// record writes the papers of what was achieved. It is not cut short: the
// service is where it should be, and what is missing is only said.
func (t *Target) record(ctx context.Context, op *step.Operation, agenda Agenda) error {
	ctx = context.WithoutCancel(ctx)
	if err := op.Do(ctx, agenda.Record); err != nil {
		text := "the service is fine; only its papers are not: " + err.Error()
		return errors.Join(fmt.Errorf("recording what was done (the service itself is fine): %w", err), op.End(ctx, journal.Succeeded, text))
	}
	return op.End(ctx, journal.Succeeded, "")
}

// takeBack undoes what was done. When a signal asked for the end, Mage leaves
// five seconds: an undo that has to move the service is then handed to a
// process that Mage cannot cut short.
func (t *Target) takeBack(ctx context.Context, op *step.Operation, agenda Agenda, held *lease.Lease, cause error) error {
	touched := serviceTouched(op.Journal().Log(), agenda)
	if touched && ctx.Err() != nil {
		return errors.Join(cause, t.handOver(op, held))
	}
	return errors.Join(cause, t.undo(ctx, op, agenda, touched, cause))
}

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

// serviceTouched reports whether a step that changes the running service began.
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
	self, err := t.Host.Process(ctx, os.Getpid())
	if err != nil {
		return nil, err
	}
	return lease.Take(ctx, t.Host, t.opsDir(), lease.Holder{
		Operation: id, Purpose: purpose, By: Whoami(), Process: self, Run: runURL(),
	}, t.Now())
}

// releaseLease frees the lease. That it was handed over meanwhile is no fault;
// that it could not be written is told, the next taker will see a dead process.
func (t *Target) releaseLease(held *lease.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := held.Release(ctx, t.Now()); err != nil && !errors.Is(err, lease.ErrHeld) {
		t.Observer.Log("lease", err.Error())
	}
}

// takeFence moves the fence in the database to this operation, so that no
// transaction of an earlier one can still change data. Before the first
// deployment the database may be unreachable for reasons that the checks will
// name: they are not hidden here, the first step to use it says so.
func (t *Target) takeFence(ctx context.Context, op *step.Operation) error {
	conn, err := t.connect(ctx, op.ApplicationName())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := postgres.EnsureOps(ctx, conn); err != nil {
		return err
	}
	return postgres.TakeFence(ctx, conn, op.Token(), op.ID())
}

// settleEarlier closes operations that ended without saying so. One that had
// not touched the service is tidied up here; one that had is left to a person's
// choice, since only `resume` takes the service back.
func (t *Target) settleEarlier(ctx context.Context, held *lease.Lease) error {
	logs, err := journal.List(ctx, t.Host, t.journalDir())
	if err != nil {
		return err
	}
	for _, log := range logs {
		if log.Outcome() != "" || host.Alive(ctx, t.Host, log.Owner()) {
			continue
		}
		agenda, err := t.agenda(log.Header().Kind, Options{})
		if err != nil {
			return err
		}
		if serviceTouched(log, agenda) {
			return fmt.Errorf("%w: %s", ErrInterruptedBefore, describeInterrupted(log))
		}
		if _, err := t.finishUndo(ctx, log, agenda); err != nil {
			return err
		}
	}
	return nil
}

func describeInterrupted(log journal.Log) string {
	at := "before its first step"
	if steps := log.Steps(); len(steps) > 0 {
		last := steps[len(steps)-1]
		at = fmt.Sprintf("at %s (%s)", last.Name, last.Type)
	}
	return fmt.Sprintf("%s of %s, last heard of %s, %s: `resume -undo` takes the service back to the release before",
		log.Header().ID, log.Header().By, log.Last().Time.Format(time.RFC3339), at)
}

// finishUndo takes back what an operation left behind whose process is gone.
func (t *Target) finishUndo(ctx context.Context, log journal.Log, agenda Agenda) (*step.Operation, error) {
	self, err := t.Host.Process(ctx, os.Getpid())
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, t.Host, log.Path, t.Now)
	if err != nil {
		return nil, err
	}
	op := step.NewOperation(j, t.Observer, t.Now)
	if err := j.Append(ctx, journal.Record{Type: journal.HandOver, Process: &self, Text: "taking it back"}); err != nil {
		return op, err
	}
	// First nothing may act any more; then it is looked at what was done.
	if _, err := op.EndOrphans(ctx, t.Host, 20*time.Second); err != nil {
		return op, err
	}
	touched := serviceTouched(log, agenda)
	if touched {
		if err := t.endSessions(ctx, op); err != nil {
			return op, err
		}
	}
	err = t.undo(ctx, op, agenda, touched, step.ErrInterrupted)
	if errors.Is(err, ErrTakenBack) && !errors.Is(err, step.ErrNeedsPerson) {
		err = nil // which is what was asked for
	}
	return op, err
}

// endSessions ends what the operation's dead processes left in the database: a
// session goes on with its statement after its client has gone.
func (t *Target) endSessions(ctx context.Context, op *step.Operation) error {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	_, err = postgres.EndSessions(ctx, conn, op.ApplicationName())
	return err
}

// ErrNothingToResume says that no operation was interrupted.
var ErrNothingToResume = errors.New("no operation is interrupted")

// Resume ends the interrupted operation: forwards where only its papers are
// missing, otherwise, if undo allows it, by taking the service back.
func (t *Target) Resume(ctx context.Context, undo bool) (*step.Operation, error) {
	logs, err := journal.List(ctx, t.Host, t.journalDir())
	if err != nil {
		return nil, err
	}
	for _, log := range logs {
		if log.Outcome() != "" {
			continue
		}
		held, err := t.waitLease(ctx, log.Header().ID)
		if err != nil {
			return nil, err
		}
		defer t.releaseLease(held)
		// It may have been ended while we waited for the lease.
		if log, err = journal.Read(ctx, t.Host, log.Path); err != nil {
			return nil, err
		}
		if log.Outcome() != "" {
			continue
		}
		return t.end(ctx, log, undo)
	}
	return nil, ErrNothingToResume
}

func (t *Target) end(ctx context.Context, log journal.Log, undo bool) (*step.Operation, error) {
	agenda, err := t.agenda(log.Header().Kind, Options{})
	if err != nil {
		return nil, err
	}
	if achieved(log, agenda) {
		j, err := journal.Open(ctx, t.Host, log.Path, t.Now)
		if err != nil {
			return nil, err
		}
		op := step.NewOperation(j, t.Observer, t.Now)
		return op, t.record(ctx, op, agenda)
	}
	if !undo {
		return nil, fmt.Errorf("%w: %s", ErrUsage, describeInterrupted(log))
	}
	return t.finishUndo(ctx, log, agenda)
}

// achieved reports whether all that is taken back together was done.
func achieved(log journal.Log, agenda Agenda) bool {
	flat := step.Flat(agenda.Steps)
	if len(flat) == 0 {
		return true
	}
	state, ok := log.Step(flat[len(flat)-1].String())
	return ok && state.Type == journal.Done
}

// waitLease takes the lease for going on with an operation, and waits a little
// for the process that hands it over.
func (t *Target) waitLease(ctx context.Context, id string) (*lease.Lease, error) {
	for end := time.Now().Add(10 * time.Second); ; {
		held, err := t.takeLease(ctx, id, "resume")
		if !errors.Is(err, lease.ErrHeld) || time.Now().After(end) || os.Getenv(handOverVariable) == "" {
			return held, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// LogFile is where a process that goes on by itself writes what it does.
func (t *Target) logFile(id string) string { return path.Join(t.opsDir(), id+".log") }
