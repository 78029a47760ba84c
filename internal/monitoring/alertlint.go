package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// RunbookFile is where the runbook is written.
const RunbookFile = "RUNBOOK.md"

// alertFiles are the files that alerts:test judges, as they lie in a folder.
type alertFiles struct {
	rules        ruleFile
	tests        []testFile
	alertmanager alertmanagerFile
	routes       expectedRoutes
	dashboard    dashboard
	runbook      string

	// What they are held against.
	known    func(series string) bool // somebody exposes it
	jobs     []string                 // that are collected or pushed; nil: not known
	contacts []string                 // who is called, by receiver
	called   bool                     // there is an Alertmanager to call them
}

// readAlertFiles reads what was generated for an environment, with the runbook.
func readAlertFiles(e Environment) (f alertFiles, err error) {
	read := func(name string, into any, parse func([]byte, any) error) {
		data, problem := os.ReadFile(filepath.Join(e.Folder, name))
		if problem == nil {
			if problem = parse(data, into); problem != nil {
				problem = fmt.Errorf("%s: %w", name, problem)
			}
		}
		err = errors.Join(err, problem)
	}
	f.known, f.called, f.tests, f.jobs = e.Known, e.Alertmanager != nil, make([]testFile, 2), []string{pushJob}
	for _, j := range e.Jobs {
		f.jobs = append(f.jobs, j.Name)
	}
	for _, c := range e.Alerts.Contacts {
		f.contacts = append(f.contacts, c.Level)
	}
	read(RulesFile, &f.rules, yaml.Unmarshal)
	read(TestsFile, &f.tests[0], yaml.Unmarshal)
	read(DayTestsFile, &f.tests[1], yaml.Unmarshal)
	read(AlertmanagerFile, &f.alertmanager, yaml.Unmarshal)
	read(RoutesFile, &f.routes, yaml.Unmarshal)
	read(DashboardFile, &f.dashboard, json.Unmarshal)
	data, problem := os.ReadFile(runbookOf(e))
	f.runbook = string(data)
	return f, errors.Join(err, problem)
}

// lint finds what promtool and amtool pass over. Each problem names its file
// and object.
func (f alertFiles) lint() (problems []string) {
	for _, look := range []func(alertFiles) []string{
		lintMetrics, lintLabels, lintRunbook, lintTests, lintSilent, lintInputs,
		lintReceivers, lintContacts, lintUnreachable, lintGroups, lintRoutes,
		lintInhibitions, lintUrgency, lintCircles, lintDashboard,
	} {
		problems = append(problems, look(f)...)
	}
	return problems
}

// all are the rules, in their order.
func (f alertFiles) all() (all []rule) {
	for _, g := range f.rules.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// alerts are the alerting rules.
func (f alertFiles) alerts() []rule {
	return slices.DeleteFunc(f.all(), func(r rule) bool { return r.Alert == "" })
}

// alwaysFires are alerts that show that alerts arrive: they look at nothing.
func (r rule) alwaysFires() bool {
	return r.Labels[labelSeverity] == string(None) || len(MetricsIn(r.Expr)) == 0
}

// labelSet is what a rule's alerts carry for certain.
func (r rule) labelSet() map[string]string {
	all := maps.Clone(r.Labels)
	if all == nil {
		all = map[string]string{}
	}
	all["alertname"] = r.Alert
	for name, value := range all {
		all[name] = strings.ReplaceAll(value, `{{"{{"}}`, "{{")
	}
	return all
}

// lintMetrics finds rules that ask for nothing that is there.
func lintMetrics(f alertFiles) (problems []string) {
	for _, r := range f.all() {
		at := RulesFile + ": " + r.Alert + r.Record
		if scanned(r.Expr).unnamed {
			problems = append(problems, at+": asks for series without naming the metric: nobody can tell whether there are any")
		}
		asked := MetricsIn(r.Expr)
		if len(asked) == 0 && r.Alert != "Watchdog" {
			problems = append(problems, at+": asks for no metric: it says the same whatever happens")
		}
		for _, name := range asked {
			if _, i := f.recording(name); i < 0 && !f.known(name) {
				problems = append(problems, at+": "+name+" is neither in the catalog nor recorded, or nobody exposes it here: the expression never finds it")
			}
		}
	}
	return problems
}
