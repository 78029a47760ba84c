package monitoring

import (
	"fmt"
	"time"
)

// notAlternating leaves out what counters tell that are not one counter.
func notAlternating(expr string) string {
	return fmt.Sprintf("(\n  %s\n)\nunless on () %s > %d", expr, recordResets, resetsInRow)
}

// highErrorRate is the plan's, over all series together.
func highErrorRate(e Environment) Alert {
	a := e.Alerts
	perStep := a.ErrorRate * e.step().Seconds()
	hold := e.hold("HighErrorRate", 5*time.Minute)
	at := e.at(0, e.window(5*time.Minute), hold)
	fires := func(name string, series []Series, rate float64) Scenario {
		return Scenario{Name: name, Series: series, At: at, Fires: []Firing{{Alert: "HighErrorRate", Value: rate}}}
	}
	return Alert{
		Name: "HighErrorRate", Severity: Warning, For: hold,
		Rules:       one(notAlternating(recordErrors + " > " + decimal(a.ErrorRate))),
		Summary:     "High ETF update error rate",
		Description: fmt.Sprintf(`{{ $value | printf "%%.2f" }} errors a second in updates, all kinds together, for %s; more than %s is too much.`, promDuration(hold), decimal(a.ErrorRate)),
		Runbook: Section{
			Means: "Updates report errors faster than they should: the price source refuses or answers badly, or ETFs are listed that it does not know. Updates may still succeed.",
			Look: []string{
				"`sum by (error_type) (rate(etf_errors_total[5m]))` in Prometheus: which kind grows. `api_error`: the price source. `price_missing`: days without a price, as on holidays of an exchange. `internal`: the service itself.",
				"`verify:logs`: what the service has logged.",
				"`select error_type, context, count(*) from etf_errors where not resolved group by 1, 2 order by 3 desc` in the database.",
			},
			Run: []string{
				"`pre:connections` asks the price source and every server.",
				"`internal` since a deployment: `rollback:plan`, then `rollback:immediate`.",
			},
		},
		Fires: []Scenario{fires("a fifth more errors than are tolerated", []Series{
			e.of("etf_errors_total", grow(0, 1.2*perStep, forever), "error_type", "api_error"),
		}, 1.2*a.ErrorRate)},
		Silent: []Scenario{
			{Name: "a tenth fewer errors than are tolerated", At: at,
				Series: []Series{e.of("etf_errors_total", grow(0, 0.9*perStep, forever), "error_type", "api_error")}},
			{Name: "many errors that end before they have lasted", At: at,
				Series: []Series{e.of("etf_errors_total", then(grow(0, 3*perStep, 2), flat(3*perStep, forever)), "error_type", "api_error")}},
		},
	}
}

// updateStuck is the plan's: an update runs, and none ends.
func updateStuck(e Environment) Alert {
	stuck := e.Alerts.StuckAfter
	hold := e.hold("UpdateStuck", 10*time.Minute)
	k := e.steps(stuck)
	at := e.at(0, stuck, hold)
	running := e.of("etf_active_updates", flat(3, forever))
	still := e.updates(flat(5, forever), flat(0, forever), flat(0, forever))
	last := e.of("etf_last_update_timestamp", flat(e.step().Seconds(), forever))
	return Alert{
		Name: "UpdateStuck", Severity: Critical, For: hold,
		Rules: one(fmt.Sprintf(`(%[1]s or on () vector(%[2]s))
and on () (min_over_time(%[3]s[%[4]s]) > 0)
and on () (max_over_time(%[3]s[%[5]s] offset %[4]s) > 0)
and on () (%[6]s == 0)`, recordAge, seconds(stuck), recordActive, promDuration(stuck),
			promDuration(e.window(5*time.Minute)), increase("etf_updates_total", stuck))),
		Summary:     "ETF update process stuck",
		Description: fmt.Sprintf("Updates have been running for %s and none has ended; the last success was {{ $value | humanizeDuration }} ago.", promDuration(stuck)),
		Runbook: Section{
			Means: "An update has begun and does not end, nor does any other. New ones wait behind it, and prices grow old. The price source hangs, the database holds a lock, or a worker has stopped working without dying.",
			Look: []string{
				"`verify:tasks`: what the workers do, and since when.",
				"`select id, etf_id, created_at, now() - created_at as age from etf_updates where status = 'processing' order by 3` in the database.",
				"`verify:performance`: sessions that wait for a lock.",
			},
			Run: []string{
				"`services:stop` ends the workers when their tasks have, or says which one does not; `services:start` brings them back. A task that was cut short is delivered again.",
				"The price source hangs: `updates:pause`, and `updates:resume` when it answers.",
			},
		},
		Fires: []Scenario{
			{Name: "three updates run, none ends", Series: append(still, running, last), At: at,
				Fires: []Firing{{Alert: "UpdateStuck", Value: (at - e.step()).Seconds()}}},
			{Name: "an update runs and none has ever succeeded", At: at,
				Series: append(e.updates(flat(0, forever), flat(0, forever), flat(0, forever)), running, e.of("etf_last_update_timestamp", flat(0, forever))),
				Fires:  []Firing{{Alert: "UpdateStuck", Value: stuck.Seconds()}}},
			{Name: "a collection failed as long ago as they have been running", At: at, Series: append(still, last,
				e.of("etf_active_updates", then(flat(3, e.steps(at)-k), missed(), flat(3, forever)))),
				Fires: []Firing{{Alert: "UpdateStuck", Value: (at - e.step()).Seconds()}}},
		},
		Silent: []Scenario{
			{Name: "updates run all the time, and end", Series: append(e.updates(grow(0, 1, forever), flat(0, forever), flat(0, forever)), running, last), At: at},
			{Name: "an update that ends shortly before it would count as stuck", Series: append(still, last,
				e.of("etf_active_updates", then(flat(1, k-1), flat(0, forever)))), At: at},
			{Name: "nothing to do since long ago", Series: append(still, last, e.of("etf_active_updates", flat(0, forever))), At: at},
			{Name: "an update runs since Prometheus began to look", Series: append(still, last,
				e.of("etf_active_updates", then(gone(k), flat(1, forever)))), At: at},
		},
	}
}

// updatesStale tells what the plan's UpdateStuck cannot: that none is begun.
func updatesStale(e Environment) Alert {
	stale := e.Alerts.StaleAfter
	if stale >= e.scaled(2*time.Hour) {
		e = e.inDays()
	}
	hold := e.hold("UpdatesStale", 5*time.Minute)
	at, minute := e.at(0, stale, hold), e.scaled(time.Minute)
	return Alert{
		Name: "UpdatesStale", Severity: Critical, For: hold,
		Rules: one(fmt.Sprintf(`%[1]s > %[2]s
or
(vector(%[2]s) and on () present_over_time(etf_last_update_timestamp[%[5]s] offset %[3]s) unless on () %[4]s)`,
			recordAge, seconds(stale), promDuration(stale), recordLastSuccess, promDuration(e.window(5*time.Minute)))),
		Summary:     "No ETF update has succeeded for too long",
		Description: fmt.Sprintf("The last update that succeeded was {{ $value | humanizeDuration }} ago, or longer; updates run daily, and more than %s is too long.", promDuration(stale)),
		Runbook: Section{
			Means: "No update succeeds: the scheduler does not start them, no worker takes them, or all fail. Those who use the service see yesterday's prices. It does not matter here whether an update runs now.",
			Look: []string{
				"`verify:tasks`: is the scheduler alive, exactly once, and when did each of its entries last run?",
				"`status`: are updates paused, and by whom? Is a deployment interrupted?",
				"`select status, count(*), max(created_at) from etf_updates where created_at > now() - interval '2 days' group by 1` in the database: none at all means that they are not begun.",
			},
			Run: []string{
				"The scheduler is dead: `services:start`.",
				"Updates are paused: `updates:resume`.",
				"`verify:update` sends one update through and says where it stops.",
			},
		},
		Inhibits: []string{"FreshnessBudgetBurn"},
		Fires: []Scenario{
			{Name: "the last success grows old", Days: e.days, At: at, Series: []Series{e.of("etf_last_update_timestamp", flat(e.step().Seconds(), forever))},
				Fires: []Firing{{Alert: "UpdatesStale", Value: (at - e.step()).Seconds()}}},
			{Name: "none has ever succeeded, as long as the service is collected", Days: e.days, At: at, Series: []Series{e.of("etf_last_update_timestamp", flat(0, forever))},
				Fires: []Firing{{Alert: "UpdatesStale", Value: stale.Seconds()}}},
			{Name: "none has ever succeeded, and a collection failed as long ago as that is too long", Days: e.days, At: at, Every: minute,
				Series: []Series{e.of("etf_last_update_timestamp", then(flat(0, int((at-stale)/minute)), missed(), flat(0, forever)))},
				Fires:  []Firing{{Alert: "UpdatesStale", Value: stale.Seconds()}}},
		},
		Silent: []Scenario{
			{Name: "a success shortly before it would be too old", Days: e.days, At: at, Series: []Series{e.of("etf_last_update_timestamp",
				then(flat(e.step().Seconds(), e.steps(stale)-1), flat((stale-2*e.step()).Seconds(), forever)))}},
			{Name: "a service that has just started, and has no success to tell of", Days: e.days, At: e.after(e.steps(stale) + 10), Series: []Series{
				e.of("etf_last_update_timestamp", then(gone(e.steps(stale)+2), flat(0, forever)))}},
			{Name: "a restart that forgets the last success for a while", Days: e.days, At: e.at(0, stale/2, hold), Series: []Series{e.of("etf_last_update_timestamp",
				then(flat(e.step().Seconds(), e.steps(stale/4)), flat(0, forever)))}},
		},
	}
}
