package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A heldLease is the right to change the target, with the target as its holder
// sees it: every change looks first whether the lease is still held.
type heldLease struct {
	*lease.Lease
	t    *Target
	ctx  context.Context // ends when the lease is lost
	stop func()
	done bool
}

// takeLease takes the lease on the target for an operation and keeps it. What
// a holder from whom it was taken over had left is ended by whoever goes on
// with that holder's operation; the holder itself is ended here, where it can
// be reached.
func (t *Target) takeLease(ctx context.Context, r lease.Request) (*heldLease, error) {
	r.By, r.Run, r.Expiry, r.Now = Whoami(), runURL(), t.Config.Operation.Expiry, t.Now
	r.Waiting = func(h lease.Holder) {
		t.Observer.Log("lease", fmt.Sprintf("waiting up to %s: %s", report.Duration(r.Wait), h))
	}
	r.Warn = func(text string) { t.Observer.Log("lease", text) }
	l, before, err := lease.Take(ctx, t.Host, t.opsDir(), r)
	if err != nil {
		return nil, err
	}
	guarded := *t
	guarded.Host = l.Guard(t.Host)
	guarded.Releases = release.NewStore(guarded.Host, t.Config.Root)
	held := &heldLease{Lease: l, t: &guarded}
	held.ctx, held.stop = l.Keep(ctx)
	if before == nil {
		return held, nil
	}
	t.Observer.Log("lease", "taken over: "+before.String())
	if err := before.End(ctx); err != nil {
		held.release()
		return nil, fmt.Errorf("taking the lease over: %w", err)
	}
	return held, nil
}

// release frees the lease. That it was taken over meanwhile is no fault; that
// it could not be written is told, the next taker will see a dead process.
func (held *heldLease) release() {
	held.leave(func(ctx context.Context) error { return held.Release(ctx) })
}

// park leaves the lease to the next process of the same operation.
func (held *heldLease) park(until time.Time) {
	held.leave(func(ctx context.Context) error { return held.Park(ctx, until) })
}

// asItWas parks a lease again that was parked for this operation, and releases
// any other: nothing was done with it.
func (held *heldLease) asItWas() {
	if until, parked := held.WasParked(); parked {
		held.park(until)
		return
	}
	held.release()
}

func (held *heldLease) leave(how func(context.Context) error) {
	if held.done {
		return
	}
	held.done = true
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held.ctx), 10*time.Second)
	defer cancel()
	if err := how(ctx); err != nil && !errors.Is(err, lease.ErrHeld) {
		held.t.Observer.Log("lease", err.Error())
	}
	held.stop()
}

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

// newID names operations of a kind so that each sorts behind all that there
// are, whatever the clock says: the newest is the one that counts.
func (t *Target) newID(kind string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		newest, err := journal.NewestTime(ctx, t.Host, t.journalDir())
		if err != nil {
			return "", err
		}
		now := t.Now()
		if !now.Truncate(time.Second).After(newest) {
			now = newest.Add(time.Second)
		}
		return journal.NewID(kind, now), nil
	}
}

// mine reports whether a lease belongs to whom this process works for: the
// same run of a pipeline or, outside of one, the same person on the same
// machine.
func mine(h lease.Holder) bool {
	if h.Run != "" || runURL() != "" {
		return h.Run == runURL()
	}
	return h.By == Whoami()
}

// Where an operation stands that has not ended.
const (
	running     = "running"
	parked      = "parked" // between two stages
	interrupted = "interrupted"
)

// outcome is how an operation ended or, by the lease, where it stands.
func (t *Target) outcome(ctx context.Context, log journal.Log) string {
	if o := log.Outcome(); o != "" {
		return o
	}
	holder, err := lease.Show(ctx, t.Host, t.opsDir())
	if err != nil || holder == nil || holder.Operation != log.Header().ID {
		return interrupted
	}
	switch holder.State(ctx, t.Now()) {
	case lease.Held:
		return running
	case lease.Parked:
		return parked
	}
	return interrupted
}

// LeaseStatus is the lease as lease:show prints it.
type LeaseStatus struct {
	State  lease.State   `json:"state"`
	Holder *lease.Holder `json:"holder,omitempty"` // also the last one of a free lease
}

// Lease looks at the lease.
func (t *Target) Lease(ctx context.Context) (LeaseStatus, error) {
	holder, err := lease.Show(ctx, t.Host, t.opsDir())
	if err != nil || holder == nil {
		return LeaseStatus{State: lease.Free}, err
	}
	return LeaseStatus{State: holder.State(ctx, t.Now()), Holder: holder}, nil
}

// WriteLease prints the lease.
func (t *Target) WriteLease(ctx context.Context, w io.Writer, asJSON bool) error {
	status, err := t.Lease(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return writeJSON(w, "lease", status)
	}
	text := string(status.State)
	if status.Holder != nil && status.Holder.Operation != "" {
		text += ": " + status.Holder.String()
	}
	_, err = fmt.Fprintln(w, text)
	return err
}

// ReleaseLease frees a lease that nobody keeps alive. What its operation has
// begun stays as it is: the next operation finds it in the journal.
func (t *Target) ReleaseLease(ctx context.Context, w io.Writer) error {
	broken, err := lease.Break(ctx, t.Host, t.opsDir(), lease.Request{Purpose: "lease:release", By: Whoami(), Run: runURL(), Now: t.Now})
	if err != nil {
		return err
	}
	if broken == nil {
		_, err = fmt.Fprintln(w, "the lease is free already")
		return err
	}
	open, err := t.unfinished(ctx)
	text := "the lease is free"
	if len(open) > 0 {
		if agenda, err := t.agendaOf(open[0]); err == nil {
			text += "; " + describeUnfinished(open[0], agenda)
		}
	}
	_, writeErr := fmt.Fprintln(w, text)
	return errors.Join(err, writeErr)
}
