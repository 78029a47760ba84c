package monitoring

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// generatedAlerts writes the files of alerts, with the runbook, into a folder
// and reads them again.
func generatedAlerts(t testing.TB, e Environment) (alertFiles, string) {
	t.Helper()
	dir := t.TempDir()
	e.Folder = dir
	files, err := Generate(e, Prometheus, Dashboard, AlertRules, AlertTests, AlertDayTests, Alertmanager, AlertRoutes, presentRunbook)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	f, err := readAlertFiles(dir, runbookOf(e), e.Known)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

// Each rule of the lint finds what it is there for, in files that are else in
// order; what is generated passes.
func TestAlertLint(t *testing.T) {
	alert := func(f *alertFiles, name string) *rule {
		rules := f.rules.Groups[0].Rules
		return &rules[slices.IndexFunc(rules, func(r rule) bool { return r.Alert == name })]
	}
	for name, c := range map[string]struct {
		change func(*alertFiles)
		want   string // nothing: no problem
	}{
		"generated": {func(*alertFiles) {}, ""},
		"metric not in the catalog": {func(f *alertFiles) { alert(f, "HighErrorRate").Expr = "sum(rate(etf_error_total[5m])) > 1" },
			"HighErrorRate: etf_error_total is neither in the catalog nor recorded"},
		"panel without a unit": {func(f *alertFiles) { f.dashboard.Panels[1].FieldConfig = nil },
			DashboardFile + `: panel 2 "Since the last successful update": has no unit`},
		"metric in a string": {func(f *alertFiles) { alert(f, "HighErrorRate").Expr = `etf_errors_total{error_type="no_metric"} > 1` }, ""},
		"record that is not recorded": {func(f *alertFiles) { alert(f, "UpdatesFailing").Expr = "etf:nothing:rate > 1" },
			"UpdatesFailing: etf:nothing:rate is neither"},
		"metric of a job that is not collected": {func(f *alertFiles) {
			known := f.known
			f.known = func(s string) bool { return s != "celery_queue_length" && known(s) }
		}, "etf:queue_depth:sum: celery_queue_length is neither"},
		"series by name": {func(f *alertFiles) { alert(f, "HighErrorRate").Expr = `sum({__name__=~"etf_.*"}) > 1` },
			"HighErrorRate: asks for series without naming the metric"},
		"series by label alone": {func(f *alertFiles) { alert(f, "HighErrorRate").Expr = `up == 1 or {job="x"}` },
			"HighErrorRate: asks for series without naming the metric"},
		"alert without a section": {func(f *alertFiles) { alert(f, "NoWorkers").Annotations["runbook_url"] = "https://example.com/" },
			"NoWorkers: has no runbook_url with a section"},
		"section that does not exist": {func(f *alertFiles) { f.runbook = strings.ReplaceAll(f.runbook, "## NoWorkers\n", "## Workers\n") },
			"NoWorkers: its runbook_url names the section noworkers, which RUNBOOK.md does not have"},
		"alert without a firing test": {func(f *alertFiles) {
			for i := range f.tests {
				f.tests[i].Tests = slices.DeleteFunc(f.tests[i].Tests, func(one alertTest) bool {
					return slices.ContainsFunc(one.Alerts, func(a alertExpect) bool { return a.Alert == "NoWorkers" && len(a.Expect) > 0 })
				})
			}
		}, "NoWorkers: no test shows that it fires"},
		"alert without a silent test": {func(f *alertFiles) {
			for i := range f.tests {
				f.tests[i].Tests = slices.DeleteFunc(f.tests[i].Tests, func(one alertTest) bool {
					return slices.ContainsFunc(one.Alerts, func(a alertExpect) bool { return a.Alert == "BackupTooOld" && len(a.Expect) == 0 })
				})
			}
		}, "BackupTooOld: no test shows that it can be silent"},
		"receiver that is not used": {func(f *alertFiles) {
			f.alertmanager.Receivers = append(f.alertmanager.Receivers, receiver{Name: "night"})
		},
			"the receiver night is named by no route"},
		"route behind one without continue": {func(f *alertFiles) { f.alertmanager.Route.Routes[1].Continue = false },
			"route.routes[2] to secondary: no alert gets there"},
		"route whose labels no alert has": {func(f *alertFiles) { f.alertmanager.Route.Routes[3].Matchers = []string{`severity="page"`} },
			"route.routes[3] to escalation: no alert gets there"},
		"inhibition without equal": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Equal = nil },
			"inhibit_rules[0]: has no equal"},
		"inhibition equal by a label that alerts lack": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Equal = []string{"cluster"} },
			"may lack the label cluster"},
		"inhibition of itself": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Target = []string{`severity="critical"`} },
			"would inhibit others of its own name"},
		"inhibition by an alert that does not exist": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Source = []string{`alertname="Gone"`} },
			"no alert is its source, or none its target"},
		"alert that routes.yml leaves out": {func(f *alertFiles) { f.routes.Routes = f.routes.Routes[1:] },
			"BackupTooOld: nothing is said about whom it reaches"},
		"contact that is called too late": {func(f *alertFiles) { f.alertmanager.Route.Routes[2].Wait = "1h" },
			"reaches [{primary 10s} {secondary 1h}"},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := generatedAlerts(t, committed(t))
			c.change(&f)
			problems := f.lint()
			if c.want == "" && len(problems) > 0 {
				t.Errorf("finds %q", problems)
			}
			if c.want != "" && !slices.ContainsFunc(problems, func(p string) bool { return strings.Contains(p, c.want) }) {
				t.Errorf("finds %q, not %q", problems, c.want)
			}
		})
	}
}

// The judges are asked, and what they find is told with their words.
func TestJudges(t *testing.T) {
	_, dir := generatedAlerts(t, committed(t))
	e := committed(t)
	e.Folder = dir
	// What takes long is tested elsewhere.
	for _, file := range []string{TestsFile, DayTestsFile} {
		rewrite(t, filepath.Join(dir, file), func(f *testFile) {
			f.Tests = slices.DeleteFunc(f.Tests, func(one alertTest) bool { return !strings.HasPrefix(one.Name, "TargetDown") })
		})
	}
	faults := func() (all []string) {
		verdicts, err := TestAlerts(t.Context(), e, host.Local{})
		for _, v := range verdicts {
			if !v.OK && v.Judge != "lint" { // which misses the tests
				all = append(all, v.Judge+": "+v.Text)
			}
		}
		if !errors.Is(err, ErrAlertsFaulty) {
			t.Errorf("error %v", err)
		}
		return all
	}
	if all := faults(); all != nil {
		t.Errorf("what is generated is at fault: %q", all)
	}
	for _, c := range []struct{ file, old, new, judge, says string }{
		{RulesFile, "sum(etf_active_updates", "sum(etf_active_updates(", "promtool check rules", "parse error"},
		{RulesFile, `up{job="etf_service"} == 0`, `up{job="etf_service"} == 2`, "promtool test rules", "TargetDown"},
		{PrometheusFile, "scrape_interval: 15s", "scrape_interval: soon", "promtool check config", "not a valid duration"},
		{AlertmanagerFile, "receiver: secondary", "receiver: nobody", "amtool check-config", "undefined receiver"},
		{AlertmanagerFile, "continue: true", "continue: false", "amtool config routes test", "Expected receivers did not match"},
	} {
		path := filepath.Join(dir, c.file)
		good, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(good), c.old) {
			t.Fatalf("%s holds no %q (%v)", c.file, c.old, err)
		}
		if err := os.WriteFile(path, []byte(strings.Replace(string(good), c.old, c.new, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if all := faults(); !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, c.judge) && strings.Contains(s, c.says) }) {
			t.Errorf("%s with %q: no %s says %q: %q", c.file, c.new, c.judge, c.says, all)
		}
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func rewrite[T any](t testing.TB, path string, change func(*T)) {
	t.Helper()
	var v T
	data, err := os.ReadFile(path)
	if err == nil {
		err = yaml.Unmarshal(data, &v)
	}
	if err == nil {
		change(&v)
		data, err = yaml.Marshal(v)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A tool that is not there is named with its package, each once; files that
// are not there with the targets that make them.
func TestJudgesThatAreMissing(t *testing.T) {
	_, dir := generatedAlerts(t, committed(t))
	e := committed(t)
	e.Folder = dir
	t.Setenv("PATH", t.TempDir())
	_, err := TestAlerts(t.Context(), e, host.Local{}, "/nowhere/promtool")
	if !errors.Is(err, ErrToolMissing) {
		t.Fatalf("error %v", err)
	}
	for _, want := range []string{"promtool: a tool is missing: install it with: apt-get install --no-install-recommends prometheus\n",
		"amtool: a tool is missing: install it with: apt-get install --no-install-recommends prometheus-alertmanager", "/nowhere/promtool: "} {
		if strings.Count(err.Error()+"\n", want) != 1 {
			t.Errorf("%q is not there once in %v", want, err)
		}
	}
	e.Folder = t.TempDir()
	if _, err := TestAlerts(t.Context(), e, host.Local{}); err == nil || !strings.Contains(err.Error(), "mage generate") {
		t.Errorf("without files: %v", err)
	}
}

// Names with quotes, line ends and braces arrive as they are.
func TestAwkwardNamesAreRouted(t *testing.T) {
	e := committed(t)
	e.Name = "a\"b\\c\nd{{ .x }}"
	e.Alerts.Contacts[0].Chat = `#x{{ template "y" }}"`
	f, dir := generatedAlerts(t, e)
	if problems := f.lint(); len(problems) > 0 {
		t.Errorf("lint: %q", problems)
	}
	for _, argv := range amtoolCommands(dir, f.routes) {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
}
