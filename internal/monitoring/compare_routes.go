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

// CompareRoutes names each difference between Alertmanager's file and the
// configuration that it says to have loaded: routes, receivers and inhibition.
// What it adds by default and the secrets that it masks are none.
func CompareRoutes(file, loaded []byte) ([]string, error) {
	var want, got struct {
		Route     any
		Receivers []map[string]any
		Inhibit   []any `yaml:"inhibit_rules"`
	}
	if err := yaml.Unmarshal(file, &want); err != nil {
		return nil, fmt.Errorf("reading the file: %w", err)
	}
	if want.Route == nil {
		return nil, fmt.Errorf("reading the file: it has no route")
	}
	if err := yaml.Unmarshal(loaded, &got); err != nil {
		return nil, fmt.Errorf("reading what Alertmanager has loaded: %w", err)
	}
	all := differences("route", want.Route, got.Route, true)
	all = append(all, compareReceivers(want.Receivers, got.Receivers)...)
	return append(all, differences("inhibit_rules", anyList(want.Inhibit), anyList(got.Inhibit), true)...), nil
}

// compareReceivers compares them by name: what is configured in the file has
// to be loaded, the rest are defaults.
func compareReceivers(want, got []map[string]any) (all []string) {
	named := func(list []map[string]any) map[string]map[string]any {
		m := map[string]map[string]any{}
		for _, r := range list {
			m[fmt.Sprint(r["name"])] = r
		}
		return m
	}
	wanted, loaded := named(want), named(got)
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		what := "receiver " + name
		g, ok := loaded[name]
		if !ok {
			all = append(all, what+" is not loaded")
			continue
		}
		for _, kind := range slices.Sorted(maps.Keys(g)) {
			if _, ok := wanted[name][kind]; !ok {
				all = append(all, what+": "+kind+" is loaded, and should not be")
			}
		}
		all = append(all, differences(what, wanted[name], g, false)...)
	}
	for _, name := range slices.Sorted(maps.Keys(loaded)) {
		if _, ok := wanted[name]; !ok {
			all = append(all, "receiver "+name+" is loaded, and should not be")
		}
	}
	return all
}

// masked stands for a secret in what Alertmanager tells.
const masked = "<secret>"

// byDefault are keys that Alertmanager writes into routes that do not have them.
var byDefault = map[string]any{"continue": false, "group_wait": "30s", "group_interval": "5m", "repeat_interval": "4h"}

// differences compares two trees. strict: what is there beyond the file is a
// difference too, unless it is a default.
func differences(at string, want, got any, strict bool) (all []string) {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return []string{at + " is not loaded"}
		}
		for _, key := range slices.Sorted(maps.Keys(w)) {
			if _, ok := g[key]; !ok && !isEmpty(w[key]) && w[key] != byDefault[key] {
				all = append(all, at+"."+key+" is not loaded")
				continue
			}
			if g[key] != nil {
				all = append(all, differences(at+"."+key, w[key], g[key], strict)...)
			}
		}
		for _, key := range slices.Sorted(maps.Keys(g)) {
			if _, ok := w[key]; !ok && strict && !isEmpty(g[key]) && scalar(g[key]) != scalar(byDefault[key]) {
				all = append(all, fmt.Sprintf("%s.%s is %s, should not be there", at, key, short(scalar(g[key]))))
			}
		}
	case []any:
		g, _ := got.([]any)
		if len(g) != len(w) {
			return []string{fmt.Sprintf("%s has %d entries, should have %d", at, len(g), len(w))}
		}
		for i := range w {
			all = append(all, differences(fmt.Sprintf("%s[%d]", at, i), w[i], g[i], strict)...)
		}
	default:
		is, should := scalar(got), scalar(want)
		switch {
		case is == should || is == masked:
		case strict:
			all = append(all, fmt.Sprintf("%s is %s, should be %s", at, short(is), short(should)))
		default: // of a receiver: addresses may hold tokens
			all = append(all, at+" is another one")
		}
	}
	return all
}

func anyList(list []any) any {
	if list == nil {
		return []any{}
	}
	return list
}

func isEmpty(v any) bool {
	switch v := v.(type) {
	case nil:
		return true
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	case string:
		return v == ""
	}
	return false
}

// scalar writes a value in one way: durations, and matchers such as
// severity="critical", can be written in several.
func scalar(v any) string {
	s := fmt.Sprint(v)
	if d, err := model.ParseDuration(s); err == nil && s != "0" {
		return time.Duration(d).String()
	}
	for _, operator := range []string{"=~", "!~", "!=", "="} {
		if name, value, ok := strings.Cut(s, operator); ok && model.LegacyValidation.IsValidLabelName(strings.TrimSpace(name)) {
			return strings.TrimSpace(name) + operator + strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return s
}
