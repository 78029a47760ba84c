package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// drillTries is how often in a row Alertmanager may not answer while a drill
// watches, which may take half an hour; drillPause is between two tries.
const (
	drillTries = 5
	drillPause = time.Second
)

// watch looks until it is known of each contact whether it is called.
func (d *drill) watch(ctx context.Context) error {
	for failed := 0; ; {
		pause := 100 * time.Millisecond
		known, err := d.round(ctx)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil && known:
			return nil
		case err == nil:
			failed = 0
		case failed+1 == drillTries:
			return err
		default:
			failed++
			pause = drillPause
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// round looks once, and reports whether that was enough.
func (d *drill) round(ctx context.Context) (known bool, err error) {
	if !d.routed {
		if err := d.findRoutes(ctx); err != nil {
			return false, err
		}
	}
	if err := errors.Join(d.fire(ctx), d.look(ctx)); err != nil {
		return false, err
	}
	first := d.contacts[0]
	if d.silence && d.silenced == "" && first.called() {
		if err := d.setSilence(ctx); err != nil {
			return false, err
		}
		d.t.Observer.Log("drill", "silenced: nobody else should be called")
	}
	since := d.t.Now().Sub(d.sent)
	open := slices.ContainsFunc(d.contacts, func(c *drilled) bool { return c.awaited(since) })
	return !open || d.silence && !first.called() && !first.awaited(since), nil
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
	if d.routed = true; last > 0 {
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
			at, ok = d.heard(c, "firing")
		}
		if ok {
			after := at.Sub(d.sent).Seconds()
			c.After = &after
			d.t.Observer.Log("drill", fmt.Sprintf("%s: %s is called after %.1f s", c.Level, c.Name, after))
		}
	}
	return nil
}

// heard is when a contact of ours was first told that the alert has this status.
func (d *drill) heard(c *drilled, status string) (time.Time, bool) {
	for _, call := range d.receiver.Calls() {
		if call.Path == c.path && call.Status == status && call.Labels["drill"] == d.id {
			return call.At, true
		}
	}
	return time.Time{}, false
}
