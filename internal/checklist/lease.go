package checklist

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// A heldLease is the right to change the target, with the target as its holder
// sees it: every change looks first whether the lease is still held.
type heldLease struct {
	*lease.Lease
	t    *Target
	ctx  context.Context // ends when the lease is lost
	stop func()
	done bool

	teller *teller // nil: there is nobody to tell
}

// takeLease takes the lease on the target for an operation and keeps it. What
// a holder from whom it was taken over had left is ended by whoever goes on
// with that holder's operation; the holder itself is ended here, where it can
// be reached.
func (t *Target) takeLease(ctx context.Context, r lease.Request) (*heldLease, error) {
	if r.Wait < 0 {
		return nil, fmt.Errorf("%w: -wait=%s: say how long to wait for the lease, such as 10m", ErrUsage, r.Wait)
	}
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
	guarded.maintenance = newMaintenance(&guarded)
	held := &heldLease{Lease: l, t: &guarded}
	held.ctx, held.stop = l.Keep(ctx)
	held.teller = newTeller(&guarded, func() bool { return lost(held.ctx) })
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
	if !held.done && !lost(held.ctx) {
		held.briefly(farewell, held.t.maintenance.end, held.teller.end)
	}
	held.leave(func(ctx context.Context) error { return held.Release(ctx) })
}

// park leaves the lease to the next process of the same operation.
func (held *heldLease) park(until time.Time) {
	held.leave(func(ctx context.Context) error { return held.Park(ctx, until) })
}

// asItWas parks a lease again that was parked for this operation, and releases
// any other: nothing was done with it.
func (held *heldLease) asItWas() {
	if until, parked := held.WasParked(); parked && !held.done {
		held.briefly(farewell, held.t.maintenance.rest, held.teller.end)
		held.park(until)
		return
	}
	held.release()
}

// farewell is what the servers of others, Alertmanager and whoever is told,
// add at most to the end of an operation or stage, also where somebody waits to
// take the service back.
const farewell = 1300 * time.Millisecond

// briefly does side by side what may have to wait for such servers. A process
// that was asked to end has even less time.
func (held *heldLease) briefly(limit time.Duration, what ...func(context.Context)) {
	if held.ctx.Err() != nil {
		limit = min(limit, time.Second)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held.ctx), limit)
	defer cancel()
	var wg sync.WaitGroup
	for _, do := range what {
		wg.Go(func() { do(ctx) })
	}
	wg.Wait()
}

func (held *heldLease) leave(how func(context.Context) error) {
	if held.done {
		return
	}
	held.done = true
	held.briefly(farewell, func(ctx context.Context) { held.t.maintenance.hand(ctx) }, held.teller.hush)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held.ctx), 10*time.Second)
	defer cancel()
	if err := how(ctx); err != nil && !errors.Is(err, lease.ErrHeld) {
		held.t.Observer.Log("lease", err.Error())
	}
	held.stop()
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
	l, err := t.Lease(ctx)
	if err != nil || l.Holder == nil || l.Holder.Operation != log.Header().ID {
		return interrupted
	}
	switch l.State {
	case lease.Held:
		return running
	case lease.Parked:
		return parked
	}
	return interrupted
}
