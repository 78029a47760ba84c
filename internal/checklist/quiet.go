package checklist

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// A Hold is one thing because of which updates are not at rest.
type Hold struct {
	What  string    `json:"what"`            // task, row, gauge or workers
	Name  string    `json:"name"`            // of the task, of the table with the row's id, of the metric
	Where string    `json:"where,omitempty"` // the node that holds a task, the ETF of a row
	ID    string    `json:"id,omitempty"`    // of a task
	Since time.Time `json:"since,omitzero"`
	Text  string    `json:"text"`
	Dead  bool      `json:"dead,omitempty"` // it will not end by itself while updates are paused
}

// updatesLook is what one look at the updates has seen, in this order.
type updatesLook struct {
	At       time.Time
	Pause    *cache.Pause // nil: updates may begin
	Reserved []heldTask   // before Active: one that begins in between is seen
	Active   []heldTask
	Unasked  string // which workers could not be asked; empty when all were
	Rows     []processingRow
	Gauge    float64
	Blind    string // why the gauge is not known; empty when it is
}

// A heldTask is a task in the hands of a worker.
type heldTask struct {
	celery.Task
	Node string
}

// A processingRow is an update that has begun and not ended, by its row.
type processingRow struct {
	Table, ID, ETF string
	Since          time.Time // when it was asked for; zero where the table does not say
}

func (r processingRow) name() string { return r.Table + " " + r.ID }

// putOff is how long a task may take to see the pause flag and put itself off.
const putOff = 3 * time.Second

// holds lists what l has seen at work. Since began the pause flag is known to
// be there, zero if it is not: a task that has begun since then looks at the
// flag and puts itself off within a moment, and one that is reserved will, so
// it counts only where it was there in the look before, too.
func (l updatesLook) holds(before *updatesLook, began time.Time) []Hold {
	var all []Hold
	for _, t := range l.Active {
		if !began.IsZero() && t.Started.After(began) && l.At.Sub(t.Started) < putOff {
			continue
		}
		all = append(all, t.hold(l.At, "runs"))
	}
	for _, t := range l.Reserved {
		same := func(o heldTask) bool { return o.ID == t.ID }
		if slices.ContainsFunc(l.Active, same) || !began.IsZero() && before != nil && !slices.ContainsFunc(before.Reserved, same) {
			continue
		}
		all = append(all, t.hold(l.At, "is reserved"))
	}
	if l.Unasked != "" {
		all = append(all, Hold{What: "workers", Name: "workers", Text: "what all workers do is not known: " + l.Unasked})
	}
	working := len(all) > 0
	for _, r := range l.Rows {
		h := Hold{What: "row", Name: r.name(), Where: r.ETF, Since: r.Since, Dead: !began.IsZero() && !working}
		h.Text = fmt.Sprintf("%s%s is processing%s", r.name(), of(r.ETF), since(r.Since, l.At))
		if h.Dead {
			h.Text += ", and no worker holds a task: it will not end by itself while updates are paused"
		}
		all = append(all, h)
	}
	if l.Blind == "" && l.Gauge > 0 {
		h := Hold{What: "gauge", Name: activeGauge, Dead: !began.IsZero() && len(all) == 0}
		h.Text = fmt.Sprintf("%s says %v", activeGauge, l.Gauge)
		if h.Dead {
			h.Text += ", though no worker holds a task and no row is processing: a process that was killed may have left it so"
		}
		all = append(all, h)
	}
	return all
}

func (t heldTask) hold(now time.Time, does string) Hold {
	return Hold{What: "task", Name: t.Name, Where: t.Node, ID: t.ID, Since: t.Started,
		Text: fmt.Sprintf("%s (%s) %s on %s%s", t.Name, t.ID, does, t.Node, since(t.Started, now))}
}

func of(what string) string {
	if what == "" {
		return ""
	}
	return " of " + what
}

func since(at, now time.Time) string {
	if at.IsZero() {
		return ""
	}
	return fmt.Sprintf(" since %s, for %s", at.UTC().Format(time.RFC3339), report.Duration(now.Sub(at)))
}

// allDead reports whether there is something, and none of it ends by itself.
func allDead(holds []Hold) bool {
	return len(holds) > 0 && !slices.ContainsFunc(holds, func(h Hold) bool { return !h.Dead })
}

// fewHolds is how many of one kind are named in a text; the list has them all.
const fewHolds = 5

// holdsText names what is not at rest, in one line.
func holdsText(holds []Hold) string {
	var parts []string
	for _, what := range []string{"task", "row", "gauge", "workers"} {
		var same []Hold
		for _, h := range holds {
			if h.What == what {
				same = append(same, h)
			}
		}
		// The longest at it first: that is the one that is stuck.
		slices.SortStableFunc(same, func(a, b Hold) int {
			return cmp.Or(boolToInt(a.Since.IsZero())-boolToInt(b.Since.IsZero()), a.Since.Compare(b.Since))
		})
		for _, h := range same[:min(fewHolds, len(same))] {
			parts = append(parts, h.Text)
		}
		if more := len(same) - fewHolds; more > 0 {
			parts = append(parts, fmt.Sprintf("and %d more %ss", more, what))
		}
	}
	return strings.Join(parts, "; ")
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
