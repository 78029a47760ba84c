package monitoring

import (
	"strings"
	"time"
)

// DrillAlert is the name of the alert that a drill sends. No rule has it.
const DrillAlert = "AlertsDrill"

// causedByCutOver are the alerts that a cut-over causes, as regular expressions
// of their names: each says why. All others go on calling people, above all
// what a service that is stopped would need to start again: a database or a
// broker that dies meanwhile, a maintenance that has broken off.
var causedByCutOver = []string{
	"NoWorkers",             // they are stopped
	"QueueGrowing",          // what is due meanwhile waits for them
	"TargetDown",            // of the API, and of machines with workers alone: see stoppedJobs
	"UpdateStuck",           // while a long update is waited for none begins, and so no other ends
	"UpdatesFailing",        // an update that the stop cuts off counts as failed
	"HighErrorRate",         // so it does here
	"ErrorBudgetBurn.*",     // and here
	"FreshnessBudgetBurn.*", // data grow older while no update runs
	"UpdatesStale",          // the daily update may be due during the stop
	"MetricsMissing",        // the API answers before the workers, who count updates
	"MetricsInconsistent",   // each restart lets counters begin again, and an undo restarts once more
}

// stoppedJobs are the jobs that a cut-over stops. Alerts about others, such as
// the broker's, are nothing that it causes; those about no job in particular
// have no such label.
var stoppedJobs = []string{"", JobService, JobWorker}

// AlertLabels are those that every alert of an environment has.
func AlertLabels(environment string) map[string]string {
	return map[string]string{labelService: serviceName, labelEnvironment: environment}
}

// MaintenanceMatchers match the alerts of an environment that a cut-over
// causes, and no other environment's.
func MaintenanceMatchers(environment string) []Matcher {
	return []Matcher{
		{Name: labelService, Value: serviceName, IsEqual: true},
		{Name: labelEnvironment, Value: environment, IsEqual: true},
		{Name: "alertname", Value: strings.Join(causedByCutOver, "|"), IsRegex: true, IsEqual: true},
		{Name: "job", Value: strings.Join(stoppedJobs, "|"), IsRegex: true, IsEqual: true},
	}
}

// DrillLabels are those of a drill's alert, which everybody is called for. The
// last one tells it from every other drill's.
func DrillLabels(environment, id string) map[string]string {
	labels := AlertLabels(environment)
	labels["alertname"], labels[labelSeverity], labels["drill"] = DrillAlert, string(Critical), id
	return labels
}

// CalledAfter is how long an alert fires before a contact is called, the first
// being 0.
func (e Environment) CalledAfter(contact int) time.Duration { return e.delay(contact) }

// ToldOver is how long it takes at most until contacts hear that an alert has
// ended.
func (e Environment) ToldOver() time.Duration { return e.Alerts.Interval }

// Integrations are the ways by which Alertmanager calls a contact, as it names
// them itself.
func (e Environment) Integrations(c Contact) (ways []string) {
	if c.Email != "" && e.Alerts.SMTP.Host != "" {
		ways = append(ways, "email")
	}
	if c.Webhook != "" {
		ways = append(ways, "webhook")
	}
	if c.ChatURLFile != "" {
		ways = append(ways, "slack")
	}
	return ways
}
