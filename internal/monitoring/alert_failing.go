package monitoring

import (
	"fmt"
	"time"
)

// updatesFailing looks at how many updates fail, as it was last judged: that
// stands until others are judged, or the alert for a nightly batch would be
// over before morning although nobody has mended anything. Longer than data may
// be without a success it need not stand: then UpdatesStale calls. What was
// judged just now counts unless the counters alternate, what was judged before
// when it is known that they did not.
func updatesFailing(e Environment) Alert {
	a := e.Alerts
	hold := e.hold("UpdatesFailing", 2*time.Minute)
	stands, recent := promDuration(failureStands(e)), promDuration(2*e.resetsWindow())
	return Alert{
		Name: "UpdatesFailing", Severity: Critical, For: hold,
		Rules: one(fmt.Sprintf("(\n  last_over_time(%s[%s]) unless on () max_over_time(%s[%s]) > %d\n  or\n  last_over_time(%s[%s])\n) > %s",
			recordJudged, recent, recordResets, recent, resetsInRow, recordStanding, stands, decimal(a.FailedShare))),
		Summary: "Most ETF updates fail",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the updates that were last judged have failed: those that ended within %s, %d or more. It lasts until others are judged.",
			promDuration(e.window(15*time.Minute)), a.MinUpdates),
		Runbook: Section{
			Means: fmt.Sprintf("Most updates end as failed, however few they are: one a minute that always fails makes a small rate of errors and no fresh price. It does not end when no more updates come, as after the nightly ones: only when %d or more that end within a quarter of an hour are judged anew and no more than %s of them have failed, or after %s, when UpdatesStale calls.",
				a.MinUpdates, percent(a.FailedShare), stands),
			Look: []string{
				"`select error, count(*) from etf_updates where status = 'failed' and completed_at > now() - interval '1 day' group by 1 order by 2 desc` in the database.",
				"`verify:logs`: what the service has logged.",
				"`status`: has something been deployed shortly before?",
				fmt.Sprintf("`%s[1d]` in Prometheus: when was it judged, and how.", recordJudged),
			},
			Run: []string{
				"`pre:connections` asks the price source and every server.",
				"Failing since a deployment: `rollback:plan`, then `rollback:immediate`.",
				"They write wrong prices: `rollback:gradual`.",
				"`updates:pause` keeps further ones from beginning; `updates:resume` afterwards.",
				fmt.Sprintf("When it is mended: `verify:update` sends one update through; ask the API for those that failed, %d or more at once (`POST /api/v1/etf/<id>/update`), or the alert waits for the next nightly ones.", a.MinUpdates),
			},
		},
		// No ErrorBudgetBurnSlow: it looks back for hours, and would call both
		// contacts at once when this one is over.
		Inhibits: []string{"HighErrorRate", "ErrorBudgetBurnFast"},
		Fires:    failingFires(e, hold),
		Silent:   failingSilent(e, hold),
	}
}

// failureStands is how long a judgement counts when no other follows.
func failureStands(e Environment) time.Duration {
	w := e.window(15 * time.Minute)
	return max(e.Alerts.StaleAfter, w, w+e.hold("UpdatesFailing", 2*time.Minute))
}

// A nightly batch: some fifty updates within five minutes.
const batch = 5

func failingFires(e Environment, hold time.Duration) []Scenario {
	least := e.Alerts.MinUpdates
	k, later := e.steps(e.window(15*time.Minute)), min(e.scaled(time.Hour), failureStands(e)/2)
	fires := func(name string, at time.Duration, spells ...spell) Scenario {
		return Scenario{Name: name, At: at, Series: e.traffic(spells...), Fires: []Firing{{Alert: "UpdatesFailing", Value: 1}}}
	}
	// So seldom that only now and then enough have ended in the window.
	gap := max(1, (k-3)/max(2, least-1))
	var seldom []spell
	for range (k+e.steps(hold))/gap + least {
		seldom = append(seldom, quiet(gap-1), spell{1, 0, 1})
	}
	return []Scenario{
		fires("all updates fail, a few of them", e.at(0, e.window(15*time.Minute), hold), spell{forever, 0, float64(least+k) / float64(k)}),
		fires("as few as are judged, and all fail", e.after(least*gap+max(4, e.steps(hold)+1)), seldom[:2*least]...),
		fires("all fail, so seldom that they are judged now and then", e.after(len(seldom)/2*gap+min(gap-1, 4)), seldom...),
		fires("the nightly updates failed some time ago, and none has ended since", e.at(10+batch, max(later, hold)), quiet(10), spell{batch, 0, 10}),
	}
}

func failingSilent(e Environment, hold time.Duration) []Scenario {
	least, share := float64(e.Alerts.MinUpdates), e.Alerts.FailedShare
	w := e.window(15 * time.Minute)
	k, hour := e.steps(w), e.steps(e.scaled(time.Hour))
	silent := func(name string, at time.Duration, spells ...spell) Scenario {
		return Scenario{Name: name, At: at, Series: e.traffic(spells...)}
	}
	late := e.after(10 + batch + hour + batch + 10)
	// A restart has forgotten the series of failures before the next updates.
	forgotten := Scenario{Name: "the next nightly ones succeed, and of failures nothing is counted any more", At: late, Series: []Series{
		e.of("etf_updates_total", then(flat(0, 10), grow(10, 10, batch), flat(10*batch, max(1, hour-k-10)), gone(forever)), "status", "failed"),
		e.of("etf_updates_total", then(flat(0, 10+batch+hour), grow(10, 10, batch), flat(10*batch, forever)), "status", "completed")}}
	// Twice as many succeed as may, and the last of a batch are those that fail.
	tail := silent("half as many as may fail, all at the end of the nightly ones", e.at(10+batch, e.scaled(time.Hour), hold),
		quiet(10), spell{batch - 1, (2*least/share - least) / (batch - 1), 0}, spell{1, 0, least})
	// They end, and the window is still full of them.
	turns := e.inTurn(e.at(0, e.resetsWindow(), hold))
	n := int(turns.At / turns.Every)
	turned := Scenario{Name: "two processes answered in turn, and one is gone", Every: turns.Every,
		At: e.at(e.steps(turns.At), 2*e.resetsWindow(), hold), Series: e.updates(
			grow(0, 1, forever), then(e.alternating(turns.At, 1000, 10)[:n], flat(1000, forever)), flat(0, forever))}
	lost := func(v float64) Values { return then(flat(v, 5), gone(k+5), flat(v, forever)) }
	return []Scenario{
		silent("a little less than the share that counts fails", e.at(0, w, hold), failing(0.9*share, forever)),
		silent("one fewer than are judged, and all fail", e.at(2+int(least), hold), quiet(2), spell{int(least) - 1, 0, 1}),
		silent("the next nightly updates succeed", late, quiet(10), spell{batch, 0, 10}, quiet(hour), spell{batch, 10, 0}),
		forgotten, tail, turns, turned,
		{Name: "a release that exposed none of the metrics comes back with the counters of before", At: e.at(10+k, hold),
			Series: append(e.updates(lost(10), lost(500), lost(0)), e.of("up", flat(1, forever)), e.of("etf_active_updates", lost(0)))},
	}
}
