package monitoring

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.yaml.in/yaml/v3"
)

// A mutant is an alert with one of its rules changed. Tests in which it should
// fire, or those in which it should not, have to notice.
type mutant struct {
	alert, what string
	rules       []rule
	fires       bool
	must        bool // an alert that is not seen to differ is not tested at all
}

// same are alerts as they are: their tests pass with what they rest upon alone.
const same = "is as it should be"

// Each rule of each alert is tested: one that never fires any more is noticed
// by a test in which it should, one that always fires by one in which it
// should not. With ETF_MUTANTS=all, times that are doubled and limits that are
// doubled or halved are told of too: not each of them is worth a test.
func TestMutantsAreNoticed(t *testing.T) {
	files, err := Generate(production(t), AlertRules, AlertTests, AlertDayTests)
	if err != nil {
		t.Fatal(err)
	}
	f := alertFiles{tests: make([]testFile, 2)}
	for i, into := range []any{&f.rules, &f.tests[0], &f.tests[1]} {
		if err := yaml.Unmarshal(files[i].Content, into); err != nil {
			t.Fatal(err)
		}
	}
	mutants := slices.DeleteFunc(f.mutants(), func(m mutant) bool { return !m.must && m.what != same && os.Getenv("ETF_MUTANTS") != "all" })
	noticed := make([]bool, len(mutants))
	turn := make(chan struct{}, 2)
	var all sync.WaitGroup
	for i, m := range mutants {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			noticed[i] = f.notices(t, m)
		})
	}
	all.Wait()
	var told []string
	for i, m := range mutants {
		switch text := m.alert + " " + m.what; {
		case noticed[i] == (m.what != same):
		case m.what == same:
			t.Errorf("%s, and its tests fail", text)
		case m.must:
			t.Errorf("no test notices when %s", text)
		default:
			told = append(told, text)
		}
	}
	if slices.Sort(told); told == nil {
		return
	}
	t.Logf("of %d, no test notices:\n%s", len(mutants), strings.Join(slices.Compact(told), "\n"))
}

// mutants are those of all alerting rules, and each alert as it is.
func (f alertFiles) mutants() (all []mutant) {
	rules := f.alerts()
	for i, r := range rules {
		own := slices.DeleteFunc(slices.Clone(rules), func(o rule) bool { return o.Alert != r.Alert })
		at := slices.IndexFunc(own, func(o rule) bool { return o.Expr == r.Expr })
		add := func(what string, fires, must bool, other rule) {
			changed := slices.Clone(own)
			changed[at] = other
			all = append(all, mutant{r.Alert, what, changed, fires, must})
		}
		if i == 0 || rules[i-1].Alert != r.Alert {
			add(same, true, false, r)
			add(same, false, false, r)
		}
		never, always, slow := r, r, r
		never.Expr, always.Expr = "vector(1) == 2", "vector(1)"
		add("never fires for "+r.Expr, true, true, never)
		if r.Alert != "Watchdog" {
			add("always fires for "+r.Expr, false, true, always)
		}
		if d := durationOf(r.For); d > 0 {
			slow.For = promDuration(2 * d)
			add("holds twice as long", true, false, slow)
		}
		for _, where := range limit.FindAllStringSubmatchIndex(r.Expr, -1) {
			n, err := strconv.ParseFloat(r.Expr[where[2]:where[3]], 64)
			if err != nil || n == 0 {
				continue
			}
			for factor, fires := range map[float64]bool{2: true, 0.5: false} {
				other := r
				other.Expr = r.Expr[:where[2]] + decimal(factor*n) + r.Expr[where[3]:]
				add(fmt.Sprintf("has %s instead of %s", decimal(factor*n), decimal(n)), fires, false, other)
			}
		}
	}
	return all
}

var limit = regexp.MustCompile(`[<>]=? (?:bool )?([0-9.e+-]+)`)

// notices reports whether one of the tests that name the alert fails. They are
// run with no more rules than the alert rests upon.
func (f alertFiles) notices(t *testing.T, m mutant) bool {
	rests := f.restsUpon(m.alert)
	g := ruleGroup{Name: serviceName, Rules: slices.DeleteFunc(f.all(), func(r rule) bool { return !slices.Contains(rests, r.Record) })}
	g.Rules = append(g.Rules, m.rules...)
	for _, file := range f.tests { // those over days only where the others have not noticed
		file.Tests = about(file.Tests, m.alert, m.fires)
		file.RuleFiles = []string{"rules.yml"}
		if len(file.Tests) == 0 {
			continue
		}
		dir := t.TempDir()
		for name, content := range map[string]any{"rules.yml": ruleFile{[]ruleGroup{g}}, "tests.yml": file} {
			f, err := yamlFile(name, "alerts:generate", content)
			if err == nil {
				_, err = Write(dir, []File{f})
			}
			if err != nil {
				t.Error(err)
			}
		}
		out, err := exec.CommandContext(t.Context(), "promtool", "test", "rules", filepath.Join(dir, "tests.yml")).CombinedOutput()
		if err != nil && !strings.Contains(string(out), "got:") {
			t.Errorf("%s: %s: %v\n%s", m.alert, m.what, err, out)
		}
		if err != nil {
			return true
		}
	}
	return false
}

// about leaves the tests in which an alert fires, or does not, and what they
// say of it.
func about(tests []alertTest, alert string, fires bool) (all []alertTest) {
	for _, one := range tests {
		one.Queries = nil
		one.Alerts = slices.DeleteFunc(slices.Clone(one.Alerts), func(a alertExpect) bool {
			return a.Alert != alert || len(a.Expect) > 0 != fires
		})
		if len(one.Alerts) > 0 {
			all = append(all, one)
		}
	}
	return all
}
