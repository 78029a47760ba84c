package checklist

import (
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// Only returns the check of this name, as a list for a target of its own.
func (l Checks) Only(name string) Checks {
	i := slices.IndexFunc(l, func(c Check) bool { return c.Name == name })
	return l[i : i+1]
}

// Native returns those that start no Python: all that can be seen in well
// under a second.
func (l Checks) Native() Checks {
	return slices.DeleteFunc(slices.Clone(l), func(c Check) bool { return c.Python })
}

// Checks is a section of the plan.
type Checks []Check

// as names a finding for programs, with what was counted and a few keys of it,
// which may come from where secrets are.
func as(f report.Finding, key string, counts map[string]int64, samples ...string) report.Finding {
	f.Samples = nil
	return marked(f, key, counts, samples...)
}
