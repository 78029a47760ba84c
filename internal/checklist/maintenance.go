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
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
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
	keeper *keeper // nil: nothing is prolonged
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

// prolong keeps a silence in force: the one of this id, where the operation has
// noted one. Another operation under the same lease goes on with the silence
// that there is.
func (m *maintenance) prolong(ctx context.Context, op *step.Operation, id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before := m.keeper
	if same := m.op != nil && m.op.ID() == op.ID(); !same {
		m.noted = id
	} else if before != nil && !m.again {
		return
	}
	if id != "" {
		m.id = id
	}
	m.op, m.again = op, false
	m.keeper = m.keep(ctx, before)
}

// hand leaves the silence to whoever goes on with the operation, or to its end.
// It reports whether it was being prolonged.
func (m *maintenance) hand(ctx context.Context) bool {
	if m == nil {
		return false
	}
	m.mu.Lock()
	k, again := m.keeper, m.again
	m.keeper = nil
	m.mu.Unlock()
	k.end(ctx)
	return k != nil && !again
}

// rest keeps the silence between two stages, when no process lives that could
// prolong it: as long as a cut-over is expected to take.
func (m *maintenance) rest(ctx context.Context) {
	if m.hand(ctx) {
		m.set(ctx, m.t.Config.Window.CutOver)
	}
}

// over lets the silence end soon: the service runs again. Nobody waits for
// Alertmanager.
func (m *maintenance) over(ctx context.Context) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.keeper == nil || m.again {
		return
	}
	m.again = true
	close(m.keeper.again)
	m.note(ctx, "")
}

// end removes the silence with the end of the operation. One of a service that
// runs again is left to its own end where it still holds back an alert: that
// one has not been judged since.
func (m *maintenance) end(ctx context.Context) {
	if m == nil {
		return
	}
	m.hand(ctx)
	if m.id == "" {
		return
	}
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
	m.mu.Lock()
	id, op := m.id, m.op
	m.mu.Unlock()
	id, err := m.am.Prolong(limited, id, lasts, m.t.Now, monitoring.Silence{
		Matchers: monitoring.MaintenanceMatchers(m.t.Config.Environment), CreatedBy: Whoami(), Comment: "cut-over of " + op.ID(),
	})
	if err != nil {
		if !errors.Is(ctx.Err(), context.Canceled) { // else it was cut short
			m.warn(err)
		}
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.id, m.warned = id, ""
	if !m.again {
		m.note(ctx, id)
	}
}

// note writes into the journal which silence there is, unless it says so. An
// operation that has ended needs no note.
func (m *maintenance) note(ctx context.Context, id string) {
	if id == m.noted {
		return
	}
	err := m.op.Note(ctx, factSilence, id)
	switch {
	case err == nil:
		m.noted = id
	case !errors.Is(err, journal.ErrEnded):
		m.t.Observer.Log("warning", "the silence of the cut-over could not be noted: "+host.Redact(err.Error()))
	}
}

// warn says what is wrong, once while it stays so.
func (m *maintenance) warn(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	text := fmt.Sprintf("alerts of the cut-over are not silenced, or no longer than %s: %s", m.lasts, host.Redact(err.Error()))
	if text != m.warned {
		m.warned = text
		m.t.Observer.Log("warning", text)
	}
}
