package checklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// takeUp goes on with the operation of a journal in this process: the journal
// says so, and nothing of an earlier process acts any more when it is looked
// at what that has done. The fence is moved first, so that none of its
// transactions begins; then its children end, then its sessions.
func (held *heldLease) takeUp(ctx context.Context, log journal.Log, purpose string) (*step.Operation, error) {
	t := held.t
	j, err := journal.Open(ctx, t.Host, log.Path, t.Now)
	if err != nil {
		return nil, err
	}
	op := step.NewOperation(j, t.Observer, t.Now)
	holder := held.Holder()
	if err := j.Append(ctx, journal.Record{
		Type: journal.HandOver, Process: &holder.Process, Token: holder.Token, By: holder.By, Text: purpose,
	}); err != nil {
		return op, err
	}
	held.teller.begin(ctx, j)
	if err := t.maintenance.takeOver(ctx, op); err != nil {
		return op, err
	}
	if _, fenced := j.Log().Step(fenceStep{}.String()); fenced {
		if err := t.moveFence(ctx, op); err != nil {
			return op, fmt.Errorf("%w: %w: once that is mended, `resume` goes on", step.ErrNeedsPerson, err)
		}
	}
	if _, err := op.EndOrphans(ctx, t.Host, 20*time.Second); err != nil {
		return op, fmt.Errorf("%w: %w", step.ErrNeedsPerson, err)
	}
	if _, fenced := j.Log().Step(fenceStep{}.String()); fenced {
		if err := t.endSessions(ctx, op); err != nil {
			return op, fmt.Errorf("%w: %w: once that is mended, `resume` goes on", step.ErrNeedsPerson, err)
		}
	}
	return op, nil
}

// serverPatience is how long whoever goes on with an operation waits for the
// database to answer.
const serverPatience = 30 * time.Second

// moveFence takes the fence with the present lease's token. Transactions that
// hold it, and a database that an interrupted swap has closed, stand in the
// way until their sessions are ended.
func (t *Target) moveFence(ctx context.Context, op *step.Operation) error {
	err := t.takeFence(ctx, op)
	// A server that was restarted answers again soon.
	for end := time.Now().Add(serverPatience); errors.Is(err, postgres.ErrUnreachable) && time.Now().Before(end); {
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
		err = t.takeFence(ctx, op)
	}
	if !errors.Is(err, postgres.ErrFenceBusy) && !errors.Is(err, postgres.ErrNotAccepting) {
		return err
	}
	if err := t.endSessions(ctx, op); err != nil {
		return err
	}
	return t.takeFence(ctx, op)
}

func (t *Target) takeFence(ctx context.Context, op *step.Operation) error {
	// Another name than the operation's: those sessions are about to be ended.
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := postgres.EnsureOps(ctx, conn); err != nil {
		return err
	}
	return postgres.TakeFence(ctx, conn, op.Token(), op.ID())
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
