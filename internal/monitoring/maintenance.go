package monitoring

import "strings"

// DrillAlert is the name of the alert that a drill sends. No rule has it.
const DrillAlert = "AlertsDrill"

// neverSilenced are the alerts that a maintenance must not hide: that alerts
// arrive at all, that a maintenance has broken off, and a drill.
var neverSilenced = []string{"Watchdog", "DeploymentInterrupted", DrillAlert}

// AlertLabels are those that every alert of an environment has.
func AlertLabels(environment string) map[string]string {
	return map[string]string{"service": "etf_service", "environment": environment}
}

// MaintenanceMatchers match the alerts of an environment that a cut-over
// causes, and no other environment's.
func MaintenanceMatchers(environment string) []Matcher {
	labels := AlertLabels(environment)
	return []Matcher{
		{Name: "service", Value: labels["service"], IsEqual: true},
		{Name: "environment", Value: labels["environment"], IsEqual: true},
		{Name: "alertname", Value: strings.Join(neverSilenced, "|"), IsRegex: true}, // none of these
	}
}
