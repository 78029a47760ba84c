package monitoring

import (
	"bytes"
	"cmp"
	"fmt"
	"path"
	"strings"
)

// A ruleFile is one of Prometheus' rules.
type ruleFile struct {
	Groups []ruleGroup `yaml:"groups"`
}

type ruleGroup struct {
	Name  string `yaml:"name"`
	Rules []rule `yaml:"rules"`
}

type rule struct {
	Record      string            `yaml:"record,omitempty"`
	Alert       string            `yaml:"alert,omitempty"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for,omitempty"`
	KeepFiring  string            `yaml:"keep_firing_for,omitempty"`
	Labels      map[string]string `yaml:"labels,omitempty"`
	Annotations map[string]string `yaml:"annotations,omitempty"`
}

// AlertRules generates Prometheus' rules. They are one group, so that each
// sees the records of its own time.
func AlertRules(e Environment) (File, error) {
	g := ruleGroup{Name: serviceName}
	for _, r := range records(e) {
		g.Rules = append(g.Rules, rule{Record: r.Name, Expr: r.Expr})
	}
	for _, a := range generated(e) {
		for _, r := range a.Rules {
			out := rule{Alert: a.Name, Expr: r.Expr, Labels: map[string]string{}, Annotations: a.annotations(e, r)}
			for name, value := range a.labels(e, r) {
				out.Labels[name] = plain(value)
			}
			if a.For > 0 && !a.Since {
				out.For = promDuration(a.For)
			}
			g.Rules = append(g.Rules, out)
		}
	}
	f, err := yamlFile(RulesFile, "alerts:generate", ruleFile{[]ruleGroup{g}})
	f.Content = after(f.Content, missing(e))
	return f, err
}

// missing says in comments which alerts are not generated, and why.
func missing(e Environment) (text string) {
	for _, a := range Alerts(e) {
		if a.Missing != "" {
			text += fmt.Sprintf("# Not here: %s: %s.\n", a.Name, a.Missing)
		}
	}
	return text
}

// after puts a text behind the first line of a file.
func after(content []byte, text string) []byte {
	first, rest, _ := bytes.Cut(content, []byte("\n"))
	return bytes.Join([][]byte{first, append([]byte(text), rest...)}, []byte("\n"))
}

// A testFile is one of promtool's.
type testFile struct {
	RuleFiles  []string    `yaml:"rule_files"`
	Evaluation string      `yaml:"evaluation_interval"`
	Tests      []alertTest `yaml:"tests"`
}

type alertTest struct {
	Name     string        `yaml:"name"`
	Interval string        `yaml:"interval"`
	Input    []inputSeries `yaml:"input_series"`
	Alerts   []alertExpect `yaml:"alert_rule_test,omitempty"`
	Queries  []queryExpect `yaml:"promql_expr_test,omitempty"`
}

type inputSeries struct {
	Series string `yaml:"series"`
	Values string `yaml:"values"`
}

type alertExpect struct {
	At     string       `yaml:"eval_time"`
	Alert  string       `yaml:"alertname"`
	Expect []alertFired `yaml:"exp_alerts"`
}

type alertFired struct {
	Labels      map[string]string `yaml:"exp_labels"`
	Annotations map[string]string `yaml:"exp_annotations"`
}

type queryExpect struct {
	Expr    string        `yaml:"expr"`
	At      string        `yaml:"eval_time"`
	Samples []queryAnswer `yaml:"exp_samples"`
}

type queryAnswer struct {
	Labels string  `yaml:"labels"`
	Value  float64 `yaml:"value"`
}

// Where the tests of the rules are written.
const (
	TestsFile    = "alerts/etf_service.tests.yml"
	DayTestsFile = "alerts/etf_service.days.tests.yml"
)

// AlertTests generates promtool's tests: for each alert when it must fire and
// when it must not, then the scenarios. Those that take days are AlertDayTests.
func AlertTests(e Environment) (File, error) { return testsFile(e, TestsFile, false) }

// AlertDayTests generates those tests whose scenarios take days.
func AlertDayTests(e Environment) (File, error) { return testsFile(e, DayTestsFile, true) }

func testsFile(e Environment, name string, days bool) (File, error) {
	e.days = days
	f := testFile{RuleFiles: []string{path.Base(RulesFile)}, Evaluation: promDuration(e.after(1))}
	add := func(title string, s Scenario) {
		if s.Days == days {
			f.Tests = append(f.Tests, test(e, title, s))
		}
	}
	e.days = false // the catalog says itself what takes days
	for _, a := range generated(e) {
		for _, s := range a.Fires {
			add(a.Name+" fires: "+s.Name, s)
		}
		for _, s := range a.Silent {
			s.Silent = append(s.Silent, a.Name)
			add(a.Name+" does not fire: "+s.Name, s)
		}
	}
	for _, s := range Scenarios(e) {
		add(s.title(), s)
	}
	return yamlFile(name, "alerts:generate", f)
}

// test is a scenario as promtool runs it.
func test(e Environment, name string, s Scenario) alertTest {
	e.days = s.Days
	every := cmp.Or(s.Every, e.step())
	t := alertTest{Name: name, Interval: promDuration(every)}
	for _, one := range s.Series {
		t.Input = append(t.Input, inputSeries{one.selector(), one.Values.until(int(s.At/every) + 2)})
	}
	at := promDuration(s.At)
	var order []string
	expect := map[string][]alertFired{}
	for _, f := range s.Fires {
		if expect[f.Alert] == nil {
			order = append(order, f.Alert)
		}
		expect[f.Alert] = append(expect[f.Alert], fired(e, f))
	}
	for _, name := range append(order, s.Silent...) {
		t.Alerts = append(t.Alerts, alertExpect{At: at, Alert: name, Expect: append([]alertFired{}, expect[name]...)})
	}
	if s.Whole {
		all := append(order, s.Inhibited...)
		t.Queries = append(t.Queries, exactly(all, at, keptBackBy(e, all)...))
	}
	if s.Outlived != "" {
		t.Queries = append(t.Queries, outlived(e, s))
	}
	return t
}

// exactly expects these alerts and no other to fire, besides those that are of
// no interest.
func exactly(alerts []string, at string, besides ...string) queryExpect {
	q := queryExpect{At: at, Samples: []queryAnswer{}, Expr: fmt.Sprintf(`count by (alertname) (ALERTS{alertstate="firing", alertname!~%s})`,
		promString(strings.Join(append([]string{"Watchdog"}, besides...), "|")))}
	for _, name := range alerts {
		q.Samples = append(q.Samples, queryAnswer{fmt.Sprintf("{alertname=%s}", promString(name)), 1})
	}
	return q
}

// fired is an alert as it arrives.
func fired(e Environment, f Firing) alertFired {
	for _, a := range generated(e) {
		if a.Name != f.Alert {
			continue
		}
		for _, r := range a.Rules {
			if !within(r.Labels, f.Labels) {
				continue
			}
			out := alertFired{Labels: a.labels(e, r), Annotations: map[string]string{}}
			for name, value := range f.Labels {
				out.Labels[name] = value
			}
			for name, text := range a.annotations(e, r) {
				out.Annotations[name] = rendered(text, out.Labels, f.Value)
			}
			return out
		}
	}
	return alertFired{Labels: map[string]string{"alertname": f.Alert}}
}

func within(some, all map[string]string) bool {
	for name, value := range some {
		if all[name] != value {
			return false
		}
	}
	return true
}
