package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// A teller delivers the suite's own metrics while an operation runs: at once,
// so that whatever becomes of this process leaves the truth behind; then its
// sign of life; at the end how it ended. That they could not be delivered is
// said and stops nothing.
type teller struct {
	t      *Target
	stop   context.CancelFunc
	done   chan struct{}
	missed bool // nothing was delivered the last time, which was said
}

// tellEvery is how often an operation is heard of.
var tellEvery = 30 * time.Second

// tells reports whether there is anywhere to deliver metrics to.
func (t *Target) tells() bool {
	return t.Config.Monitoring.Textfile != "" || t.Config.Monitoring.Pushgateway != ""
}

// tell begins to tell of an operation. A second one under the same lease, such
// as one that stands aside, is told of in its turn.
func (held *heldLease) tell(operation string) {
	if !held.t.tells() {
		return
	}
	held.hush()
	ctx, stop := context.WithCancel(context.WithoutCancel(held.ctx))
	tl := &teller{t: held.t, stop: stop, done: make(chan struct{})}
	held.teller = tl
	told := tl.once(ctx, operation)
	go func() {
		defer close(tl.done)
		for sleep(ctx, tellEvery) == nil {
			told.Set(metricHeard, unix(held.t.Now()))
			tl.deliver(ctx, told)
		}
	}()
}

// hush ends the signs of life.
func (held *heldLease) hush() {
	if held.teller != nil {
		held.teller.stop()
		<-held.teller.done
	}
}

// tellEnd tells how what was told of has ended. Where this process is asked to
// end it has no time to wait for a server.
func (held *heldLease) tellEnd() {
	held.hush()
	if held.teller == nil || lost(held.ctx) {
		return
	}
	limit := held.t.Config.Timeouts.Connect
	if held.ctx.Err() != nil {
		limit = min(limit, time.Second)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held.ctx), limit)
	defer cancel()
	held.teller.once(ctx, "")
	held.teller = nil
}

// once looks and delivers.
func (tl *teller) once(ctx context.Context, running string) *monitoring.Told {
	ctx, cancel := context.WithTimeout(ctx, tl.t.Config.Timeouts.Connect)
	defer cancel()
	told, err := tl.t.ownMetrics(ctx, running)
	if err != nil {
		tl.warn("not all of the suite's own metrics could be found out", err)
	}
	tl.deliver(ctx, told)
	return told
}

func (tl *teller) deliver(ctx context.Context, told *monitoring.Told) {
	limited, cancel := context.WithTimeout(host.WithOperation(ctx, host.Operation{}), tl.t.Config.Timeouts.Connect)
	defer cancel()
	// A folder on another machine's disk may hang whatever the context says.
	result := make(chan error, 1)
	go func() { result <- tl.t.deliver(limited, told) }()
	var err error
	select {
	case err = <-result:
	case <-limited.Done():
		err = context.Cause(limited)
	}
	switch {
	case err == nil:
		tl.missed = false
	case !tl.missed && !errors.Is(ctx.Err(), context.Canceled): // nobody has cut it short
		tl.missed = true
		tl.warn("the suite's own metrics could not be delivered", err)
	}
}

func (tl *teller) warn(what string, err error) {
	tl.t.Observer.Log("warning", what+": "+host.Redact(err.Error()))
}

// deliver puts metrics where the configuration says.
func (t *Target) deliver(ctx context.Context, told *monitoring.Told) error {
	m := t.Config.Monitoring
	if m.Pushgateway != "" {
		return told.Push(ctx, &http.Client{Transport: t.transport()}, m.Pushgateway, t.Config.Environment)
	}
	text, err := told.Text(t.Config.Environment)
	if err != nil {
		return err
	}
	// The exporter, another user, has to read it.
	err = t.Host.WriteFile(ctx, path.Join(m.Textfile, monitoring.TextfileName(t.Config.Environment)), text, 0o644)
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", m.Textfile, at.Err) // without the name of a temporary file
	}
	return err
}
