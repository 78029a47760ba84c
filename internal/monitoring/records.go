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
	recordJudged      = "etf:updates_failed:judged"
	recordStanding    = "etf:updates_failed:standing"
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
		// 0 is no time: it is what a process exports that has not made an update yet.
		{recordLastSuccess, fmt.Sprintf(`max(max_over_time(etf_last_update_timestamp[%s]) > 0)`, stale)},
		{recordAge, "time() - " + recordLastSuccess},
		{recordFresh, recordAge + " <= bool " + seconds(e.Alerts.StaleAfter)},
		{recordResets, fmt.Sprintf("max(resets(etf_errors_total[%[1]s]) or resets(etf_updates_total[%[1]s]))", promDuration(e.resetsWindow()))},
		{recordErrors, fmt.Sprintf("%s / %s", increase("etf_errors_total", e.window(5*time.Minute)), seconds(e.window(5*time.Minute)))},
	}
	for _, w := range updateWindows {
		all = append(all,
			Record{endedIn(w), increase("etf_updates_total", e.window(w))},
			// Where no failure was ever counted, none has failed.
			Record{failedIn(w), increase(`etf_updates_total{status="failed"}`, e.window(w)) + " or 0 * " + endedIn(w)},
			Record{failedShare(w), fmt.Sprintf("%s / (%s > 0)", failedIn(w), endedIn(w))})
	}
	all = append(all, Record{recordJudged, judged(e)}, Record{recordStanding, standing(e)})
	for _, w := range staleWindows {
		all = append(all, Record{staleShare(w), fmt.Sprintf("1 - avg_over_time(%s[%s])", recordFresh, promDuration(e.window(w)))})
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
// whole, if its target told of its active updates before it was there. That it
// answered is not enough: a release that exposes none of the metrics for a
// while comes back with the counters of before, and those were counted then.
func increase(counter string, window time.Duration) string {
	w := promDuration(window)
	return fmt.Sprintf("sum((%[1]s unless %[1]s offset %[2]s and on (job, instance) etf_active_updates offset %[2]s) or increase(%[1]s[%[2]s]))", counter, w)
}

// judged is the share of the updates of a quarter of an hour that have failed,
// whenever it can be told. Enough must have ended, and the last of them just
// now: at the end of a batch those that began it leave the window first, and a
// few of the last ones would stand for all.
func judged(e Environment) string {
	const w = 15 * time.Minute
	return fmt.Sprintf("(\n  %s\n  and on () %s >= %d\n  and on () %s > 0\n)\nunless on () max_over_time(%s[%s]) > %d",
		failedShare(w), endedIn(w), e.Alerts.MinUpdates, endedIn(5*time.Minute), recordResets, promDuration(e.window(w)), resetsInRow)
}

// standing is what was judged a while ago: so long that of counters which began
// to alternate then it is known by now.
func standing(e Environment) string {
	w := promDuration(e.resetsWindow())
	return fmt.Sprintf("%s offset %s\nunless on () max_over_time(%s[%s]) > %d", recordJudged, w, recordResets, w, resetsInRow)
}

// The windows that alerts look at, of updates and of fresh data.
var (
	updateWindows = []time.Duration{5 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}
	staleWindows  = []time.Duration{2 * time.Hour, 6 * time.Hour, 24 * time.Hour, 72 * time.Hour}
)

// The records of a window: how many updates ended and failed in it, which share
// that is, and for which share of it data were stale.
func endedIn(w time.Duration) string     { return "etf:updates_ended:increase" + promDuration(w) }
func failedIn(w time.Duration) string    { return "etf:updates_failed:increase" + promDuration(w) }
func failedShare(w time.Duration) string { return "etf:updates_failed:ratio" + promDuration(w) }
func staleShare(w time.Duration) string  { return "etf:data_stale:ratio" + promDuration(w) }
