package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// Whatever deploy.yaml may set, the tests that are generated from it succeed:
// here each setting with unusual values, and the tests of the alerts that
// depend on it.
func TestAnySettingPassesItsTests(t *testing.T) {
	changes := map[string]func(*config.Config){}
	add := func(about, name string, change func(*config.Config)) { changes[about+"; "+name] = change }
	for _, d := range []time.Duration{10 * time.Minute, 30 * time.Minute, 72 * time.Hour} {
		add("UpdatesStale UpdatesFailing FreshnessBudgetBurn", fmt.Sprint("stale_after ", d), func(c *config.Config) { c.Alerts.StaleAfter = d })
	}
	for _, share := range []float64{0.993, 0.995} {
		add("FreshnessBudgetBurn", fmt.Sprint("fresh_objective ", share), func(c *config.Config) {
			c.Alerts.FreshObjective, c.Alerts.StaleAfter = share, 4*time.Hour
		})
	}
	for _, d := range []time.Duration{5 * time.Minute, 3 * time.Hour} {
		add("UpdateStuck", fmt.Sprint("stuck_after ", d), func(c *config.Config) { c.Thresholds.StuckAfter = d })
	}
	for _, d := range []time.Duration{time.Second, time.Minute, 2 * time.Minute} {
		add("TargetDown DependencyDown MetricsInconsistent", fmt.Sprint("interval ", d), func(c *config.Config) {
			c.Monitoring.Interval = d
			c.Alerts.For = map[string]time.Duration{"TargetDown": 3 * time.Minute}
			for i, j := range c.Monitoring.Jobs {
				c.Monitoring.Jobs[i].Targets = append(slices.Clone(j.Targets), fmt.Sprintf("second%d.example.com:1", i), fmt.Sprintf("third%d.example.com:1", i))
			}
		})
	}
	add(scenarios, "stuck_after 3h", func(c *config.Config) { c.Thresholds.StuckAfter, c.Alerts.StaleAfter = 3*time.Hour, 4*time.Hour })
	for _, scale := range []float64{0.1, 0.5} {
		add("TargetDown NotificationsFailing", fmt.Sprint("scale ", scale), func(c *config.Config) {
			c.Alerts.Scale = scale
			c.Monitoring.Interval, c.Monitoring.Evaluation = 15*time.Second, 15*time.Second
		})
	}
	for _, name := range config.HeldAlerts {
		for _, d := range []time.Duration{0, 3 * time.Hour} {
			add(name, fmt.Sprint("for ", d), func(c *config.Config) { c.Alerts.For = map[string]time.Duration{name: d} })
		}
	}
	for _, name := range slices.Sorted(maps.Keys(changes)) {
		alerts, _, _ := strings.Cut(name, ";")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			passes(t, changes[name], strings.Fields(alerts))
		})
	}
}

// scenarios are the tests of whole courses of events.
const scenarios = "trap"

// passes judges the rules and tests of some alerts with a setting changed.
func passes(t *testing.T, change func(*config.Config), alerts []string) {
	c, err := config.LoadWith(deployYAML, Committed, config.Options{Needs: needs})
	if err != nil {
		t.Fatal(err)
	}
	change(c)
	e, err := FromConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	files, err := Generate(e, AlertRules, AlertTests, AlertDayTests)
	if err != nil {
		t.Fatal(err)
	}
	if rules := slices.Clone(alerts); rules[0] != scenarios { // those want all rules
		for name, beside := range map[string]string{"ErrorBudgetBurnFast": "UpdatesFailing", "DeploymentInterrupted": "NoWorkers"} {
			if slices.Contains(alerts, name) { // its scenarios speak of that one, too
				rules = append(rules, beside)
			}
		}
		files[0] = lean(t, files[0], rules)
	}
	var tests []string
	for i, file := range []string{TestsFile, DayTestsFile} {
		var some bool
		if files[i+1], some = only(t, files[i+1], alerts); some {
			tests = append(tests, file)
		}
	}
	dir := t.TempDir()
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	sideBySide(t, dir, tests...)
}
