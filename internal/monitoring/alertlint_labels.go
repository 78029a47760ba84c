package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// targetLabels are those that every series may have: of the target it comes
// from, and of what the suite pushes.
var targetLabels = []string{"job", "instance", labelEnvironment}

// labelsOf are the labels that series of a name may have; it is not ok where
// nobody here knows them.
func (f alertFiles) labelsOf(metric string) ([]string, bool) {
	if m, ok := Find(metric); ok {
		labels := slices.Clone(targetLabels)
		for _, l := range m.Labels {
			labels = append(labels, l.Name)
		}
		if strings.HasSuffix(metric, "_bucket") && m.Type == dto.MetricType_HISTOGRAM {
			labels = append(labels, "le")
		}
		if m.Source == Service && m.Type == dto.MetricType_GAUGE {
			labels = append(labels, "pid") // where it is not summed up over processes
		}
		return labels, true
	}
	if r, i := f.recording(metric); i >= 0 {
		s := scanned(r.Expr)
		labels, ok := s.visible(f.before(i).labelsOf, 0, s.size)
		for name := range r.Labels {
			labels = append(labels, name)
		}
		return labels, ok
	}
	labels, ok := exporterLabels[metric]
	labels = slices.Concat(labels, targetLabels)
	if strings.HasPrefix(metric, "ALERTS") {
		for _, r := range f.alerts() {
			for name := range r.Labels {
				labels = append(labels, name)
			}
		}
	}
	return labels, ok
}

// recording is the last rule that records a name, and its place.
func (f alertFiles) recording(name string) (rule, int) {
	all := f.all()
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Record == name {
			return all[i], i
		}
	}
	return rule{}, -1
}

// before are the files with the rules that stand before one: a record rests
// upon those, and never upon itself.
func (f alertFiles) before(i int) alertFiles {
	f.rules = ruleFile{[]ruleGroup{{Rules: f.all()[:i]}}}
	return f
}

// valuesOf are all that a label of a metric can have, if that is known.
func (f alertFiles) valuesOf(metric, label string) []string {
	m, ok := Find(metric)
	if i := slices.IndexFunc(m.Labels, func(l Label) bool { return l.Name == label }); ok && i >= 0 {
		return m.Labels[i].Values
	}
	return nil
}

// lintLabels holds the labels that rules speak of against those that the
// series have: a selector with another one never finds anything.
func lintLabels(f alertFiles) (problems []string) {
	for _, r := range f.all() {
		at := RulesFile + ": " + r.Alert + r.Record + ": "
		for _, problem := range f.wrongLabels(r.Expr) {
			problems = append(problems, at+problem)
		}
		s := scanned(r.Expr)
		labels, ok := s.visible(f.labelsOf, 0, s.size)
		for name := range r.labelSet() {
			labels = append(labels, name)
		}
		for _, key := range []string{"description", "summary"} {
			for _, m := range placeholder.FindAllStringSubmatch(r.Annotations[key], -1) {
				if ok && m[1] != "" && !slices.Contains(labels, m[1]) {
					problems = append(problems, at+"its "+key+" shows the label "+m[1]+", which its alerts do not have: it would be empty")
				}
			}
		}
	}
	return problems
}

// wrongLabels are the faults in the labels of one expression.
func (f alertFiles) wrongLabels(expr string) (problems []string) {
	s := scanned(expr)
	for _, one := range s.selectors {
		labels, known := f.labelsOf(one.metric)
		for _, m := range one.asks {
			if known && !slices.Contains(labels, m.label) {
				problems = append(problems, fmt.Sprintf("%s has no label %s: write one of %s", one.metric, m.label, names(labels)))
			} else if problem := f.wrongValue(one.metric, m); problem != "" {
				problems = append(problems, problem)
			}
		}
	}
	for _, a := range s.aggregations {
		labels, known := s.visible(f.labelsOf, a.from, a.to)
		for _, name := range a.labels {
			if known && !slices.Contains(labels, name) {
				problems = append(problems, fmt.Sprintf("sums up by or without the label %s, which nothing there has: write one of %s", name, names(labels)))
			}
		}
	}
	for _, name := range s.joins {
		has := func(one selector) bool {
			labels, known := f.labelsOf(one.metric)
			return !known || slices.Contains(labels, name)
		}
		if !slices.ContainsFunc(s.selectors, has) {
			problems = append(problems, "joins by the label "+name+", which nothing there has")
		}
	}
	return problems
}

// wrongValue says why a matcher finds, or leaves out, nothing.
func (f alertFiles) wrongValue(metric string, m labelMatch) string {
	values := f.valuesOf(metric, m.label)
	positive := m.op[0] == '='
	if m.label == "job" && positive { // of several that are asked for, one is enough
		if f.jobs != nil && !slices.ContainsFunc(f.jobs, func(job string) bool { return matchesValue(m, job) }) {
			return fmt.Sprintf("asks for the job %q, which is not collected: write one of %s", m.value, strings.Join(f.jobs, ", "))
		}
		return ""
	}
	if values == nil || m.op == "!=" && m.value == "" {
		return ""
	}
	for _, one := range alternatives(m) {
		if !slices.ContainsFunc(values, func(v string) bool {
			return matchesValue(labelMatch{m.label, strings.Replace(m.op, "!", "=", 1), one}, v)
		}) {
			return fmt.Sprintf("%s never has the %s %q: write one of %s", metric, m.label, one, strings.Join(values, ", "))
		}
	}
	return ""
}

// alternatives are what a matcher with a|b asks for, one by one: each of them
// shall find something.
func alternatives(m labelMatch) []string {
	if m.op[1:] != "~" || strings.ContainsAny(m.value, `()[]\`) {
		return []string{m.value}
	}
	return strings.Split(m.value, "|")
}

// equals reports whether a value is the matcher's, or matches it, whether or
// not the matcher wants that; it is not ok where its expression cannot be read.
func (m labelMatch) equals(value string) (equal, ok bool) {
	if m.op[len(m.op)-1] != '~' {
		return m.value == value, true
	}
	re, err := regexp.Compile("^(?:" + m.value + ")$")
	return err == nil && re.MatchString(value), err == nil
}

func matchesValue(m labelMatch, value string) bool {
	equal, _ := m.equals(value)
	return equal
}

func names(labels []string) string {
	if len(labels) == 0 {
		return "none, it has none"
	}
	slices.Sort(labels)
	return strings.Join(slices.Compact(labels), ", ")
}
