package monitoring

import (
	"strings"
	"time"
)

// DrillAlert is the name of the alert that a drill sends. No rule has it.
const DrillAlert = "AlertsDrill"

// neverSilenced are the alerts that a maintenance must not hide: that alerts
// arrive at all, that a maintenance has broken off, and a drill.
var neverSilenced = []string{"Watchdog", "DeploymentInterrupted", DrillAlert}

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
		{Name: "alertname", Value: strings.Join(neverSilenced, "|"), IsRegex: true}, // none of these
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
