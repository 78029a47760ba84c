package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// explain says of contacts that were not called what Alertmanager knows.
func (d *drill) explain(ctx context.Context) error {
	if !slices.ContainsFunc(d.contacts, func(c *drilled) bool { return !c.called() }) {
		return nil
	}
	alert, err := d.held(ctx)
	if err != nil || alert == nil {
		return err
	}
	for _, c := range d.contacts {
		if !c.called() {
			c.Text = d.whyNot(c, *alert)
		}
	}
	return nil
}

func (d *drill) whyNot(c *drilled, alert monitoring.HeldAlert) string {
	others := slices.DeleteFunc(slices.Clone(alert.Status.SilencedBy), func(id string) bool { return id == d.silenced })
	switch {
	case c.lost:
		return c.Text
	case len(others) > 0:
		return "held back by silence " + join(others)
	case len(alert.Status.InhibitedBy) > 0:
		return "inhibited by another alert"
	}
	return d.failures(c)
}

// cleanUp ends alert and silence and sees both gone. Contacts that are ours
// then hear that it is over, where that does not take long.
func (d *drill) cleanUp(ctx context.Context) error {
	tidying, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*d.t.Config.Timeouts.Connect)
	defer cancel()
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		tidying, cancel = context.WithTimeout(tidying, 3*time.Second)
		defer cancel()
	}
	if err := errors.Join(d.endAlert(tidying), d.endSilence(tidying)); err != nil {
		return fmt.Errorf("tidying up after the drill: %w", err)
	}
	d.awaitEnd(ctx)
	return nil
}

func (d *drill) endAlert(ctx context.Context) error {
	err := d.post(ctx, 0)
	for err == nil {
		var alert *monitoring.HeldAlert
		if alert, err = d.held(ctx); err == nil && alert == nil {
			return nil
		}
		err = errors.Join(err, sleep(ctx, 50*time.Millisecond))
	}
	return fmt.Errorf("%w: the drill's alert may still be there, and ends by itself within a minute", err)
}

// drillMatchers match the drill's alert and no other's.
func (d *drill) drillMatchers() []monitoring.Matcher {
	return []monitoring.Matcher{{Name: "drill", Value: d.id, IsEqual: true}}
}

// setSilence does what a person does who takes an alert on.
func (d *drill) setSilence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	id, err := d.am.Prolong(ctx, d.silenced, alertLasts, d.t.Now, monitoring.Silence{CreatedBy: Whoami(), Comment: "drill " + d.id, Matchers: d.drillMatchers()})
	if err == nil {
		d.silenced = id
	}
	return err
}

// endSilence ends what there is of silences: a call that was cut off may have
// made one.
func (d *drill) endSilence(ctx context.Context) error {
	if !d.silence {
		return nil
	}
	all, err := d.am.Silences(ctx, fmt.Sprintf("drill=%q", d.id))
	for _, s := range all {
		err = errors.Join(err, d.am.Expire(ctx, s.ID))
	}
	return err
}

// overPatience is how long contacts of ours are waited for to hear that the
// alert is over.
const overPatience = time.Minute

// awaitEnd waits until contacts of ours have heard that the alert is over.
func (d *drill) awaitEnd(ctx context.Context) {
	if ctx.Err() != nil || d.receiver == nil || d.toldOver > overPatience {
		return
	}
	for end := d.t.Now().Add(d.toldOver + 5*time.Second); !d.heardEnd() && d.t.Now().Before(end); {
		if sleep(ctx, 100*time.Millisecond) != nil {
			return // nobody knows who would have heard
		}
	}
	// What is silenced at the very moment in which it ends, nobody hears of.
	d.awaited = d.silenced == ""
}

// heardEnd notes which of our contacts have heard that the alert is over, and
// reports whether all have that had heard of it.
func (d *drill) heardEnd() bool {
	all := true
	for _, c := range d.contacts {
		if !c.own || !c.called() || c.Resolved != nil {
			continue
		}
		at, ok := d.heard(c, "resolved")
		if all = all && ok; ok {
			after := at.Sub(d.sent).Seconds()
			c.Resolved = &after
		}
	}
	return all
}
