// Package lease lets one operation at a time change a target. It lies on the
// target, not on the machine that the suite runs on, so that a laptop and a
// pipeline see the same one. A holder keeps it by a heartbeat, parks it between
// two stages, and loses it when it is not heard of; a Guard keeps one who has
// lost it from changing anything more.
//
// Whether a lease has expired is judged by the clock of whoever looks: the
// clocks of the machines have to agree to well within the expiry.
package lease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Version of the lease files that this package writes.
const Version = 1

// DefaultExpiry is that of a Request without one.
const DefaultExpiry = time.Minute

// ErrHeld is in the error of who finds that another holds the lease.
var ErrHeld = errors.New("the lease is held")

// ErrLost is in the error of a holder whose lease is its own no more; it is
// ErrHeld too.
var ErrLost error = lost{}

type lost struct{}

func (lost) Error() string { return "the lease is lost" }
func (lost) Unwrap() error { return ErrHeld }

// A HeldError says who holds the lease. It is ErrHeld.
type HeldError struct {
	Holder Holder
	State  State         // Held or Parked
	Waited time.Duration // in vain
}

func (e *HeldError) Error() string {
	text := fmt.Sprintf("%v: %s", ErrHeld, e.Holder)
	if e.State == Held && !e.Holder.Expires.IsZero() {
		text += ", free from " + stamp(e.Holder.Expires) + " on if no sign of life follows"
	}
	if e.State == Parked {
		text += " for the next stage of that operation; lease:release frees it"
	}
	if e.Waited > 0 {
		text += "; waited " + e.Waited.Round(time.Second/10).String() + " for it"
	}
	return text
}

// Is makes it ErrHeld.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// A Lease is held until it is parked or released, its process is gone, or it
// was not heard of for its expiry.
type Lease struct {
	h   host.Host
	dir string
	r   Request

	writing chan struct{} // who has put something in may write the file

	mu      sync.Mutex
	holder  Holder
	renewed time.Time // before the present Expires was reckoned; monotonic
	checked time.Time // before the last check that found it ours; monotonic
	gone    error     // why it is ours no more: lost, or given away
	beating *beating  // the heartbeat at work; nil without

	parkedUntil time.Time // of the parked lease that this one was taken from; zero: none
}

// WasParked reports whether this lease was taken from one that was parked for
// its operation, and until when that was.
func (l *Lease) WasParked() (until time.Time, ok bool) {
	return l.parkedUntil, !l.parkedUntil.IsZero()
}

// Token is the number of this lease.
func (l *Lease) Token() int64 { return l.Holder().Token }

// Holder is what was last written into the file.
func (l *Lease) Holder() Holder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.holder
}

// Check fails with ErrLost when a later lease exists or this one's file is
// gone, and when it was parked or released. An error that is not ErrLost says
// that it could not be looked.
func (l *Lease) Check(ctx context.Context) error {
	begin := time.Now()
	if err := l.known(); err != nil {
		return err
	}
	if err := l.look(ctx); err != nil {
		return err
	}
	l.mu.Lock()
	l.checked = begin
	l.mu.Unlock()
	return nil
}

// known is what is known without looking.
func (l *Lease) known() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.gone
}

// lose notes that the lease is lost, and ends the context of Keep. The caller
// has locked.
func (l *Lease) lose(err error) {
	if l.gone == nil {
		l.gone = err
	}
	if l.beating != nil {
		l.beating.end(err)
	}
}

// look fails when the newest file is not ours, whatever else is known.
func (l *Lease) look(ctx context.Context) error {
	all, err := tokens(ctx, l.h, l.dir)
	if err != nil {
		return err
	}
	ours := l.Token()
	if len(all) > 0 && all[len(all)-1] == ours {
		return nil
	}
	err = fmt.Errorf("%w: %s is gone", ErrLost, path(l.dir, ours))
	if len(all) > 0 && all[len(all)-1] > ours {
		err = fmt.Errorf("%w: %s", ErrLost, successor(ctx, l.h, l.dir))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose(err)
	return err
}

// successor says who has a later lease.
func successor(ctx context.Context, h host.Host, dir string) string {
	next, err := Show(ctx, h, dir)
	switch {
	case err != nil:
		return "a later one was made: " + err.Error()
	case next == nil:
		return "a later one was made and is gone"
	case next.Released == nil && !next.Parked:
		return "it was taken over: " + next.String()
	}
	return "it was passed on: " + next.String()
}

// Park keeps the lease for the next stage of its operation until then: nobody
// else may take it, and no process has to live.
func (l *Lease) Park(ctx context.Context, until time.Time) error {
	if err := l.known(); err != nil {
		return fmt.Errorf("parking the lease: %w", err)
	}
	return l.give(ctx, "parking", fmt.Errorf("%w: it was parked", ErrLost), func(h *Holder) {
		h.Process, h.Namespace, h.Parked, h.Expires = host.Process{}, "", true, until.UTC()
	})
}

// Release frees the lease, unless somebody has taken it over. It is written,
// not removed: the number must not be used again.
func (l *Lease) Release(ctx context.Context) error {
	return l.give(ctx, "releasing", fmt.Errorf("%w: it was released", ErrLost), func(h *Holder) {
		if h.Released == nil {
			now := l.r.Now().UTC()
			h.Released = &now
		}
	})
}

// give writes that this process holds the lease no more. No heartbeat follows,
// and no change through a Guard, also when that cannot be written: then it
// expires.
func (l *Lease) give(ctx context.Context, what string, gone error, change func(*Holder)) error {
	l.mu.Lock()
	if l.gone == nil {
		l.gone = gone
	}
	l.mu.Unlock()
	if err := l.stopBeating(ctx); err != nil {
		return fmt.Errorf("%s the lease: %w", what, err)
	}
	if err := l.look(ctx); err != nil {
		return fmt.Errorf("%s the lease: %w", what, err)
	}
	if err := l.rewrite(ctx, change); err != nil {
		return fmt.Errorf("%s the lease: %w", what, err)
	}
	return nil
}
