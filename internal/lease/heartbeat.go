package lease

import (
	"context"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A beating is the heartbeat at work.
type beating struct {
	end  context.CancelCauseFunc // of the context that Keep returned
	stop chan struct{}           // closed when it is asked to end
	once sync.Once
	done chan struct{} // closed when nothing is written any more
}

// Keep gives a sign of life every sixth of the expiry until stop is called,
// also after ctx has ended: what is taken back then needs the lease too. The
// returned context ends with ErrLost as its cause when the lease was taken
// over. Warn is told when no sign could be written for two thirds of the
// expiry: from then on somebody may soon take it, and until somebody has, the
// holder goes on, since each of its changes looks first. One Keep at a time.
// stop waits for a write under way and leaves the context as it is; Park and
// Release stop by themselves.
func (l *Lease) Keep(ctx context.Context) (kept context.Context, stop func()) {
	kept, end := context.WithCancelCause(ctx)
	// Nor are its commands, where the host needs any, the operation's.
	beats := host.WithOperation(context.WithoutCancel(ctx), host.Operation{})
	b := &beating{end: end, stop: make(chan struct{}), done: make(chan struct{})}
	l.mu.Lock()
	late := time.Since(l.renewed) >= l.interval()
	l.mu.Unlock()
	if late {
		_ = l.beat(beats) // the first one in the loop says what is wrong
	}
	l.mu.Lock()
	l.beating = b
	if l.gone != nil {
		end(l.gone)
	}
	l.mu.Unlock()
	go func() {
		defer close(b.done)
		l.keep(beats, b.stop)
	}()
	return kept, func() { _ = l.stopBeating(context.Background()) }
}

func (l *Lease) interval() time.Duration { return l.r.Expiry / 6 }

// keep beats, and warns once when that has not succeeded for long: a write may
// hang.
// One under way is waited for, not cut off: it might still come to pass, after
// whatever is written next.
func (l *Lease) keep(ctx context.Context, stop <-chan struct{}) {
	var under chan error // the beat under way
	defer func() {
		if under != nil {
			<-under
		}
	}()
	patience, warned := l.r.Expiry*2/3, false
	next := time.Now().Add(l.interval())
	var last error
	for l.known() == nil {
		silence := l.silence()
		if silence < patience {
			warned = false
		} else if !warned {
			warned = true
			l.r.Warn(l.silent(silence, last))
		}
		wake := l.interval()
		if !warned {
			wake = min(wake, patience-silence)
		}
		if under == nil {
			wake = min(wake, time.Until(next))
		}
		timer := time.NewTimer(max(wake, 0))
		select {
		case <-stop:
			timer.Stop()
			return
		case last = <-under:
			under = nil
		case <-timer.C:
			if under == nil && !time.Now().Before(next) {
				next = time.Now().Add(l.interval())
				under = make(chan error, 1)
				go func(result chan<- error) { result <- l.beat(ctx) }(under)
			}
		}
		timer.Stop()
	}
}

func (l *Lease) silence() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Since(l.renewed)
}

func (l *Lease) silent(silence time.Duration, err error) string {
	text := "no sign of life could be written to the lease for " + silence.Round(time.Second/10).String() +
		"; after " + l.r.Expiry.String() + " anybody may take it"
	if err != nil {
		text += ": " + host.Redact(err.Error())
	}
	return text
}

// beat writes a sign of life, unless the lease is found to be another's.
func (l *Lease) beat(ctx context.Context) error {
	// One that hangs leaves time for another try.
	ctx, cancel := context.WithTimeout(ctx, l.r.Expiry/3)
	defer cancel()
	if err := l.Check(ctx); err != nil {
		return err
	}
	return l.rewrite(ctx, func(h *Holder) {
		h.Heartbeat = l.r.Now().UTC()
		h.Expires = h.Heartbeat.Add(l.r.Expiry)
	})
}

// stopBeating returns when no sign of life will be written any more.
func (l *Lease) stopBeating(ctx context.Context) error {
	l.mu.Lock()
	b := l.beating
	l.mu.Unlock()
	if b == nil {
		return nil
	}
	b.once.Do(func() { close(b.stop) })
	select {
	case <-b.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.beating == b {
		l.beating = nil
	}
	return nil
}
