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
	f, err := readAlertFiles(e)
	if err != nil {
		t.Fatal(err)
	}
	return f, dir
}

// alert is the first rule of an alert.
func (f alertFiles) alert(name string) *rule {
	rules := f.rules.Groups[0].Rules
	return &rules[slices.IndexFunc(rules, func(r rule) bool { return r.Alert == name })]
}

// quietTest is the first test in which an alert is silent.
func (f alertFiles) quietTest(alert string) *alertTest {
	for _, file := range f.tests {
		for i, one := range file.Tests {
			if slices.ContainsFunc(one.Alerts, func(a alertExpect) bool { return a.Alert == alert && len(a.Expect) == 0 }) {
				return &file.Tests[i]
			}
		}
	}
	return nil
}

// without leaves out the tests in which an alert fires, or does not.
func (f alertFiles) without(alert string, fires bool) {
	for i := range f.tests {
		f.tests[i].Tests = slices.DeleteFunc(f.tests[i].Tests, func(one alertTest) bool {
			return slices.ContainsFunc(one.Alerts, func(a alertExpect) bool { return a.Alert == alert && len(a.Expect) > 0 == fires })
		})
	}
}

func (f alertFiles) receiver(name string) *receiver {
	all := f.alertmanager.Receivers
	return &all[slices.IndexFunc(all, func(r receiver) bool { return r.Name == name })]
}

func (f *alertFiles) inhibit(source, target string) {
	f.alertmanager.Inhibit = append(f.alertmanager.Inhibit, inhibition{[]string{matcher("alertname", "=", source)},
		[]string{matcher("alertname", "=", target)}, []string{labelEnvironment, labelService}})
}

// A spoiling is a fault put into files that are else in order, and what the
// lint says of it; nothing: it is none.
type spoiling struct {
	change func(*alertFiles)
	want   string
}

// Each rule of the lint finds what it is there for; what is generated passes.
func TestAlertLint(t *testing.T) {
	e := production(t)
	_, e.Folder = generatedAlerts(t, e)
	for _, table := range []map[string]spoiling{spoiltRules, spoiltTests, spoiltRunbook, spoiltRoutes, spoiltInhibitions, spoiltDashboard} {
		for name, c := range table {
			t.Run(name, func(t *testing.T) {
				f, err := readAlertFiles(e)
				if err != nil {
					t.Fatal(err)
				}
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
}

// The judges are asked, and what they find is told with their words.
func TestJudges(t *testing.T) {
	_, dir := generatedAlerts(t, production(t))
	e := production(t)
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
	_, dir := generatedAlerts(t, production(t))
	e := production(t)
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
	e := production(t)
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
