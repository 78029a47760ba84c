package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// factSilence is the silence of an operation that has the service stopped:
// string, its id; empty once the service runs again.
const factSilence = "silence"

// A silence lasts so long, and is prolonged so often while the process lives:
// one that was killed leaves it to end by itself, and by then
// DeploymentInterrupted has to fire, which keeps back what the silence did.
var (
	silenceLasts = 4 * time.Minute
	silenceEvery = 30 * time.Second
)

// maintenance keeps Alertmanager from calling people about what a cut-over
// causes, from the stop of the workers until the service runs again. That
// Alertmanager does not answer is said and stops nothing. Its methods do
// nothing on nil.
type maintenance struct {
	t  *Target
	am monitoring.AlertClient

	lasts, every time.Duration

	mu     sync.Mutex
	op     *step.Operation
	id     string // of the silence; empty: there is none
	noted  string // in the journal
	again  bool   // the service runs again: the silence is about to end
	warned string
	stop   chan struct{} // of what prolongs it; nil: nothing does
	done   chan struct{}
	cut    context.CancelFunc // ends also a call under way
}

func newMaintenance(t *Target) *maintenance {
	am, ok := t.alertmanager()
	if !ok {
		return nil
	}
	return &maintenance{t: t, am: am, lasts: silenceLasts, every: silenceEvery}
}

// alertmanager is the configured one, if any.
func (t *Target) alertmanager() (monitoring.AlertClient, bool) {
	address := t.Config.Monitoring.Alertmanager
	return monitoring.AlertClient{URL: address, Client: &http.Client{Transport: t.transport()}}, address != ""
}

// begin sets a silence for the operation of a step that stops the service, and
// prolongs it until it is over. Nobody waits for Alertmanager.
func (m *maintenance) begin(ctx context.Context, r *step.Run) {
	if m != nil {
		m.prolong(ctx, r.Operation, "")
	}
}

// takeOver goes on with the silence that an operation has noted, if any.
func (m *maintenance) takeOver(ctx context.Context, op *step.Operation) error {
	if m == nil {
		return nil
	}
	var id string
	if ok, err := op.Fact(factSilence, &id); err != nil || !ok || id == "" {
		return err
	}
	m.prolong(ctx, op, id)
	return nil
}

// prolong keeps a silence in force: the one of this id, if there is one yet.
func (m *maintenance) prolong(ctx context.Context, op *step.Operation, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stop != nil {
		return
	}
	if id != "" || m.op != nil && m.op.ID() != op.ID() {
		m.id, m.noted = id, id
	}
	m.op, m.again = op, false
	m.stop, m.done = make(chan struct{}), make(chan struct{})
	ctx, m.cut = context.WithCancel(host.WithOperation(context.WithoutCancel(ctx), host.Operation{}))
	go m.keep(ctx, m.stop, m.done)
}

func (m *maintenance) keep(ctx context.Context, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for {
		m.set(ctx, m.lasts)
		select {
		case <-stop:
			return
		case <-time.After(m.every):
		}
	}
}

// callPatience is what a call under way gets when the silence is handed on: cut
// off, it may have made a silence that nobody knows of.
const callPatience = time.Second

// hand leaves the silence to whoever goes on with the operation, or to its end.
// It reports whether it was being prolonged.
func (m *maintenance) hand() bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	stop := m.stop
	m.stop = nil
	m.mu.Unlock()
	if stop == nil {
		return false
	}
	close(stop)
	defer time.AfterFunc(callPatience, m.cut).Stop()
	<-m.done
	m.cut()
	return true
}

// rest keeps the silence between two stages, when no process lives that could
// prolong it: as long as a cut-over is expected to take.
func (m *maintenance) rest(ctx context.Context) {
	if m.hand() {
		m.set(context.WithoutCancel(ctx), m.t.Config.Window.CutOver)
	}
}

// over ends the maintenance when the service runs again. Prometheus has yet to
// see that: two collections and judgements later the silence is gone.
func (m *maintenance) over(ctx context.Context) {
	if !m.hand() || m.id == "" {
		return
	}
	m.again, m.noted = true, ""
	if err := m.op.Note(ctx, factSilence, ""); err != nil {
		m.warn(err)
		return
	}
	c := m.t.Config.Monitoring
	m.set(ctx, 2*(c.Interval+c.Evaluation))
}

// end removes the silence with the end of the operation. One of a service that
// runs again is left to its own end where it still holds back an alert: that
// one has not been judged since.
func (m *maintenance) end(ctx context.Context) {
	if m == nil {
		return
	}
	m.hand()
	if m.id == "" || lost(ctx) {
		return
	}
	limit := m.t.Config.Timeouts.Connect
	if ctx.Err() != nil {
		limit = min(limit, time.Second) // no time to wait for a server
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	if m.again {
		held, err := m.am.Alerts(ctx)
		if err != nil {
			m.warn(err)
			return
		}
		if slices.ContainsFunc(held, func(a monitoring.HeldAlert) bool { return slices.Contains(a.Status.SilencedBy, m.id) }) {
			return
		}
	}
	if err := m.am.Expire(ctx, m.id); err != nil && !errors.Is(err, monitoring.ErrNoSilence) {
		m.warn(err)
		return
	}
	m.id = ""
}

// set lets the silence last so long from now on.
func (m *maintenance) set(ctx context.Context, lasts time.Duration) {
	limited, cancel := context.WithTimeout(ctx, m.t.Config.Timeouts.Connect)
	defer cancel()
	switch err := m.trySet(limited, lasts); {
	case err == nil:
		m.warned = ""
	case ctx.Err() == nil: // it was not cut short
		m.warn(err)
	}
}

func (m *maintenance) trySet(ctx context.Context, lasts time.Duration) error {
	now := m.t.Now().UTC()
	s := monitoring.Silence{
		Matchers: monitoring.MaintenanceMatchers(m.t.Config.Environment), StartsAt: now, EndsAt: now.Add(lasts),
		CreatedBy: Whoami(), Comment: "cut-over of " + m.op.ID(),
	}
	id, err := m.am.Prolong(ctx, m.id, s)
	if err != nil {
		return err
	}
	m.id = id
	// A note behind the end would open the operation again.
	if m.again || id == m.noted || m.op.Journal().Log().Outcome() != "" {
		return nil
	}
	m.noted = id
	return m.op.Note(ctx, factSilence, id)
}

// warn says what is wrong, once while it stays so.
func (m *maintenance) warn(err error) {
	text := fmt.Sprintf("alerts of the cut-over are not silenced, or no longer than %s: %s", m.lasts, host.Redact(err.Error()))
	if text != m.warned {
		m.warned = text
		m.t.Observer.Log("warning", text)
	}
}
