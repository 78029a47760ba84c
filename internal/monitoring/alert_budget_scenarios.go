package monitoring

import "time"

// The scenarios of the budgets speak in shares of the budget: 6 times it is
// what a burn of 6 just tolerates. times is such a share, of which no more than
// all can fail.
func (b budget) times(n float64) float64 { return min(1, n*b.share) }

func errorFastScenarios(e Environment, hold time.Duration) (fires, silent []Scenario) {
	b := errorBudget(e, time.Hour)
	minutes := func(n int) int { return e.steps(e.scaled(time.Duration(n) * time.Minute)) }
	course := func(name string, at time.Duration, spells ...spell) Scenario {
		return Scenario{Name: name, At: at, Series: e.traffic(spells...)}
	}
	firing := func(value float64, s Scenario) Scenario {
		s.Fires = []Firing{{Alert: "ErrorBudgetBurnFast", Value: value}}
		return s
	}
	good := failing(0, minutes(6*60))
	fires = []Scenario{
		firing(b.times(16), course("after hours without a failure, for an hour more fail than 14.4 times the budget",
			e.at(good.steps, e.window(time.Hour), hold), good, failing(b.times(16), forever))),
		firing(b.times(9), course("more fail than 6 times the budget, and fewer than 14.4 times",
			e.at(0, e.window(time.Hour), hold), failing(b.times(9), forever))),
	}
	var few []spell
	for range enoughUpdates - 1 {
		few = append(few, quiet(2), spell{1, 0, 1})
	}
	// By then UpdatesFailing fires as well, however long it has to hold.
	mended := minutes(60) + e.steps(max(hold, e.hold("UpdatesFailing", 2*time.Minute)+e.window(15*time.Minute)))
	silent = []Scenario{
		course("fewer fail than 6 times the budget", e.at(0, e.window(time.Hour), hold), failing(b.times(5.4), forever)),
		course("after hours without a failure, for an hour fewer fail than 14.4 times the budget",
			e.at(good.steps, e.window(time.Hour), hold), good, failing(b.times(13), forever)),
		course("after hours without a failure, many fail for twenty minutes",
			e.after(good.steps+minutes(20)), good, failing(b.times(1.5*14.4), forever)),
		course("hours of failures are over, and for some minutes they return", e.after(minutes(2*60+60+12)),
			failing(b.times(12), minutes(2*60)), failing(0, minutes(60)), failing(b.times(9), forever)),
		course("fewer than enough end within an hour, and all fail", e.after(3*len(few)/2), few...),
		{Name: "for an hour and longer each fails, one a minute, and for a quarter of one no more", At: e.after(mended + minutes(15)),
			Series: e.traffic(spell{mended, 0, 1}, spell{forever, 1, 0}), Outlived: "ErrorBudgetBurnFast", MendedAt: e.after(mended + 1)},
		e.inTurn(e.at(0, e.resetsWindow(), hold)),
	}
	return fires, silent
}

func errorSlowScenarios(e Environment, hold time.Duration) (fires, silent []Scenario) {
	b := errorBudget(e, 24*time.Hour)
	hours := func(n float64) int { return e.steps(e.scaled(time.Duration(n * float64(time.Hour)))) }
	course := func(name string, at time.Duration, spells ...spell) Scenario {
		return Scenario{Name: name, Days: true, At: at, Series: e.traffic(spells...)}
	}
	firing := func(value float64, s Scenario) Scenario {
		s.Fires = []Firing{{Alert: "ErrorBudgetBurnSlow", Value: value}}
		return s
	}
	good := failing(0, hours(24))
	// Hardly any more after the first ones, so that the share stays what it was.
	few := func(n float64) []spell { return []spell{quiet(2), {1, 0, n}, {forever, 0, 0.001}} }
	fires = []Scenario{
		firing(b.times(4), course("a hundredth of the updates before, of which more fail than 3 times the budget",
			e.at(good.steps, e.window(24*time.Hour), hold), good, spell{forever, 1 - b.times(4), b.times(4)})),
		firing(b.times(2), course("more fail than the budget, and fewer than 3 times",
			e.at(0, e.window(2*time.Hour), hold), failing(b.times(2), forever))),
		firing(1, course("just enough end in a day, and all fail", e.at(3, hold), few(enoughUpdates)...)),
	}
	silent = []Scenario{
		course("a little less fails than the budget", e.at(0, e.window(2*time.Hour), hold), failing(b.times(0.9), forever)),
		course("after a day without a failure, some hours in which many fail", e.at(good.steps, e.scaled(2*time.Hour), hold),
			good, failing(b.times(5), forever)),
		course("many failed, and none since hours", e.at(hours(8), e.window(6*time.Hour)), failing(b.times(10), hours(8)), failing(0, forever)),
		course("fewer than enough end in a day, and all fail", e.at(3, hold), few(enoughUpdates-1)...),
		e.inTurn(e.at(0, e.resetsWindow(), hold)),
	}
	return fires, silent
}

// freshnessScenarios are courses of when updates succeed: all the time, but
// for pieces in which data become stale, and are so for some steps.
func freshnessScenarios(e Environment, hold time.Duration) (fires, silent []Scenario) {
	b := freshBudget(e)
	s, stale, day := e.step().Seconds(), e.steps(e.Alerts.StaleAfter), e.steps(e.window(24*time.Hour))
	of := func(n float64) int { return int(n * b.share * float64(day)) } // steps that are so many times a day's budget
	course := func(name string, after int, fresh int, pieces ...int) Scenario {
		var v Values
		n := 0
		for _, steps := range pieces {
			v = then(v, grow(float64(n+1)*s, s, fresh), flat(float64(n+fresh)*s, stale+steps))
			n += fresh + stale + steps
		}
		v = then(v, grow(float64(n+1)*s, s, forever))
		return Scenario{Name: name, Days: true, At: e.after(n + after), Series: []Series{e.of("etf_last_update_timestamp", v)}}
	}
	firing := func(s Scenario) Scenario {
		s.Fires = []Firing{{Alert: "FreshnessBudgetBurn"}}
		return s
	}
	held := e.steps(hold) + 4
	// Data are stale from the moment on in which a gap without any success ends.
	gap := stale + 2
	unseen := func(name string, days, fresh int) Scenario {
		back := 10 + gap + days*day - fresh
		return Scenario{Name: name, Days: true, At: e.after(10 + gap + days*day), Series: []Series{e.of("etf_last_update_timestamp",
			then(flat(s, 10), gone(gap), flat(s, back-10-gap), grow(float64(back)*s, s, forever)))}}
	}
	fires = []Scenario{
		firing(course("data are stale for more of a day than 3 times the budget", 2, day, of(3)+held+6)),
		firing(unseen("data are stale, and a day ago for a moment nothing was known of them", 1, 0)),
		firing(unseen("data are fresh since some hours, and three days ago for a moment nothing was known of them", 3, e.steps(e.window(2*time.Hour))+4)),
	}
	if stale < 2*day {
		fires = append(fires, firing(course("twice, more than a day apart, data are stale for less than that, together for more than three days allow",
			held, max(1, day+day/2-stale), max(5, of(2)+1), max(5, of(2)+3))))
	}
	silent = []Scenario{
		course("data are stale for less of a day than 3 times the budget", held, 3*day, of(2)),
		course("data were stale for long, and are not since hours", e.steps(e.window(6*time.Hour))+4, 3*day, of(3)+held+6),
		{Name: "data are stale for the first hours that Prometheus looks", Days: true, At: e.after(stale + held + 4),
			Series: []Series{e.of("etf_last_update_timestamp", then(gone(stale+2), flat(s, forever)))}},
	}
	return fires, silent
}
