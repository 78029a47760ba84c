package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// promtool runs it, in a folder, and fails the test with what it prints.
func promtool(t testing.TB, dir string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "promtool", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// sideBySide runs promtool's tests of several files.
func sideBySide(t testing.TB, dir string, files ...string) {
	t.Helper()
	var all sync.WaitGroup
	for _, f := range files {
		all.Go(func() { promtool(t, filepath.Join(dir, filepath.Dir(f)), "test", "rules", filepath.Base(f)) })
	}
	all.Wait()
}

// Each alert says when it fires and when it does not, what to look at and what
// to run, and inhibits only what there is.
func TestCatalogIsWhole(t *testing.T) {
	e := production(t)
	all := Alerts(e)
	for i, a := range all {
		if slices.ContainsFunc(all[:i], func(b Alert) bool { return b.Name == a.Name }) {
			t.Errorf("%s is there twice", a.Name)
		}
		if a.Missing != "" {
			t.Errorf("%s is not generated for %s: %s", a.Name, e.Name, a.Missing)
		}
		if len(a.Fires) == 0 || len(a.Silent) == 0 && a.Name != "Watchdog" {
			t.Errorf("%s: fires in %d scenarios, is silent in %d", a.Name, len(a.Fires), len(a.Silent))
		}
		if a.Summary == "" || a.Description == "" || a.Runbook.Means == "" || len(a.Runbook.Look) == 0 || len(a.Runbook.Run) == 0 {
			t.Errorf("%s: summary, description, means, look or run is empty", a.Name)
		}
		for _, name := range a.Inhibits {
			if !slices.ContainsFunc(all, func(b Alert) bool { return b.Name == name }) {
				t.Errorf("%s inhibits %s, which does not exist", a.Name, name)
			}
		}
	}
	for _, s := range Scenarios(e) {
		for _, kept := range s.Inhibited {
			if !slices.ContainsFunc(s.Fires, func(f Firing) bool {
				return slices.ContainsFunc(all, func(a Alert) bool { return a.Name == f.Alert && slices.Contains(a.Inhibits, kept) })
			}) {
				t.Errorf("%s: nothing that fires keeps %s back", s.Name, kept)
			}
		}
	}
}

// No two alerts keep each other back: neither would be sent.
func TestInhibitionHasOneDirection(t *testing.T) {
	all := Alerts(production(t))
	inhibits := map[string][]string{}
	for _, a := range all {
		inhibits[a.Name] = a.Inhibits
	}
	var reach func(from, to string, seen map[string]bool) bool
	reach = func(from, to string, seen map[string]bool) bool {
		for _, next := range inhibits[from] {
			if next == to || !seen[next] && func() bool { seen[next] = true; return reach(next, to, seen) }() {
				return true
			}
		}
		return false
	}
	for _, a := range all {
		if reach(a.Name, a.Name, map[string]bool{}) {
			t.Errorf("%s is kept back by what it keeps back", a.Name)
		}
	}
}

// What is stale after a day has an escalation of its own: nothing that calls
// sooner keeps it back, or all would be called at once when that is over.
func TestNothingKeepsUpdatesStaleBack(t *testing.T) {
	for _, a := range Alerts(production(t)) {
		if slices.Contains(a.Inhibits, "UpdatesStale") {
			t.Errorf("%s keeps UpdatesStale back", a.Name)
		}
	}
}

// The nine traps are all among the scenarios.
func TestTrapsAreWhole(t *testing.T) {
	found := map[int]bool{}
	for _, s := range Scenarios(production(t)) {
		found[s.Trap] = true
	}
	for n := 1; n <= 9; n++ {
		if !found[n] {
			t.Errorf("trap %d is in no scenario", n)
		}
	}
}

// The rules do what the catalog says, as promtool sees it: for production, for
// shortened durations, and where other things are collected.
func TestAlertsFireAndStaySilent(t *testing.T) {
	for name, change := range map[string]func(*Environment){
		"production": func(*Environment) {},
		"shortened":  func(e *Environment) { *e = shortened(t, 0.1) },
		"celery alone": func(e *Environment) {
			e.Jobs = slices.DeleteFunc(e.Jobs, func(j Job) bool { return j.Name == JobRabbitMQ || j.Name == JobWorker })
		},
		"rabbitmq alone": func(e *Environment) {
			e.Jobs = slices.DeleteFunc(e.Jobs, func(j Job) bool { return j.Name == JobCelery || j.Name == JobWorker })
		},
		"several machines": func(e *Environment) {
			for i, j := range e.Jobs {
				if j.urgent() {
					e.Jobs[i].Targets = append(slices.Clone(j.Targets), "second:1", "third:1")
				}
			}
		},
		"by textfile": func(e *Environment) { e.SuiteJob = JobNode },
		"little is enough": func(e *Environment) {
			unusual(e, 1, 0.2, 0.999, 3*time.Hour)
			e.Alerts.For = map[string]time.Duration{"HighErrorRate": 0, "UpdatesFailing": 0, "UpdateStuck": 0, "UpdatesStale": 0,
				"ErrorBudgetBurnFast": 0, "ErrorBudgetBurnSlow": 0, "FreshnessBudgetBurn": 0}
		},
		"much is wanted": func(e *Environment) {
			unusual(e, 14, 0.65, 0.94, 50*time.Hour)
			e.Alerts.For = map[string]time.Duration{"HighErrorRate": 20 * time.Minute, "UpdatesFailing": 2 * time.Hour, "UpdateStuck": time.Hour,
				"UpdatesStale": time.Hour, "ErrorBudgetBurnFast": 20 * time.Minute, "ErrorBudgetBurnSlow": 3 * time.Hour, "FreshnessBudgetBurn": 3 * time.Hour}
		},
		"awkward names": func(e *Environment) {
			e.Name, e.Queue = "a\"b\\c\nd{{ .x }}", `q"{{ $value }}\`
		},
	} {
		t.Run(name, func(t *testing.T) {
			e := production(t)
			change(&e)
			files, err := Generate(e, AlertRules, AlertTests, AlertDayTests)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			tests, about := []string{TestsFile, DayTestsFile}, []string(nil)
			switch name {
			case "production":
			case "shortened": // the days are no others
				tests = tests[:1]
			case "little is enough", "much is wanted":
				about = []string{"HighErrorRate", "UpdateStuck", "UpdatesStale", "UpdatesFailing", "ErrorBudgetBurnFast"}
			default:
				about, tests = []string{"NoWorkers", "QueueGrowing", "TargetDown", "MetricsMissing", "UpdatesPausedTooLong"}, tests[:1]
			}
			if about != nil {
				files[0] = lean(t, files[0], about)
				for i := range tests {
					files[i+1], _ = only(t, files[i+1], about)
				}
			}
			if _, err := Write(dir, files); err != nil {
				t.Fatal(err)
			}
			promtool(t, dir, "check", "rules", RulesFile)
			sideBySide(t, dir, tests...)
		})
	}
}

// unusual sets what deploy.yaml may set for the alerts of updates and budgets.
func unusual(e *Environment, least int, share, objective float64, stale time.Duration) {
	e.Alerts.MinUpdates, e.Alerts.FailedShare, e.Alerts.StaleAfter = least, share, stale
	e.Alerts.SuccessObjective, e.Alerts.FreshObjective = objective, objective
}

// lean leaves the rules of these alerts, and what they rest upon: promtool
// judges each rule in each step, whatever is asked for.
func lean(t testing.TB, f File, alerts []string) File {
	t.Helper()
	var all alertFiles
	if err := yaml.Unmarshal(f.Content, &all.rules); err != nil {
		t.Fatal(err)
	}
	keep := slices.Clone(alerts)
	for _, name := range alerts {
		keep = append(keep, all.restsUpon(name)...)
	}
	g := ruleGroup{Name: serviceName, Rules: slices.DeleteFunc(all.all(), func(r rule) bool { return !slices.Contains(keep, r.Alert+r.Record) })}
	f, err := yamlFile(f.Path, "alerts:generate", ruleFile{[]ruleGroup{g}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// only leaves the tests of these alerts in a file, and says whether there are
// any.
func only(t testing.TB, f File, alerts []string) (File, bool) {
	t.Helper()
	var all testFile
	if err := yaml.Unmarshal(f.Content, &all); err != nil {
		t.Fatal(err)
	}
	all.Tests = slices.DeleteFunc(all.Tests, func(one alertTest) bool {
		return !slices.ContainsFunc(alerts, func(name string) bool { return strings.HasPrefix(one.Name, name+" ") })
	})
	f, err := yamlFile(f.Path, "alerts:generate", all)
	if err != nil {
		t.Fatal(err)
	}
	return f, len(all.Tests) > 0
}

// shortened is production with all durations scaled, as a test in the sandbox
// has them.
func shortened(t testing.TB, by float64) Environment {
	t.Helper()
	c, err := config.LoadWith(deployYAML, Committed, config.Options{Needs: needs})
	if err != nil {
		t.Fatal(err)
	}
	c.Alerts.Scale = by
	c.Monitoring.Interval, c.Monitoring.Evaluation = time.Second, time.Second
	for i := range c.Monitoring.Jobs {
		c.Monitoring.Jobs[i].Interval = 0
	}
	e, err := FromConfig(c)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Where nothing but the service and its workers is collected, alerts that could never fire
// are left out, and the files say which and why.
func TestWhatCannotFireIsLeftOut(t *testing.T) {
	e := production(t)
	e.Jobs = slices.DeleteFunc(e.Jobs, func(j Job) bool { return j.Name != JobService && j.Name != JobWorker })
	rules, err := AlertRules(e)
	if err != nil {
		t.Fatal(err)
	}
	book, err := Runbook(e, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"NoWorkers", "QueueGrowing", "UpdatesPausedTooLong", "BackupTooOld", "DeploymentInterrupted", "DependencyDown", "RulesFailing", "NotificationsFailing"} {
		text := string(rules.Content)
		if strings.Contains(text, "alert: "+name) || !strings.Contains(text, "# Not here: "+name+": ") {
			t.Errorf("%s is generated, or it is not said that it is not", name)
		}
		if _, section, _ := strings.Cut(string(book.Content), "## "+name+"\n"); !strings.HasPrefix(section, "\n**Not generated for ") {
			t.Errorf("the runbook does not say that %s is not generated", name)
		}
	}
	for _, f := range []string{"alerts:generate"} {
		if !strings.Contains(string(rules.Content), f) {
			t.Errorf("the rules do not name %s", f)
		}
	}
}

// The plan's own two rules through the same scenarios: what the table says of
// them is what promtool finds.
func TestThePlansRules(t *testing.T) {
	files, err := planTests(production(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	sideBySide(t, dir, "tests-false.yml", "tests-true.yml")
	plan, err := os.ReadFile("testdata/plan-alerting-rules.yml")
	if err != nil || string(plan) != planRules {
		t.Errorf("the plan's rules are not those of the plan: %v", err)
	}
}

// deploy.yaml can name each alert of the catalog whose time it can set, and
// no other; what it says is what the alert holds for.
func TestHeldAlertsAreTheCatalogs(t *testing.T) {
	e := production(t)
	e.Alerts.For = map[string]time.Duration{}
	for i, name := range config.HeldAlerts {
		e.Alerts.For[name] = time.Duration(i+7) * time.Hour
	}
	for _, a := range Alerts(e) {
		if held := slices.Contains(config.HeldAlerts, a.Name); held == (a.Name == "Watchdog") || a.For != e.Alerts.For[a.Name] {
			t.Errorf("%s: can be set: %t; holds for %s, wanted %s", a.Name, held, a.For, e.Alerts.For[a.Name])
		}
		delete(e.Alerts.For, a.Name)
	}
	for name := range e.Alerts.For {
		t.Errorf("the catalog has no %s, which deploy.yaml can name", name)
	}
}
