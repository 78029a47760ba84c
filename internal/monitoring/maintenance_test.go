package monitoring

import (
	"regexp"
	"slices"
	"testing"
)

// silenced reports whether a maintenance keeps back an alert of this name.
func silenced(name, job string) bool {
	for _, m := range MaintenanceMatchers("production") {
		value := map[string]string{"alertname": name, labelService: serviceName, labelEnvironment: "production", "job": job}[m.Name]
		if m.IsRegex && regexp.MustCompile("^(?:"+m.Value+")$").MatchString(value) != m.IsEqual || !m.IsRegex && (value == m.Value) != m.IsEqual {
			return false
		}
	}
	return true
}

// What is named here has to be what the catalog calls it.
func TestCausedByCutOverIsOfTheCatalog(t *testing.T) {
	all := Alerts(production(t))
	for _, name := range causedByCutOver {
		of := regexp.MustCompile("^(?:" + name + ")$")
		if !slices.ContainsFunc(all, func(a Alert) bool { return of.MatchString(a.Name) }) {
			t.Errorf("there is no alert %s", name)
		}
	}
	if slices.ContainsFunc(all, func(a Alert) bool { return a.Name == DrillAlert }) {
		t.Errorf("%s is a drill's, and a rule's", DrillAlert)
	}
}

// A cut-over hides what it causes, and neither a server that dies meanwhile nor
// that it has broken off itself.
func TestMaintenanceHidesWhatItCauses(t *testing.T) {
	for _, c := range []struct {
		name, job string
		want      bool
	}{
		{"NoWorkers", "", true}, {"TargetDown", JobService, true}, {"TargetDown", JobWorker, true}, {"ErrorBudgetBurnFast", "", true},
		{"TargetDown", JobRabbitMQ, false}, {"TargetDown", JobPostgres, false}, {"TargetDown", JobNode, false}, {"DependencyDown", JobPostgres, false},
		{"MetricsMissing", JobPushgateway, false}, {"Watchdog", "", false}, {"DeploymentInterrupted", "", false}, {"NotificationsFailing", "", false},
		{"BackupTooOld", "", false}, {"UpdatesPausedTooLong", "", false}, {DrillAlert, "", false}, {"NoWorkersOrSo", "", false},
	} {
		if got := silenced(c.name, c.job); got != c.want {
			t.Errorf("%s of %q: silenced %v, want %v", c.name, c.job, got, c.want)
		}
	}
}
