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
	interrupted := ctx.Err() != nil
	ctx = context.WithoutCancel(ctx)
	if interrupted {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
	}
	err := d.post(ctx, 0)
	for end := time.Now().Add(d.t.Config.Timeouts.Connect); err == nil; {
		var alert *monitoring.HeldAlert
		if alert, err = d.held(ctx); err == nil && alert == nil {
			break
		}
		if time.Now().After(end) {
			err = errors.New("the drill's alert is still there, and ends by itself within a minute")
		}
		err = errors.Join(err, sleep(ctx, 50*time.Millisecond))
	}
	if d.silenced != "" {
		limited, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
		defer cancel()
		err = errors.Join(err, d.am.Expire(limited, d.silenced))
	}
	if err != nil {
		return fmt.Errorf("tidying up after the drill: %w", err)
	}
	if interrupted || d.receiver == nil || d.toldOver > time.Minute {
		return nil
	}
	for end := time.Now().Add(d.toldOver + 5*time.Second); !d.heardEnd() && time.Now().Before(end); {
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// heardEnd notes which of our contacts have heard that the alert is over, and
// reports whether all have that had heard of it.
func (d *drill) heardEnd() bool {
	all := true
	for _, c := range d.contacts {
		if !c.own || !c.called() || c.Resolved != nil {
			continue
		}
		at, ok := d.receiver.heard(c.path, "resolved")
		if all = all && ok; ok {
			after := at.Sub(d.sent).Seconds()
			c.Resolved = &after
		}
	}
	return all
}
