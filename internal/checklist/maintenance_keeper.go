package checklist

import (
	"context"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A keeper prolongs the silence.
type keeper struct {
	stop, again chan struct{} // closed: leave the silence; let it end soon
	done        chan struct{}
	cut         context.CancelFunc // ends also a call under way
}

// keep prolongs the silence from now on, once the keeper before has ended.
func (m *maintenance) keep(ctx context.Context, before *keeper) *keeper {
	k := &keeper{stop: make(chan struct{}), again: make(chan struct{}), done: make(chan struct{})}
	ctx, k.cut = context.WithCancel(host.WithOperation(context.WithoutCancel(ctx), host.Operation{}))
	go func() {
		defer close(k.done)
		before.end(ctx)
		k.prolong(ctx, m)
	}()
	return k
}

func (k *keeper) prolong(ctx context.Context, m *maintenance) {
	for goOn := true; goOn; {
		m.set(ctx, m.lasts)
		select {
		case <-k.stop:
			goOn = false
		case <-k.again:
			goOn = false
		case <-time.After(m.every):
		}
	}
	select {
	case <-k.again:
		// Prometheus has yet to see that the service runs: two collections and
		// judgements later the silence is gone.
		c := m.t.Config.Monitoring
		m.set(ctx, 2*(c.Interval+c.Evaluation))
	default:
	}
}

// callPatience is what a call under way gets when the silence is handed on: cut
// off, it may have made a silence that nobody knows of.
const callPatience = time.Second

// end waits for what a keeper is about, not longer than ctx lasts.
func (k *keeper) end(ctx context.Context) {
	if k == nil {
		return
	}
	close(k.stop)
	select {
	case <-k.done:
	case <-ctx.Done():
	case <-time.After(callPatience):
	}
	k.cut()
	<-k.done
}
