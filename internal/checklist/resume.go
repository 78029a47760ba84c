package checklist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// ErrInterruptedBefore is in the error of an operation that found an earlier
// one unfinished on a service that it had begun to change.
var ErrInterruptedBefore = errors.New("an earlier operation is not finished")

// ErrNothingToResume says that no operation was interrupted.
var ErrNothingToResume = errors.New("no operation is interrupted")

// unfinished lists the operations that ended without saying so, and those
// whose undo failed, newest first, back to the last whole deployment: what was
// before that, it has overtaken.
func (t *Target) unfinished(ctx context.Context) ([]journal.Log, error) {
	logs, err := journal.List(ctx, t.Host, t.journalDir())
	if err != nil {
		return nil, fmt.Errorf("%w: look what it holds, then move the file away", err)
	}
	var open []journal.Log
	for _, log := range logs {
		if outcome := log.Outcome(); outcome == "" || outcome == journal.Stuck {
			open = append(open, log)
		} else if log.Header().Kind == "deploy" && outcome == journal.Succeeded {
			break
		}
	}
	return open, nil
}

// settleEarlier deals with unfinished operations before a new one begins; the
// caller holds the lease. One that did not touch the service is tidied up, one
// that has achieved everything gets its papers. What is left is a person's
// choice: only `resume` takes the service back. With force a failed undo, which
// a person has mended by hand, is passed over.
func (t *Target) settleEarlier(ctx context.Context, force bool) error {
	open, err := t.unfinished(ctx)
	if err != nil {
		return err
	}
	for _, log := range open {
		if host.Alive(ctx, t.Host, log.Owner()) && log.Outcome() == "" {
			// Between two processes of one operation the lease is free for a moment.
			return fmt.Errorf("%w: %s of %s is being handed over to another process: wait for it to end", lease.ErrHeld, log.Header().ID, log.Header().By)
		}
		if log.Outcome() == journal.Stuck && force {
			continue
		}
		agenda, err := t.agenda(log.Header().Kind, Options{})
		if err != nil {
			return err
		}
		if serviceTouched(log, agenda) && !achieved(log, agenda) {
			return fmt.Errorf("%w: %s", ErrInterruptedBefore, describeUnfinished(log))
		}
		if _, err := t.end(ctx, log, agenda); err != nil {
			return err
		}
	}
	return nil
}

func describeUnfinished(log journal.Log) string {
	at := "before its first step"
	if steps := log.Steps(); len(steps) > 0 {
		last := steps[len(steps)-1]
		at = fmt.Sprintf("at %s (%s)", last.Name, last.Type)
	}
	text := fmt.Sprintf("%s of %s, last heard of %s, %s: `resume -undo` takes the service back to the release before",
		log.Header().ID, log.Header().By, log.Last().Time.Format(time.RFC3339), at)
	if log.Outcome() == journal.Stuck {
		text += "; its first try failed: " + firstLine(log.Last().Text) + "; once a person has mended the service, `deploy -force` passes over it"
	}
	return text
}

// achieved reports whether all that is taken back together was done.
func achieved(log journal.Log, agenda Agenda) bool {
	flat := step.Flat(agenda.Steps)
	if len(flat) == 0 {
		return true
	}
	state, ok := log.Step(flat[len(flat)-1].String())
	return ok && (state.Type == journal.Done || state.Type == journal.Skipped)
}

// Resume ends the newest unfinished operation: forwards where only its papers
// are missing, otherwise, if undo allows it, by taking the service back.
func (t *Target) Resume(ctx context.Context, undo bool) (*step.Operation, error) {
	open, err := t.unfinished(ctx)
	if err != nil {
		return nil, err
	}
	if len(open) == 0 {
		return nil, ErrNothingToResume
	}
	log := open[0]
	held, err := t.leaseToEnd(ctx, log.Header().ID)
	if err != nil {
		return nil, err
	}
	defer t.releaseLease(held)
	ctx, stop := held.Keep(ctx)
	defer stop()
	// It may have ended while we waited for the lease.
	if log, err = journal.Read(ctx, t.Host, log.Path); err != nil {
		return nil, err
	}
	if o := log.Outcome(); o != "" && o != journal.Stuck {
		return nil, ErrNothingToResume
	}
	agenda, err := t.agenda(log.Header().Kind, Options{})
	if err != nil {
		return nil, err
	}
	if !undo && serviceTouched(log, agenda) && !achieved(log, agenda) {
		return nil, fmt.Errorf("%w: %s", ErrUsage, describeUnfinished(log))
	}
	return t.end(ctx, log, agenda)
}

// leaseToEnd takes the lease for ending an operation. The process that was
// started to take it back waits for the one that it follows.
func (t *Target) leaseToEnd(ctx context.Context, id string) (*lease.Lease, error) {
	for end := time.Now().Add(successorPatience); ; {
		held, err := t.takeLease(ctx, id, "resume")
		if !errors.Is(err, lease.ErrHeld) || os.Getenv(handOverVariable) != id || time.Now().After(end) {
			return held, err
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return nil, err
		}
	}
}

// end brings an unfinished operation to its end, in the place of a process
// that is gone. The caller holds the lease.
func (t *Target) end(ctx context.Context, log journal.Log, agenda Agenda) (*step.Operation, error) {
	self, err := t.Host.Process(ctx, os.Getpid())
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, t.Host, log.Path, t.Now)
	if err != nil {
		return nil, err
	}
	op := step.NewOperation(j, t.Observer, t.Now)
	if err := j.Append(ctx, journal.Record{Type: journal.HandOver, Process: &self, Text: "ending it"}); err != nil {
		return op, err
	}
	// First nothing may act any more; then it is looked at what was done.
	if _, err := op.EndOrphans(ctx, t.Host, 20*time.Second); err != nil {
		return op, fmt.Errorf("%w: %w", step.ErrNeedsPerson, err)
	}
	if achieved(log, agenda) {
		return op, t.record(ctx, op, agenda)
	}
	touched := serviceTouched(log, agenda)
	if touched {
		if err := t.endSessions(ctx, op); err != nil {
			return op, fmt.Errorf("%w: %w: once that is mended, `resume -undo` goes on", step.ErrNeedsPerson, err)
		}
	}
	err = t.undo(ctx, op, agenda, touched, failure(log))
	if errors.Is(err, ErrTakenBack) && !errors.Is(err, step.ErrNeedsPerson) {
		err = nil // which is what was asked for
	}
	return op, err
}

// failure is what ended an operation's steps: the one that failed, or an
// interruption.
func failure(log journal.Log) error {
	for _, r := range slices.Backward(log.Records) {
		if r.Type == journal.Failed {
			return fmt.Errorf("%s: %s", r.Step, r.Text)
		}
	}
	return step.ErrInterrupted
}

// endSessions ends what the operation's processes left in the database: a
// session goes on with its statement after its client has gone. It works over
// another database of the server, since a swap that was cut off leaves the live
// one closed; such a one is opened again.
func (t *Target) endSessions(ctx context.Context, op *step.Operation) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, t.Host, u.WithDatabase("postgres"), "etf-deploy")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := postgres.EndSessions(ctx, conn, op.ApplicationName()); err != nil {
		return err
	}
	var restoring restoreNames
	if ok, err := op.Fact(factRestore, &restoring); err != nil || !ok {
		return err
	}
	return postgres.Reopen(ctx, t.Host, u, "etf-deploy")
}
