package monitoring

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// A Rule of Prometheus: an alert, or a recording rule.
type Rule struct {
	Group       string
	Name        string
	Recording   bool
	Expr        string
	For         time.Duration
	KeepFiring  time.Duration
	Labels      map[string]string
	Annotations map[string]string
}

// String names the rule as a person would look for it.
func (r Rule) String() string { return r.Group + "/" + r.Name }

// ReadRules reads a rules file.
func ReadRules(data []byte) ([]Rule, error) {
	var file ruleFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("reading rules: %w", err)
	}
	var all []Rule
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			rule := Rule{Group: g.Name, Name: r.Alert + r.Record, Recording: r.Record != "", Expr: r.Expr, Labels: r.Labels, Annotations: r.Annotations}
			for _, d := range []struct {
				text string
				to   *time.Duration
			}{{r.For, &rule.For}, {r.KeepFiring, &rule.KeepFiring}} {
				if d.text == "" {
					continue
				}
				parsed, err := model.ParseDuration(d.text)
				if err != nil {
					return nil, fmt.Errorf("reading rules: %s: %w", rule, err)
				}
				*d.to = time.Duration(parsed)
			}
			all = append(all, rule)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("reading rules: there is none")
	}
	return all, nil
}

// CompareRules names each difference between the rules that should be loaded
// and those that are. sameExpr judges two expressions that are written
// differently.
func CompareRules(want, got []Rule, sameExpr func(a, b string) (bool, error)) ([]string, error) {
	var all []string
	wanted, loaded := numbered(want), numbered(got)
	for _, key := range slices.Sorted(maps.Keys(wanted)) {
		w := wanted[key]
		g, ok := loaded[key]
		if !ok {
			all = append(all, key+" is not loaded")
			continue
		}
		same := words(w.Expr) == words(g.Expr)
		if !same {
			var err error
			if same, err = sameExpr(w.Expr, g.Expr); err != nil {
				return nil, fmt.Errorf("comparing the expressions of %s: %w", key, err)
			}
		}
		if !same {
			all = append(all, fmt.Sprintf("%s: expr is %s, should be %s", key, short(g.Expr), short(w.Expr)))
		}
		for _, d := range []struct {
			name      string
			want, got time.Duration
		}{{"for", w.For, g.For}, {"keep_firing_for", w.KeepFiring, g.KeepFiring}} {
			if d.want != d.got {
				all = append(all, fmt.Sprintf("%s: %s is %s, should be %s", key, d.name, model.Duration(d.got), model.Duration(d.want)))
			}
		}
		all = append(all, compareMaps(key+": label ", w.Labels, g.Labels)...)
		all = append(all, compareMaps(key+": annotation ", w.Annotations, g.Annotations)...)
	}
	for _, key := range slices.Sorted(maps.Keys(loaded)) {
		if _, ok := wanted[key]; !ok {
			all = append(all, key+" is loaded, and should not be")
		}
	}
	return all, nil
}

// numbered tells rules of one name apart by their order: an alert may have
// several windows.
func numbered(rules []Rule) map[string]Rule {
	all := map[string]Rule{}
	for _, r := range rules {
		key := r.String()
		if r.Recording {
			key += " (recording)"
		}
		for n := 2; ; n++ {
			if _, taken := all[key]; !taken {
				break
			}
			key = fmt.Sprintf("%s #%d", strings.SplitN(key, " #", 2)[0], n)
		}
		all[key] = r
	}
	return all
}

func compareMaps(what string, want, got map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if g, ok := got[name]; !ok {
			all = append(all, what+name+" is missing")
		} else if words(g) != words(want[name]) {
			all = append(all, fmt.Sprintf("%s%s is %q, should be %q", what, name, short(g), short(want[name])))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[name]; !ok {
			all = append(all, what+name+" should not be there")
		}
	}
	return all
}

// words is a text without the way in which it is broken into lines.
func words(s string) string { return strings.Join(strings.Fields(s), " ") }

func short(s string) string {
	if r := []rune(words(s)); len(r) > 100 {
		return string(r[:99]) + "…"
	}
	return words(s)
}
