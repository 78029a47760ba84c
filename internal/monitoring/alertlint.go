package monitoring

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
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
	known        func(series string) bool // somebody exposes it
}

// readAlertFiles reads what was generated, with the runbook where it has one.
func readAlertFiles(folder, runbook string, known func(string) bool) (f alertFiles, err error) {
	read := func(name string, into any, parse func([]byte, any) error) {
		data, e := os.ReadFile(filepath.Join(folder, name))
		if e == nil {
			if e = parse(data, into); e != nil {
				e = fmt.Errorf("%s: %w", name, e)
			}
		}
		err = errors.Join(err, e)
	}
	f.known, f.tests = known, make([]testFile, 2)
	read(RulesFile, &f.rules, yaml.Unmarshal)
	read(TestsFile, &f.tests[0], yaml.Unmarshal)
	read(DayTestsFile, &f.tests[1], yaml.Unmarshal)
	read(AlertmanagerFile, &f.alertmanager, yaml.Unmarshal)
	read(RoutesFile, &f.routes, yaml.Unmarshal)
	read(DashboardFile, &f.dashboard, json.Unmarshal)
	data, e := os.ReadFile(runbook)
	f.runbook, err = string(data), errors.Join(err, e)
	return f, err
}

// lint finds what promtool and amtool pass over. Each problem names its file
// and object.
func (f alertFiles) lint() (problems []string) {
	for _, look := range []func(alertFiles) []string{
		lintMetrics, lintRunbook, lintTests, lintReceivers, lintUnreachable, lintInhibitions, lintRoutes, lintDashboard,
	} {
		problems = append(problems, look(f)...)
	}
	return problems
}

// alerts are the alerting rules.
func (f alertFiles) alerts() (all []rule) {
	for _, g := range f.rules.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				all = append(all, r)
			}
		}
	}
	return all
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

// byName finds a selector without a metric's name before its brace.
var byName = regexp.MustCompile(`__name__|(?:^|[^\w:\s]|\b(?:or|and|unless|bool)\b)\s*\{`)

func lintMetrics(f alertFiles) (problems []string) {
	recorded := map[string]bool{}
	for _, g := range f.rules.Groups {
		for _, r := range g.Rules {
			recorded[r.Record] = true
		}
	}
	for _, g := range f.rules.Groups {
		for _, r := range g.Rules {
			at := RulesFile + ": " + r.Alert + r.Record
			if byName.MatchString(quoted.ReplaceAllString(r.Expr, `""`)) {
				problems = append(problems, at+": asks for series without naming the metric: nobody can tell whether there are any")
			}
			for _, name := range MetricsIn(r.Expr) {
				if !recorded[name] && !f.known(name) {
					problems = append(problems, at+": "+name+" is neither in the catalog nor recorded, or nobody exposes it here: the expression never finds it")
				}
			}
		}
	}
	return problems
}

var heading = regexp.MustCompile(`(?m)^## (.+)$`)

func lintRunbook(f alertFiles) (problems []string) {
	sections := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(f.runbook, -1) {
		sections[strings.ReplaceAll(strings.ToLower(strings.TrimSpace(m[1])), " ", "-")] = true
	}
	for _, r := range f.alerts() {
		_, anchor, has := strings.Cut(r.Annotations["runbook_url"], "#")
		switch {
		case !has || anchor == "":
			problems = append(problems, RulesFile+": "+r.Alert+": has no runbook_url with a section")
		case !sections[anchor]:
			problems = append(problems, RulesFile+": "+r.Alert+": its runbook_url names the section "+anchor+", which "+RunbookFile+" does not have: run docs:runbook")
		}
	}
	return problems
}

// lintTests wants a test for each alert in which it fires, and one in which it
// does not; what always fires needs none.
func lintTests(f alertFiles) (problems []string) {
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, file := range f.tests {
		for _, t := range file.Tests {
			for _, a := range t.Alerts {
				if len(a.Expect) > 0 {
					fires[a.Alert] = true
				} else {
					silent[a.Alert] = true
				}
			}
		}
	}
	for _, r := range f.alerts() {
		if !fires[r.Alert] {
			problems = append(problems, TestsFile+": "+r.Alert+": no test shows that it fires")
			fires[r.Alert] = true
		}
		if !silent[r.Alert] && r.Alert != "Watchdog" {
			problems = append(problems, TestsFile+": "+r.Alert+": no test shows that it can be silent")
			silent[r.Alert] = true
		}
	}
	return problems
}

func lintReceivers(f alertFiles) (problems []string) {
	used := map[string]bool{}
	var walk func(r route)
	walk = func(r route) {
		used[r.Receiver] = true
		for _, one := range r.Routes {
			walk(one)
		}
	}
	walk(f.alertmanager.Route)
	for _, r := range f.alertmanager.Receivers {
		if !used[r.Name] {
			problems = append(problems, AlertmanagerFile+": the receiver "+r.Name+" is named by no route: nothing is ever sent to it")
		}
	}
	return problems
}

// lintUnreachable finds routes that no alert gets to: none has the labels, or
// an earlier route without continue takes them all.
func lintUnreachable(f alertFiles) (problems []string) {
	visited := map[string]bool{}
	for _, a := range f.alerts() {
		f.alertmanager.Route.visit(a.labelSet(), "", func(at string, _ route) { visited[at] = true })
	}
	var walk func(r route, at string)
	walk = func(r route, at string) {
		for i, one := range r.Routes {
			here := fmt.Sprintf("%s.routes[%d]", at, i)
			if !visited[here] {
				problems = append(problems, fmt.Sprintf("%s: route%s to %s: no alert gets there", AlertmanagerFile, here, one.Receiver))
			}
			walk(one, here)
		}
	}
	walk(f.alertmanager.Route, "")
	return problems
}

func lintInhibitions(f alertFiles) (problems []string) {
	for i, one := range f.alertmanager.Inhibit {
		at := fmt.Sprintf("%s: inhibit_rules[%d]: ", AlertmanagerFile, i)
		if len(one.Equal) == 0 {
			problems = append(problems, at+"has no equal: an alert of one environment would keep those of all others quiet")
		}
		sources, targets := 0, 0
		for _, a := range f.alerts() {
			labels := a.labelSet()
			isSource, isTarget := matches(one.Source, labels), matches(one.Target, labels)
			if isSource && isTarget {
				problems = append(problems, at+a.Alert+" would inhibit others of its own name")
			}
			for _, name := range one.Equal {
				if _, has := labels[name]; (isSource || isTarget) && !has {
					problems = append(problems, at+a.Alert+" may lack the label "+name+", and two alerts without it count as equal")
				}
			}
			if isSource {
				sources++
			}
			if isTarget {
				targets++
			}
		}
		if sources == 0 || targets == 0 {
			problems = append(problems, at+"no alert is its source, or none its target")
		}
	}
	return problems
}

// lintRoutes holds routes.yml against the rules and against the times after
// which each receiver is reached; amtool asserts the receivers only.
func lintRoutes(f alertFiles) (problems []string) {
	var expected []map[string]string
	for _, r := range f.routes.Routes {
		expected = append(expected, r.Labels)
		var got []reached
		f.alertmanager.Route.visit(r.Labels, "", func(_ string, to route) {
			if to.last {
				got = append(got, reached{to.Receiver, to.Wait})
			}
		})
		if !slices.Equal(got, r.Reach) {
			problems = append(problems, fmt.Sprintf("%s: %s reaches %v, expected %v", path.Base(RoutesFile), r.Labels["alertname"], got, r.Reach))
		}
	}
	for _, a := range f.alerts() {
		if !slices.ContainsFunc(expected, func(e map[string]string) bool { return maps.Equal(e, a.labelSet()) }) {
			problems = append(problems, path.Base(RoutesFile)+": "+a.Alert+": nothing is said about whom it reaches")
		}
	}
	return problems
}
