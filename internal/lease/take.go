package lease

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Request is who wants the lease, and how.
type Request struct {
	Operation string                                // its id; a lease that is parked for it is taken at once
	Name      func(context.Context) (string, error) // instead: names a new operation at the moment at which it gets the lease
	Purpose   string                                // the target
	By        string                                // user@machine
	Run       string                                // URL of the pipeline run

	Expiry  time.Duration    // without a sign of life; 0: DefaultExpiry
	Now     func() time.Time // nil: time.Now
	Wait    time.Duration    // for a lease that is held; 0: not at all
	Waiting func(Holder)     // told once of each holder that is waited for; may be nil
	Warn    func(string)     // told when no sign of life could be written for long; may be nil
}

func (r Request) defaults() Request {
	r.Expiry = cmp.Or(r.Expiry, DefaultExpiry)
	if r.Now == nil {
		r.Now = time.Now
	}
	if r.Waiting == nil {
		r.Waiting = func(Holder) {}
	}
	if r.Warn == nil {
		r.Warn = func(string) {}
	}
	return r
}

// holder is what r writes as this process.
func (r Request) holder(ctx context.Context) (Holder, error) {
	self, namespace, err := identity(ctx)
	if err != nil {
		return Holder{}, fmt.Errorf("taking the lease: %w", err)
	}
	if r.Operation == "" && r.Name != nil {
		if r.Operation, err = r.Name(ctx); err != nil {
			return Holder{}, fmt.Errorf("taking the lease: %w", err)
		}
	}
	now := r.Now().UTC()
	return Holder{
		V: Version, Operation: r.Operation, Purpose: r.Purpose, By: r.By, Run: r.Run,
		Process: self, Namespace: namespace, Since: now, Heartbeat: now, Expires: now.Add(r.Expiry),
	}, nil
}

// Take takes the lease in dir. Each lease is the file of the number after the
// last one's, made exclusively: of many takers, whatever their clocks say, one
// wins. Held by another it gives a *HeldError, after r.Wait. before is the
// holder that it was taken over from, dead or expired: what that one left has
// to be ended first. It is nil when the lease was free, or parked for the same
// operation.
//
// An expired lease whose process still runs on this machine is watched for a
// while first: a machine that was suspended wakes up with its lease expired,
// and everybody on it at once.
func Take(ctx context.Context, h host.Host, dir string, r Request) (l *Lease, before *Holder, err error) {
	r = r.defaults()
	if err := h.Mkdir(ctx, dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("taking the lease: %w", err)
	}
	told := int64(-1)
	begin, pause := time.Now(), shortPause
	for {
		l, before, err := takeOnce(ctx, h, dir, r)
		var held *HeldError
		if !errors.As(err, &held) || r.Wait <= 0 {
			return l, before, err
		}
		waited := time.Since(begin)
		if waited >= r.Wait {
			held.Waited = waited
			return nil, nil, held
		}
		if held.Holder.Token != told {
			told = held.Holder.Token
			r.Waiting(held.Holder)
		}
		select {
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("waiting for the lease: %w; %s", context.Cause(ctx), held.Holder)
		case <-time.After(min(pause, r.Wait-waited)):
		}
		pause = min(2*pause, longPause)
	}
}

// A waiting taker looks often at first, for a lease that passes from one
// process of an operation to the next.
const (
	shortPause = 50 * time.Millisecond
	longPause  = 500 * time.Millisecond
)

// takeOnce takes the lease, or says who holds it.
func takeOnce(ctx context.Context, h host.Host, dir string, r Request) (*Lease, *Holder, error) {
	for {
		if ctx.Err() != nil {
			return nil, nil, fmt.Errorf("taking the lease: %w", context.Cause(ctx))
		}
		last, err := Show(ctx, h, dir)
		if err != nil {
			return nil, nil, err
		}
		if last == nil {
			if err := layGround(ctx, h, dir, r.Now()); err != nil {
				return nil, nil, err
			}
			continue
		}
		state := last.State(ctx, r.Now())
		ours := last.Parked && last.Operation == r.Operation && r.Operation != ""
		if state == Held || state == Parked && !ours {
			return nil, nil, &HeldError{Holder: *last, State: state}
		}
		if state == Expired && !last.Parked && last.beatsAgain(ctx, h, dir) {
			continue
		}
		l, err := create(ctx, h, dir, r, last.Token+1, false)
		if err != nil {
			return nil, nil, err
		}
		if l != nil && state != Free && !ours {
			return l, last, nil
		}
		if l != nil {
			if ours {
				l.parkedUntil = last.Expires
			}
			return l, nil, nil
		}
	}
}

// create makes the file of a new lease, or of one that is released from the
// beginning; nil when another taker was first.
func create(ctx context.Context, h host.Host, dir string, r Request, token int64, released bool) (*Lease, error) {
	l := &Lease{h: h, dir: dir, r: r, writing: make(chan struct{}, 1), renewed: time.Now()}
	var err error
	if l.holder, err = r.holder(ctx); err != nil {
		return nil, err
	}
	l.holder.Token = token
	if released {
		l.holder.Released = &l.holder.Since
	}
	err = h.Create(ctx, path(dir, token), encode(l.holder), 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("taking the lease: %w", err)
	}
	// Once it is made it must be held or removed, also when ctx ends here.
	ctx = context.WithoutCancel(ctx)
	// A slow taker may have made a number that others had already passed.
	if err := l.look(ctx); err != nil {
		if rmErr := h.Remove(ctx, path(dir, token)); rmErr != nil {
			return nil, fmt.Errorf("taking the lease: %w", rmErr)
		}
		if !errors.Is(err, ErrLost) {
			return nil, err
		}
		return nil, nil
	}
	l.removeOlder(ctx)
	return l, nil
}
