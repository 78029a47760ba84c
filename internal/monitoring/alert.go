package monitoring

import (
	"cmp"
	"strings"
	"time"
)

// An Alert is one of the catalog, as it is in one environment. Rules, their
// tests, routes and the runbook follow from here.
type Alert struct {
	Name     string
	Severity Severity
	// For is how long it must hold. Where the expression says since when, it
	// looks at that itself (Since): a restart of Prometheus begins no new count.
	For   time.Duration
	Since bool
	Rules []AlertRule

	// Missing says why it cannot be generated here: an alert that could never
	// fire would be worse than none. Empty: it is generated.
	Missing string

	Summary     string // one line; may hold {{ $labels.x }}
	Description string // and {{ $value | humanizeDuration }}, humanizePercentage or printf
	Runbook     Section

	// Inhibits are the alerts that follow from this one: while it fires, they
	// are not sent. Those of a target are inhibited by that target's alone.
	Inhibits []string

	Fires  []Scenario
	Silent []Scenario
}

// A AlertRule is one of an alert: most have one; those that look at each job or
// metric have one for each, told apart by Labels.
type AlertRule struct {
	Expr     string
	Severity Severity // empty: the alert's
	Labels   map[string]string

	Summary, Description string // empty: the alert's
}

// A Section is what RUNBOOK.md says of an alert.
type Section struct {
	Means string   // what is wrong, and what it does to those who use the service
	Look  []string // how to find out more
	Run   []string // what to do; commands in backquotes
}

// Severity is how urgent an alert is.
type Severity string

// The severities.
const (
	Critical Severity = "critical" // calls everybody, one after the other
	Warning  Severity = "warning"  // wants to be looked at by the first two
	None     Severity = "none"     // shows that alerts arrive
)

// Labels that every alert has.
const (
	labelSeverity    = "severity"
	labelService     = "service"
	labelEnvironment = "environment"
	serviceName      = "etf_service"
)

// alertCatalog is every alert, as the runbook lists them.
var alertCatalog = []func(Environment) Alert{
	// Updates.
	highErrorRate, updateStuck, updatesStale, updatesFailing,
	// The budgets of both objectives.
	errorBudgetFast, errorBudgetSlow, freshnessBudget,
	// Workers and queue.
	noWorkers, queueGrowing,
	// What this suite has done and left.
	updatesPaused, backupTooOld, deploymentInterrupted,
	// What the others rest upon.
	targetDown, dependencyDown, metricsMissing, metricsInconsistent, rulesFailing, notificationsFailing, watchdog,
}

// Alerts is the catalog in an environment, with those that are Missing.
func Alerts(e Environment) []Alert {
	var all []Alert
	for _, one := range alertCatalog {
		all = append(all, one(e))
	}
	return all
}

// generated are the alerts that the environment has the metrics for.
func generated(e Environment) (all []Alert) {
	for _, a := range Alerts(e) {
		if a.Missing == "" {
			all = append(all, a)
		}
	}
	return all
}

// labels are those of one rule of the alert, as they arrive.
func (a Alert) labels(e Environment, r AlertRule) map[string]string {
	all := map[string]string{labelSeverity: string(a.Severity), labelService: serviceName, labelEnvironment: e.Name}
	if r.Severity != "" {
		all[labelSeverity] = string(r.Severity)
	}
	for name, value := range r.Labels {
		all[name] = value
	}
	return all
}

// anchor is the section of the alert in RUNBOOK.md.
func (a Alert) anchor() string { return strings.ToLower(a.Name) }

// annotations are the alert's texts, with placeholders. A rule's own labels
// are put in at once: Prometheus knows those of the expression only.
func (a Alert) annotations(e Environment, r AlertRule) map[string]string {
	all := map[string]string{"summary": cmp.Or(r.Summary, a.Summary), "description": cmp.Or(r.Description, a.Description),
		"runbook_url": plain(e.Alerts.Runbook) + "#" + a.anchor()}
	for key, text := range all {
		for name, value := range r.Labels {
			text = strings.ReplaceAll(text, "{{ $labels."+name+" }}", plain(value))
		}
		all[key] = text
	}
	return all
}

// one is the rule of an alert that has only one.
func one(expr string) []AlertRule { return []AlertRule{{Expr: expr}} }
