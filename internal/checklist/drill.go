package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// drillPatience is how much later than it should a contact may be called in a
// drill.
var drillPatience = 20 * time.Second

// A drill sends an alert that nothing is behind, and looks whom it reaches.
// It goes straight to Alertmanager: Prometheus would need a rule for it. That
// Prometheus sends to this Alertmanager is for verify:alerts to see.
type drill struct {
	t        *Target
	am       monitoring.AlertClient
	ahead    time.Duration // Alertmanager's clock of this machine's
	id       string
	sent     time.Time
	posted   time.Time // last
	silence  bool      // once the first contact is called: nobody else shall be
	silenced string
	contacts []*drilled
	routed   bool                // it is known whom Alertmanager sends it to
	receiver *monitoring.Webhook // nil: no contact is ours
	toldOver time.Duration       // until a contact hears that the alert has ended
	awaited  bool                // whoever is ours was given that time
	counts   counts              // of Alertmanager's, where a contact is not
}

// Drill sends a test alert and looks whether each contact is called when it
// should be. With what it saw the error is step.ErrFault when somebody was not
// called, or was and should not have been; without, it could not look. What was
// seen until it was broken off is reported too.
func (t *Target) Drill(ctx context.Context, silence bool) (*DrillReport, error) {
	d, err := t.newDrill(silence)
	if err != nil {
		return nil, err
	}
	if d.receiver != nil {
		defer d.receiver.Close()
	}
	ctx = host.WithOperation(ctx, host.Operation{})
	if err := d.prepare(ctx); err != nil {
		return nil, err
	}
	d.sent = d.t.Now()
	if err := d.fire(ctx); err != nil {
		if ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) { // it may have arrived
			err = errors.Join(err, d.cleanUp(ctx))
		}
		return nil, err
	}
	err = d.watch(ctx)
	if err == nil {
		err = d.explain(ctx)
	}
	brokenOff := err != nil
	err = errors.Join(err, d.cleanUp(ctx))
	seen := d.report(brokenOff)
	return seen, errors.Join(err, seen.judge())
}

func (t *Target) newDrill(silence bool) (*drill, error) {
	am, e, contacts, err := t.drillable()
	if err != nil {
		return nil, err
	}
	d := &drill{t: t, am: am, toldOver: e.ToldOver(), id: t.Now().UTC().Format("20060102T150405.000Z"), silence: silence, contacts: contacts}
	if slices.ContainsFunc(contacts, func(c *drilled) bool { return c.own }) {
		if d.receiver, err = monitoring.Listen(t.Config.Monitoring.Receiver, t.Now); err != nil {
			err = fmt.Errorf("listening for the drill: %w: another drill runs, or another program has the port of monitoring.receiver", err)
		}
	}
	return d, err
}

// drillable is the Alertmanager of a target, what is generated for it, and whom
// it should call.
func (t *Target) drillable() (am monitoring.AlertClient, e monitoring.Environment, contacts []*drilled, err error) {
	am, ok := t.alertmanager()
	if !ok {
		return am, e, nil, fmt.Errorf("%w: monitoring.alertmanager of %s is not configured: there is nothing that could call anybody", ErrUsage, t.Config.Environment)
	}
	if e, err = monitoring.FromConfig(t.Config); err == nil {
		contacts, err = t.drilled(e)
	}
	return am, e, contacts, err
}

// prepare looks at what cannot be looked at afterwards.
func (d *drill) prepare(ctx context.Context) (err error) {
	limited, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	if d.ahead, err = d.am.Ahead(limited, d.t.Now); err != nil {
		return err
	}
	return d.countBefore(ctx)
}

// drilled are the contacts, as an alert calls them.
func (t *Target) drilled(e monitoring.Environment) ([]*drilled, error) {
	var all []*drilled
	for i, c := range e.Alerts.Contacts {
		one := &drilled{due: e.CalledAfter(i), ways: e.Integrations(c)}
		one.Level, one.Name, one.Way, one.Due = c.Level, c.Name, strings.Join(one.ways, ", "), one.due.Seconds()
		if len(one.ways) == 0 {
			return nil, fmt.Errorf("%w: contacts.%s of %s has no address that an alert could be sent to", ErrUsage, c.Level, t.Config.Environment)
		}
		own := t.Config.Monitoring.Receiver
		if path, ours := strings.CutPrefix(c.Webhook, own+"/"); own != "" && ours && len(one.ways) == 1 {
			one.own, one.path = true, "/"+path
		}
		all = append(all, one)
	}
	return all, nil
}

// The alert ends by itself soon after a drill that was killed; so does its
// silence.
const (
	alertLasts = time.Minute
	alertEvery = 15 * time.Second
)

// post gives Alertmanager the alert, to end after a time.
func (d *drill) post(ctx context.Context, lasts time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	there := func(at time.Time) time.Time { return at.Add(d.ahead).UTC() }
	return d.am.Post(ctx, monitoring.PostedAlert{
		Labels: monitoring.DrillLabels(d.t.Config.Environment, d.id),
		Annotations: map[string]string{
			"summary":     "This is a drill",
			"description": fmt.Sprintf("A test by %s, to see that alerts arrive. Nothing is wrong and nothing is to be done.", Whoami()),
		},
		StartsAt: there(d.sent), EndsAt: there(d.t.Now().Add(lasts)),
	})
}

// fire posts the alert, and prolongs its silence, so that both go on.
func (d *drill) fire(ctx context.Context) error {
	now := d.t.Now()
	if now.Sub(d.posted) < alertEvery {
		return nil
	}
	err := d.post(ctx, alertLasts)
	if err == nil && d.silenced != "" {
		err = d.setSilence(ctx)
	}
	if err == nil {
		d.posted = now
	}
	return err
}

// held is the alert as Alertmanager has it; nil when it has none.
func (d *drill) held(ctx context.Context) (*monitoring.HeldAlert, error) {
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	all, err := d.am.Alerts(ctx, fmt.Sprintf("alertname=%q", monitoring.DrillAlert), fmt.Sprintf("drill=%q", d.id))
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}
