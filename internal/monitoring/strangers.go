package monitoring

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Strangers names the receivers that an Alertmanager with this configuration,
// as it says it has loaded it, would send an alert with these labels to, and
// that are not contacts of the environment with exactly their ways: whom they
// reach is not known.
func (e Environment) Strangers(loaded []byte, labels map[string]string) ([]string, error) {
	var c struct {
		Route     route
		Receivers []map[string]any
	}
	var tree struct{ Route map[string]any }
	if err := errors.Join(yaml.Unmarshal(loaded, &c), yaml.Unmarshal(loaded, &tree)); err != nil {
		return nil, fmt.Errorf("reading what Alertmanager has loaded: %w", err)
	}
	reached, known := map[string]bool{}, walkable(tree.Route)
	c.Route.visit(labels, "route", func(_ string, r route) {
		reached[r.Receiver] = reached[r.Receiver] || r.last
	})
	var strangers []string
	for _, r := range c.Receivers {
		name := fmt.Sprint(r["name"])
		ways := waysOf(r)
		if known && !reached[name] || len(ways) == 0 {
			continue
		}
		ours, err := e.knows(name, r)
		if err != nil {
			return nil, err
		}
		if !ours {
			strangers = append(strangers, fmt.Sprintf("%s (%s)", name, strings.Join(ways, ", ")))
		}
	}
	return strangers, nil
}

// walkable reports whether visit can say which alerts a tree of routes takes:
// it knows matchers, and not what older versions had.
func walkable(tree map[string]any) bool {
	if tree["match"] != nil || tree["match_re"] != nil {
		return false
	}
	matchers, _ := tree["matchers"].([]any)
	for _, m := range matchers {
		if !matcherParts.MatchString(fmt.Sprint(m)) {
			return false
		}
	}
	routes, _ := tree["routes"].([]any)
	return !slices.ContainsFunc(routes, func(one any) bool {
		below, ok := one.(map[string]any)
		return !ok || !walkable(below)
	})
}

// waysOf are the kinds of integration of a receiver that is loaded.
func waysOf(r map[string]any) (ways []string) {
	for _, key := range slices.Sorted(maps.Keys(r)) {
		if way, ok := strings.CutSuffix(key, "_configs"); ok && !isEmpty(r[key]) {
			ways = append(ways, way)
		}
	}
	return ways
}

// knows reports whether a receiver is a contact, as it is generated.
func (e Environment) knows(name string, loaded map[string]any) (bool, error) {
	i := slices.IndexFunc(e.Alerts.Contacts, func(c Contact) bool { return c.Level == name })
	if i < 0 {
		return false, nil
	}
	text, err := yaml.Marshal(receiverOf(e, e.Alerts.Contacts[i]))
	if err != nil {
		return false, err
	}
	var want map[string]any
	if err := yaml.Unmarshal(text, &want); err != nil {
		return false, err
	}
	return len(compareReceivers([]map[string]any{want}, []map[string]any{loaded})) == 0, nil
}
