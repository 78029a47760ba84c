package monitoring

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/model"
)

// eachTest calls do for every test with the file that it stands in.
func (f alertFiles) eachTest(do func(at string, t alertTest)) {
	for i, name := range []string{TestsFile, DayTestsFile} {
		if i < len(f.tests) {
			for _, t := range f.tests[i].Tests {
				do(fmt.Sprintf("%s: test %q: ", name, t.Name), t)
			}
		}
	}
}

// lintTests wants a test for each alert in which it fires, and one in which it
// does not; what always fires needs none.
func lintTests(f alertFiles) (problems []string) {
	fires, silent := map[string]bool{}, map[string]bool{}
	f.eachTest(func(_ string, t alertTest) {
		for _, a := range t.Alerts {
			if len(a.Expect) > 0 {
				fires[a.Alert] = true
			} else {
				silent[a.Alert] = true
			}
		}
	})
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

// lintSilent finds tests in which an alert is silent for want of anything that
// it could fire for: without series that it looks at, or before its time.
func lintSilent(f alertFiles) (problems []string) {
	f.eachTest(func(at string, t alertTest) {
		for _, a := range t.Alerts {
			if len(a.Expect) > 0 {
				continue
			}
			rests := f.restsUpon(a.Alert)
			looked := func(in inputSeries) bool {
				s := scanned(in.Series)
				return len(s.selectors) > 0 && slices.Contains(rests, s.selectors[0].metric)
			}
			hold, after := f.shortestFor(a.Alert), durationOf(a.At)
			switch {
			case !slices.ContainsFunc(t.Input, looked):
				problems = append(problems, at+a.Alert+" is silent without any series that it looks at: give it one that nearly makes it fire")
			case after < hold:
				problems = append(problems, fmt.Sprintf("%s%s is silent after %s, when it could not have fired yet, as it must hold for %s: look later", at, a.Alert, a.At, hold))
			}
		}
	})
	return problems
}

// restsUpon are the series that an alert looks at, also by way of records.
func (f alertFiles) restsUpon(alert string) (all []string) {
	for _, r := range f.alerts() {
		if r.Alert == alert {
			all = append(all, MetricsIn(r.Expr)...)
		}
	}
	for i := 0; i < len(all); i++ {
		if r, recorded := f.recording(all[i]); recorded >= 0 {
			for _, name := range MetricsIn(r.Expr) {
				if !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	return all
}

// shortestFor is the time that some rule of an alert must hold.
func (f alertFiles) shortestFor(alert string) time.Duration {
	shortest := time.Duration(-1)
	for _, r := range f.alerts() {
		if d := durationOf(r.For); r.Alert == alert && (shortest < 0 || d < shortest) {
			shortest = d
		}
	}
	return max(shortest, 0)
}

// durationOf reads a duration of Prometheus' files; promtool and amtool tell of
// those that are none.
func durationOf(text string) time.Duration {
	d, err := model.ParseDuration(text)
	if err != nil {
		return 0
	}
	return time.Duration(d)
}

// lintInputs finds series in tests that nobody could ever expose: what is
// tested with them does not happen.
func lintInputs(f alertFiles) (problems []string) {
	f.eachTest(func(at string, t alertTest) {
		for _, in := range t.Input {
			for _, one := range scanned(in.Series).selectors {
				labels, known := f.labelsOf(one.metric)
				if !known {
					problems = append(problems, at+one.metric+" is neither in the catalog nor exposed by an exporter")
				}
				for _, m := range one.asks {
					if known && !slices.Contains(labels, m.label) {
						problems = append(problems, fmt.Sprintf("%s%s has no label %s: write one of %s", at, one.metric, m.label, names(labels)))
					} else if m.label != "job" { // one that is not collected yet may be tested
						if problem := f.wrongValue(one.metric, m); problem != "" {
							problems = append(problems, at+problem)
						}
					}
				}
			}
		}
	})
	return problems
}
