package monitoring

import (
	"fmt"
	"slices"
	"strings"
)

// lintInhibitions finds rules of inhibition that keep back too much, or nothing.
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

// inhibits are the places of the alerts that one alert keeps back by a rule.
func (f alertFiles) inhibits(one inhibition, source rule) (all []int) {
	from := source.labelSet()
	if !matches(one.Source, from) {
		return nil
	}
	for i, a := range f.alerts() {
		labels := a.labelSet()
		equal := !slices.ContainsFunc(one.Equal, func(name string) bool { return labels[name] != from[name] })
		if equal && matches(one.Target, labels) {
			all = append(all, i)
		}
	}
	return all
}

// lintUrgency finds alerts that are kept back by something less urgent, which
// does not call everybody, or by something that never ends.
func lintUrgency(f alertFiles) (problems []string) {
	urgency := []string{string(Warning), string(Critical)}
	alerts, seen := f.alerts(), map[string]bool{}
	add := func(problem string) {
		if !seen[problem] {
			seen[problem], problems = true, append(problems, problem)
		}
	}
	for i, one := range f.alertmanager.Inhibit {
		at := fmt.Sprintf("%s: inhibit_rules[%d]: ", AlertmanagerFile, i)
		for _, source := range alerts {
			for _, n := range f.inhibits(one, source) {
				target := alerts[n]
				is, should := source.Labels[labelSeverity], target.Labels[labelSeverity]
				if source.alwaysFires() {
					add(at + source.Alert + " always fires: " + target.Alert + " would never be sent")
				} else if slices.Index(urgency, is) < slices.Index(urgency, should) {
					add(fmt.Sprintf("%s%s (%s) would keep %s (%s) back, which calls more people: turn it round, or take it out", at, source.Alert, is, target.Alert, should))
				}
			}
		}
	}
	return problems
}

// lintCircles finds alerts that are kept back by what they keep back: none of
// them would be sent.
func lintCircles(f alertFiles) (problems []string) {
	alerts := f.alerts()
	next := make([][]int, len(alerts))
	for _, one := range f.alertmanager.Inhibit {
		for i, source := range alerts {
			next[i] = append(next[i], f.inhibits(one, source)...)
		}
	}
	done := map[int]bool{}
	var follow func(path []int)
	follow = func(path []int) {
		last := path[len(path)-1]
		if begin := slices.Index(path[:len(path)-1], last); begin >= 0 {
			var names []string
			for _, i := range path[begin:] {
				names = append(names, alerts[i].Alert)
			}
			problems = append(problems, fmt.Sprintf("%s: inhibit_rules: %s: they keep each other back, and none is sent", AlertmanagerFile, strings.Join(names, " → ")))
			return
		}
		if done[last] {
			return
		}
		for _, i := range next[last] {
			follow(append(slices.Clone(path), i))
		}
		done[last] = true
	}
	for i := range alerts {
		follow([]int{i})
	}
	return problems
}
