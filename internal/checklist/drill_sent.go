package checklist

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// counts are what Alertmanager has sent since a drill began, by kind of
// integration. Whether it arrived cannot be seen from here, nor whom it went
// to: what is sent for another alert meanwhile counts too.
type counts struct {
	looked                   time.Time
	sentBefore, failedBefore map[string]float64
	sent, failed             map[string]float64
}

// countEvery is how often Alertmanager is asked.
const countEvery = time.Second

func (d *drill) anyReal() bool {
	return slices.ContainsFunc(d.contacts, func(c *drilled) bool { return !c.own })
}

func (d *drill) countBefore(ctx context.Context) (err error) {
	if !d.anyReal() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	d.counts.sentBefore, d.counts.failedBefore, err = d.am.Requests(ctx)
	return err
}

func (d *drill) countNow(ctx context.Context) error {
	if !d.anyReal() || d.t.Now().Sub(d.counts.looked) < countEvery {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, d.t.Config.Timeouts.Connect)
	defer cancel()
	sent, failed, err := d.am.Requests(ctx)
	if err != nil {
		return err
	}
	d.counts.looked = d.t.Now()
	d.counts.sent, d.counts.failed = less(sent, d.counts.sentBefore), less(failed, d.counts.failedBefore)
	return nil
}

func less(now, before map[string]float64) map[string]float64 {
	diff := maps.Clone(now)
	for name := range diff {
		diff[name] -= before[name]
	}
	return diff
}

// sentTo reports whether as much was sent and taken as must have been when a
// contact was called: one of each of its ways, and one for each contact before.
func (d *drill) sentTo(contact int) (time.Time, bool) {
	for _, way := range d.contacts[contact].ways {
		need := 0.0
		for _, c := range d.contacts[:contact+1] {
			if slices.Contains(c.ways, way) {
				need++
			}
		}
		if d.counts.sent[way]-d.counts.failed[way] < need {
			return time.Time{}, false
		}
	}
	return d.counts.looked, true
}

// failures says what Alertmanager could not send.
func (d *drill) failures(c *drilled) string {
	var said []string
	for _, way := range c.ways {
		if n := d.counts.failed[way]; n > 0 {
			said = append(said, fmt.Sprintf("%s by %s failed", plural(int(n), "try", "tries"), way))
		}
	}
	if len(said) > 0 {
		return strings.Join(said, ", ") + ": see Alertmanager's log"
	}
	return ""
}
