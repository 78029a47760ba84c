package monitoring

import (
	"fmt"
	"time"
)

// A Record is a recording rule.
type Record struct{ Name, Expr string }

// The names of the recording rules that more than one expression uses. Those
// with a window carry its unscaled length.
const (
	recordActive      = "etf:updates_active:sum"
	recordEndedStuck  = "etf:updates_ended:increase_stuck"
	recordLastSuccess = "etf:last_success:timestamp"
	recordAge         = "etf:data_age:seconds"
	recordFresh       = "etf:data_fresh:bool"
	recordResets      = "etf:counter_resets:max"
	recordErrors      = "etf:errors:rate5m"
	recordQueue       = "etf:queue_depth:sum"
	recordWorkers     = "etf:workers:sum"
)

// resetsInRow are so many resets of a counter within five minutes that it is
// not one counter: a restart makes one.
const resetsInRow = 3

// resetsWindow holds enough collections to see them.
func (e Environment) resetsWindow() time.Duration {
	return max(e.scaled(5*time.Minute), 16*e.collected())
}

// records are the recording rules of an environment, in the order in which
// they rest upon each other.
func records(e Environment) []Record {
	stale := promDuration(e.Alerts.StaleAfter)
	all := []Record{
		// Series of single processes are left out: one of a process that was
		// killed never changes again (MetricsInconsistent tells of them).
		{recordActive, `sum(etf_active_updates{pid=""})`},
		{recordEndedStuck, increase("etf_updates_total", e.Alerts.StuckAfter)},
		// 0 is no time: it is what a process exports that has not made an update yet.
		{recordLastSuccess, fmt.Sprintf(`max(max_over_time(etf_last_update_timestamp[%s]) > 0)`, stale)},
		{recordAge, "time() - " + recordLastSuccess},
		{recordFresh, recordAge + " <= bool " + seconds(e.Alerts.StaleAfter)},
		{recordResets, fmt.Sprintf("max(resets(etf_errors_total[%[1]s]) or resets(etf_updates_total[%[1]s]))", promDuration(e.resetsWindow()))},
		{recordErrors, fmt.Sprintf("%s / %s", increase("etf_errors_total", e.window(5*time.Minute)), seconds(e.window(5*time.Minute)))},
	}
	for _, w := range []time.Duration{15 * time.Minute, time.Hour} {
		all = append(all, Record{endedIn(w), increase("etf_updates_total", e.window(w))})
	}
	for _, w := range append([]time.Duration{15 * time.Minute}, budgetWindows...) {
		all = append(all, Record{failedIn(w), fmt.Sprintf("%s\n/\n(%s > 0)",
			increase(`etf_updates_total{status="failed"}`, e.window(w)), increase("etf_updates_total", e.window(w)))})
	}
	for _, w := range budgetWindows {
		all = append(all, Record{staleIn(w), fmt.Sprintf("1 - avg_over_time(%s[%s])", recordFresh, promDuration(e.window(w)))})
	}
	if w := workersOf(e); w.missing == "" {
		all = append(all, Record{recordWorkers, w.expr})
	}
	if q := queueOf(e); q.missing == "" {
		all = append(all, Record{recordQueue, q.expr})
	}
	return all
}

// increase is by how much counters grew, all their series together. A series
// that was born within the window at 500 has no increase of its own; it counts
// whole, if its target was collected before it was there.
func increase(counter string, window time.Duration) string {
	w := promDuration(window)
	return fmt.Sprintf("sum((%[1]s unless %[1]s offset %[2]s and on (job, instance) up offset %[2]s == 1) or increase(%[1]s[%[2]s]))", counter, w)
}

// budgetWindows are the long and short windows of the burn rates.
var budgetWindows = []time.Duration{5 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}

func endedIn(w time.Duration) string  { return "etf:updates_ended:increase" + promDuration(w) }
func failedIn(w time.Duration) string { return "etf:updates_failed:ratio" + promDuration(w) }
func staleIn(w time.Duration) string  { return "etf:data_stale:ratio" + promDuration(w) }
