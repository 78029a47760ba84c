package monitoring

import (
	"fmt"
	"math"
	"time"
)

// A budget is what an objective leaves for failure within 30 days. Two pairs
// of windows look at how fast it is used up: the long one says that it
// matters, the short one that it still goes on.
type budget struct {
	share  float64 // of failure, that the objective allows
	ratio  func(time.Duration) string
	enough string // further condition: enough has happened to speak of a share
	looked string // a record that must be as old as the long window: a share of less says too much
}

// A pair of windows, and how many times faster than the budget allows is too fast.
type pair struct {
	long, short time.Duration
	burn        float64
}

// With these, 2 % of the budget of 30 days are gone within an hour, 5 % within
// six; and 10 % within a day or three.
var (
	fastPairs = []pair{{time.Hour, 5 * time.Minute, 14.4}, {6 * time.Hour, 30 * time.Minute, 6}}
	slowPairs = []pair{{24 * time.Hour, 2 * time.Hour, 3}, {72 * time.Hour, 6 * time.Hour, 1}}
)

func (b budget) expr(e Environment, pairs []pair) string {
	text := ""
	for i, p := range pairs {
		if i > 0 {
			text += "\nor\n"
		}
		limit := decimal(math.Round(p.burn*b.share*1e6) / 1e6)
		text += fmt.Sprintf("(%s > %s and %s > %s", b.ratio(p.long), limit, b.ratio(p.short), limit)
		if b.looked != "" {
			text += fmt.Sprintf(" and on () %s offset %s", b.looked, promDuration(e.window(p.long)))
		}
		text += ")"
	}
	if b.enough != "" {
		text = "(\n" + text + "\n)\nand on () " + b.enough
	}
	return text
}

// enoughUpdates must have ended within the hour before the budget of updates
// is looked at: fewer are UpdatesFailing's matter.
const enoughUpdates = 10

func errorBudget(e Environment) budget {
	return budget{share: 1 - e.Alerts.SuccessObjective, ratio: failedIn}
}

func freshBudget(e Environment) budget {
	return budget{share: 1 - e.Alerts.FreshObjective, ratio: staleIn, looked: recordFresh}
}

var errorBudgetSection = Section{
	Means: "Fewer updates succeed than was promised. It need not be most of them: a share that is too high for too long uses up what 30 days allow.",
	Look: []string{
		"`sum by (status) (increase(etf_updates_total[1h]))` in Prometheus; the same over a day.",
		"`select etf_id, error, count(*) from etf_updates where status = 'failed' and completed_at > now() - interval '1 day' group by 1, 2 order by 3 desc` in the database: always the same ETFs, or all?",
	},
	Run: []string{
		"Always the same ETFs: mend their symbols; `pre:data` shows what else is wrong with them.",
		"All, since a deployment: `rollback:plan`, then `rollback:immediate`.",
	},
}

var freshnessSection = Section{
	Means: "Data were out of date for longer than was promised, in one piece or in several that were too short for UpdatesStale.",
	Look: []string{
		"`etf:data_age:seconds` in Prometheus, over the last days: when did it rise, and what ended it?",
		"`history`: did deployments or pauses fall into these times?",
	},
	Run: []string{
		"`verify:tasks`: which entry of the schedule was missed?",
		"`verify:update` sends one update through.",
	},
}

func errorBudgetFast(e Environment) Alert {
	b := errorBudget(e)
	b.enough = fmt.Sprintf("%s > %d", endedIn(time.Hour), enoughUpdates)
	hold := e.hold("ErrorBudgetBurnFast", 5*time.Minute)
	const per = 100.0 // updates a step
	over, under := fastPairs[0].burn*b.share*1.1, fastPairs[1].burn*b.share*0.9
	over = min(over, 1)
	at := e.at(0, e.window(time.Hour), hold)
	failing := func(share float64, n int) []Series {
		return e.updates(grow(0, per*(1-share), n), grow(0, per*share, n), flat(0, n))
	}
	long, short := e.steps(e.window(time.Hour)), e.steps(e.window(30*time.Minute))
	return Alert{
		Name: "ErrorBudgetBurnFast", Severity: Critical, For: hold,
		Rules:       one(notAlternating(b.expr(e, fastPairs))),
		Summary:     "ETF updates fail so fast that the month's budget will be gone within days",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the updates failed within the last hours; %s of them shall succeed, over 30 days.", percent(e.Alerts.SuccessObjective)),
		Runbook:     errorBudgetSection,
		Inhibits:    []string{"ErrorBudgetBurnSlow"},
		Fires: []Scenario{{Name: "a share fails that uses the budget up 15 times too fast", At: at, Series: failing(over, forever),
			Fires: []Firing{{Alert: "ErrorBudgetBurnFast", Value: over}}}},
		Silent: []Scenario{
			{Name: "a share fails that is a matter for the slow alert", At: at, Series: failing(under, forever)},
			{Name: "all failed, and no longer do", At: e.after(long + short + 2), Series: e.updates(
				then(flat(0, long-2), grow(0, per, forever)), then(grow(0, per, long-2), flat(per*float64(long-3), forever)), flat(0, forever))},
		},
	}
}

func errorBudgetSlow(e Environment) Alert {
	e = e.inDays()
	b := errorBudget(e)
	hold := e.hold("ErrorBudgetBurnSlow", time.Hour)
	const per = 100.0
	over, under := slowPairs[0].burn*b.share*1.1, slowPairs[1].burn*b.share*0.9
	at := e.at(0, e.window(2*time.Hour), hold)
	failing := func(share float64) []Series {
		return e.updates(grow(0, per*(1-share), forever), grow(0, per*share, forever), flat(0, forever))
	}
	return Alert{
		Name: "ErrorBudgetBurnSlow", Severity: Warning, For: hold,
		Rules:       one(notAlternating(b.expr(e, slowPairs))),
		Summary:     "More ETF updates fail than the month's budget allows",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the updates failed within the last days; %s of them shall succeed, over 30 days.", percent(e.Alerts.SuccessObjective)),
		Runbook:     errorBudgetSection,
		Fires: []Scenario{{Name: "a share fails that uses the budget up three times too fast", Days: true, At: at, Series: failing(over),
			Fires: []Firing{{Alert: "ErrorBudgetBurnSlow", Value: over}}}},
		Silent: []Scenario{{Name: "a little less fails than the budget allows", Days: true, At: at, Series: failing(under)}},
	}
}

func freshnessBudgetFast(e Environment) Alert {
	e = e.inDays()
	stale, hold := e.Alerts.StaleAfter, e.hold("FreshnessBudgetBurnFast", 5*time.Minute)
	k := e.steps(stale) + e.steps(e.window(time.Hour)) + e.steps(hold) + 4
	at, again := e.after(k), e.steps(e.window(30*time.Minute))+2
	old, first := flat(e.step().Seconds(), k), e.steps(stale)+4
	return Alert{
		Name: "FreshnessBudgetBurnFast", Severity: Warning, For: hold,
		Rules:   one(freshBudget(e).expr(e, fastPairs)),
		Summary: "ETF data are out of date so long that the month's budget will be gone within days",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the last hours the data were older than %s; for %s of the time they shall not be, over 30 days.",
			promDuration(stale), percent(e.Alerts.FreshObjective)),
		Runbook:  freshnessSection,
		Inhibits: []string{"FreshnessBudgetBurnSlow"},
		Fires: []Scenario{{Name: "data are stale for an hour", Days: true, At: at, Series: []Series{e.of("etf_last_update_timestamp", old)},
			Fires: []Firing{{Alert: "FreshnessBudgetBurnFast", Value: 1}}}},
		Silent: []Scenario{{Name: "data were stale for an hour, and are fresh again", Days: true, At: at + e.after(again),
			Series: []Series{e.of("etf_last_update_timestamp", then(old, flat(at.Seconds(), forever)))}},
			{Name: "data are stale for the first minutes that Prometheus looks", Days: true, At: e.after(first + 1 + e.steps(hold)),
				Series: []Series{e.of("etf_last_update_timestamp", then(gone(first), flat(e.step().Seconds(), forever)))}}},
	}
}

func freshnessBudgetSlow(e Environment) Alert {
	e = e.inDays()
	b := freshBudget(e)
	stale, hold := e.Alerts.StaleAfter, e.hold("FreshnessBudgetBurnSlow", time.Hour)
	day := e.steps(e.window(24 * time.Hour))
	// Updates all day long, then none until data were stale for so many steps.
	course := func(steps int) Scenario {
		k := e.steps(stale) + steps
		return Scenario{Days: true, At: e.after(day + k + 2), Series: []Series{e.of("etf_last_update_timestamp",
			then(grow(e.step().Seconds(), e.step().Seconds(), day), flat(float64(day)*e.step().Seconds(), k), grow(float64(day+k)*e.step().Seconds(), e.step().Seconds(), forever)))}}
	}
	much := course(int(slowPairs[0].burn*b.share*float64(day)) + e.steps(hold) + 10)
	much.Name, much.Fires = "data are stale for more of a day than three days allow", []Firing{{Alert: "FreshnessBudgetBurnSlow"}}
	little := course(int(0.6 * b.share * float64(day)))
	little.Name = "data are stale for less of a day than the budget allows"
	return Alert{
		Name: "FreshnessBudgetBurnSlow", Severity: Warning, For: hold,
		Rules:   one(b.expr(e, slowPairs)),
		Summary: "ETF data are out of date for longer than the month's budget allows",
		Description: fmt.Sprintf("The data were older than %s for more of the last days than they may be; for %s of the time they shall not be, over 30 days.",
			promDuration(stale), percent(e.Alerts.FreshObjective)),
		Runbook: freshnessSection,
		Fires:   []Scenario{much},
		Silent:  []Scenario{little},
	}
}

// percent writes a share for a person.
func percent(share float64) string { return decimal(math.Round(share*1e4)/100) + "%" }
