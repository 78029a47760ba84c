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
	"github.com/goldfinch-etf/etf-deploy/internal/report"
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
	id       string
	sent     time.Time
	posted   time.Time // last
	silence  bool      // once the first contact is called: nobody else shall be
	silenced string
	contacts []*drilled
	receiver *drillReceiver // nil: no contact is ours
	toldOver time.Duration  // until a contact hears that the alert has ended
	counts   counts         // of Alertmanager's, where a contact is not
}

// Drill sends a test alert and looks whether each contact is called when it
// should be. With what it saw the error is step.ErrFault when somebody was not
// called, or was and should not have been; without, it could not look.
func (t *Target) Drill(ctx context.Context, silence bool) (*DrillReport, error) {
	d, err := t.newDrill(silence)
	if err != nil {
		return nil, err
	}
	if d.receiver != nil {
		defer d.receiver.close()
	}
	ctx = host.WithOperation(ctx, host.Operation{})
	if err := d.countBefore(ctx); err != nil {
		return nil, err
	}
	d.sent = d.t.Now()
	if err := d.fire(ctx); err != nil {
		return nil, err
	}
	err = d.watch(ctx)
	if err == nil {
		err = d.explain(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, d.cleanUp(ctx))
	}
	err = d.cleanUp(ctx)
	seen := d.report()
	return seen, errors.Join(err, seen.judge())
}

// RealContacts names the contacts that a drill would really call.
func (t *Target) RealContacts() ([]string, error) {
	e, err := monitoring.FromConfig(t.Config)
	if err != nil {
		return nil, err
	}
	contacts, err := t.drilled(e)
	var names []string
	for _, c := range contacts {
		if !c.own {
			names = append(names, c.Name+" ("+c.Way+")")
		}
	}
	return names, err
}

func (t *Target) newDrill(silence bool) (*drill, error) {
	am, ok := t.alertmanager()
	if !ok {
		return nil, fmt.Errorf("%w: monitoring.alertmanager of %s is not configured: there is nothing that could call anybody", ErrUsage, t.Config.Environment)
	}
	e, err := monitoring.FromConfig(t.Config)
	if err != nil {
		return nil, err
	}
	contacts, err := t.drilled(e)
	if err != nil {
		return nil, err
	}
	d := &drill{t: t, am: am, toldOver: e.ToldOver(), id: t.Now().UTC().Format("20060102T150405.000Z"), silence: silence, contacts: contacts}
	if slices.ContainsFunc(contacts, func(c *drilled) bool { return c.own }) {
		d.receiver, err = listen(t.Config.Monitoring.Receiver, d.id)
	}
	return d, err
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
	return d.am.Post(ctx, monitoring.PostedAlert{
		Labels: monitoring.DrillLabels(d.t.Config.Environment, d.id),
		Annotations: map[string]string{
			"summary":     "This is a drill",
			"description": fmt.Sprintf("A test by %s, to see that alerts arrive. Nothing is wrong and nothing is to be done.", Whoami()),
		},
		StartsAt: d.sent.UTC(), EndsAt: d.t.Now().Add(lasts).UTC(),
	})
}

// fire posts the alert, and prolongs its silence, so that both go on.
func (d *drill) fire(ctx context.Context) error {
	if d.t.Now().Sub(d.posted) < alertEvery {
		return nil
	}
	d.posted = d.t.Now()
	err := d.post(ctx, alertLasts)
	if err == nil && d.silenced != "" {
		err = d.setSilence(ctx)
	}
	return err
}

// watch looks until it is known of each contact whether it is called.
func (d *drill) watch(ctx context.Context) error {
	if err := d.findRoutes(ctx); err != nil {
		return err
	}
	for {
		if err := errors.Join(d.fire(ctx), d.look(ctx)); err != nil {
			return err
		}
		first := d.contacts[0]
		if d.silence && d.silenced == "" && first.called() {
			if err := d.setSilence(ctx); err != nil {
				return err
			}
			d.t.Observer.Log("drill", "silenced: nobody else should be called")
		}
		since := d.t.Now().Sub(d.sent)
		open := slices.ContainsFunc(d.contacts, func(c *drilled) bool { return c.awaited(since) })
		if !open || d.silence && !first.called() && !first.awaited(since) {
			return nil
		}
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// findRoutes looks to whom Alertmanager will send the alert at all: nobody is
// waited for in vain.
func (d *drill) findRoutes(ctx context.Context) error {
	alert, err := d.held(ctx)
	if err != nil {
		return err
	}
	if alert == nil {
		return errors.New("asking Alertmanager: it took the drill's alert, and does not have it")
	}
	var receivers []string
	for _, r := range alert.Receivers {
		receivers = append(receivers, r.Name)
	}
	var last time.Duration
	for _, c := range d.contacts {
		if !slices.Contains(receivers, c.Level) {
			c.lost = true
			c.Text = fmt.Sprintf("Alertmanager sends it to %s only: it does not run with the configuration of alerts:generate", join(receivers))
			continue
		}
		last = max(last, c.due)
	}
	if last > 0 {
		d.t.Observer.Log("drill", "sent; the last contact is due in "+report.Duration(last))
	}
	return nil
}

// look notes who has been called.
func (d *drill) look(ctx context.Context) error {
	if err := d.countNow(ctx); err != nil {
		return err
	}
	for i, c := range d.contacts {
		if c.called() {
			continue
		}
		at, ok := d.sentTo(i)
		if c.own {
			at, ok = d.receiver.heard(c.path, "firing")
		}
		if ok {
			after := at.Sub(d.sent).Seconds()
			c.After = &after
			d.t.Observer.Log("drill", fmt.Sprintf("%s: %s is called after %.1f s", c.Level, c.Name, after))
		}
	}
	return nil
}

// setSilence does what a person does who takes an alert on.
func (d *drill) setSilence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	s := monitoring.Silence{CreatedBy: Whoami(), Comment: "drill " + d.id,
		Matchers: []monitoring.Matcher{{Name: "drill", Value: d.id, IsEqual: true}}}
	id, err := d.am.Prolong(ctx, d.silenced, alertLasts, d.t.Now, s)
	if err == nil {
		d.silenced = id
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
