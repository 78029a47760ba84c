package monitoring

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// A budget is what an objective leaves for failure within 30 days.
type budget struct {
	share  float64 // of failure, that the objective allows
	ratio  func(time.Duration) string
	enough string // further condition: enough has happened to speak of a share
	looked string // a record that must be as old as the longest window: a share of less says too much
}

// A burn is too fast when in all of its windows the budget is used up so many
// times faster than it allows: the longest says that it matters, those after
// it that it still goes on.
type burn struct {
	times   float64
	windows []time.Duration
}

// With these, 2 % of the budget of 30 days are gone within an hour, 5 % within
// six; and 10 % within a day or three. What calls everybody looks at five
// minutes in any case: failures leave these before UpdatesFailing, which keeps
// it back, is over, so that nobody is called for what is mended.
var (
	fastBurns = []burn{
		{14.4, []time.Duration{time.Hour, 5 * time.Minute}},
		{6, []time.Duration{6 * time.Hour, 30 * time.Minute, 5 * time.Minute}},
	}
	slowBurns = []burn{
		{3, []time.Duration{24 * time.Hour, 2 * time.Hour}},
		{1, []time.Duration{72 * time.Hour, 6 * time.Hour}},
	}
)

// expr is true when one of the burns is too fast.
func (b budget) expr(e Environment, burns []burn) string {
	var any []string
	for _, one := range burns {
		var all []string
		for _, w := range one.windows {
			all = append(all, fmt.Sprintf("%s > %s", b.ratio(w), decimal(math.Round(one.times*b.share*1e6)/1e6)))
		}
		if b.looked != "" {
			all = append(all, fmt.Sprintf("on () present_over_time(%s[%s] offset %s)", b.looked,
				promDuration(e.window(one.windows[1])), promDuration(e.window(one.windows[0]))))
		}
		any = append(any, "("+strings.Join(all, " and ")+")")
	}
	text := strings.Join(any, "\nor\n")
	if b.enough != "" {
		text = "(\n" + text + "\n)\nand on () " + b.enough
	}
	return text
}

// enoughUpdates must have ended before the budget of updates is looked at:
// within the hour for the fast alert, within the day for the slow one.
const enoughUpdates = 10

func errorBudget(e Environment, enough time.Duration) budget {
	return budget{share: 1 - e.Alerts.SuccessObjective, ratio: failedShare, enough: fmt.Sprintf("%s >= %d", endedIn(enough), enoughUpdates)}
}

func freshBudget(e Environment) budget {
	return budget{share: 1 - e.Alerts.FreshObjective, ratio: staleShare, looked: recordFresh}
}

var errorBudgetSection = Section{
	Means: "Fewer updates succeed than was promised. It need not be most of them: a share that is too high for too long uses up what 30 days allow. The slow alert looks back for up to six hours after what caused it is mended.",
	Look: []string{
		"`sum by (status) (increase(etf_updates_total[1h]))` in Prometheus; the same over a day.",
		"`select etf_id, error, count(*) from etf_updates where status = 'failed' and completed_at > now() - interval '1 day' group by 1, 2 order by 3 desc` in the database: always the same ETFs, or all?",
	},
	Run: []string{
		"Always the same ETFs: mend their symbols; `pre:data` shows what else is wrong with them.",
		"All, since a deployment: `rollback:plan`, then `rollback:immediate`.",
	},
}

func errorBudgetFast(e Environment) Alert {
	hold := e.hold("ErrorBudgetBurnFast", 5*time.Minute)
	fires, silent := errorFastScenarios(e, hold)
	return Alert{
		Name: "ErrorBudgetBurnFast", Severity: Critical, For: hold,
		Rules:       one(notAlternating(errorBudget(e, time.Hour).expr(e, fastBurns))),
		Summary:     "ETF updates fail so fast that the month's budget will be gone within days",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the updates failed within the last hours; %s of them shall succeed, over 30 days.", percent(e.Alerts.SuccessObjective)),
		Runbook:     errorBudgetSection,
		Fires:       fires,
		Silent:      silent,
	}
}

func errorBudgetSlow(e Environment) Alert {
	e = e.inDays()
	hold := e.hold("ErrorBudgetBurnSlow", time.Hour)
	fires, silent := errorSlowScenarios(e, hold)
	return Alert{
		Name: "ErrorBudgetBurnSlow", Severity: Warning, For: hold,
		Rules:       one(notAlternating(errorBudget(e, 24*time.Hour).expr(e, slowBurns))),
		Summary:     "More ETF updates fail than the month's budget allows",
		Description: fmt.Sprintf("{{ $value | humanizePercentage }} of the updates failed within the last days; %s of them shall succeed, over 30 days.", percent(e.Alerts.SuccessObjective)),
		Runbook:     errorBudgetSection,
		Fires:       fires,
		Silent:      silent,
	}
}

// freshnessBudget has no fast one: data do not become stale for minutes, and
// for hours is what UpdatesStale calls for.
func freshnessBudget(e Environment) Alert {
	e = e.inDays()
	stale, hold := e.Alerts.StaleAfter, e.hold("FreshnessBudgetBurn", time.Hour)
	fires, silent := freshnessScenarios(e, hold)
	return Alert{
		Name: "FreshnessBudgetBurn", Severity: Warning, For: hold,
		Rules:   one(freshBudget(e).expr(e, slowBurns)),
		Summary: "ETF data are out of date for longer than the month's budget allows",
		Description: fmt.Sprintf("The data were older than %s for more of the last days than they may be; for %s of the time they shall not be, over 30 days.",
			promDuration(stale), percent(e.Alerts.FreshObjective)),
		Runbook: Section{
			Means: "Data were out of date for longer than was promised, in one piece or in several.",
			Look: []string{
				"`etf:data_age:seconds` in Prometheus, over the last days: when did it rise, and what ended it?",
				"`history`: did deployments or pauses fall into these times?",
			},
			Run: []string{
				"`verify:tasks`: which entry of the schedule was missed?",
				"`verify:update` sends one update through.",
			},
		},
		Fires:  fires,
		Silent: silent,
	}
}

// percent writes a share for a person.
func percent(share float64) string { return decimal(math.Round(share*1e4)/100) + "%" }
