// Package etfdata judges the rows of the ETF service's database: the data
// rules, one a file, and how far exchange rates cover the stored prices. It
// reads only, and adapts to the columns that the present schema has.
package etfdata

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// A Querier is a connection, or a transaction, that rules are run on.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Connect gives a connection for the time until release is called. It may be
// called from several goroutines.
type Connect func(ctx context.Context) (q Querier, release func(), err error)

// Severity is how bad a broken rule is.
type Severity string

// Severities of a rule.
const (
	Fault   Severity = "fault"   // rows that must not be there
	Warning Severity = "warning" // rows that somebody should look at
)

// maxSamples is the number of keys that a result shows.
const maxSamples = 5

// Options are what the rules are judged by.
type Options struct {
	Now        time.Time      // what counts as now; zero: the clock
	StuckAfter time.Duration  // an update in processing for longer is stuck; zero: an hour
	Tolerate   map[string]int // rule → rows that may break it
	Jobs       int            // connections at a time; zero: two
}

// A Result is what one rule found.
type Result struct {
	Rule       string        `json:"rule"`
	Title      string        `json:"title"` // what holds when nothing is broken
	Severity   Severity      `json:"severity"`
	Looks      string        `json:"looks"` // what was looked at
	Looked     int64         `json:"looked"`
	Violations int64         `json:"violations"`
	Tolerated  int64         `json:"tolerated"`
	Samples    []string      `json:"samples,omitempty"` // keys of the first rows
	SQL        string        `json:"sql"`               // shows all rows that break the rule
	Took       time.Duration `json:"took_ns"`           // of the pass that it was part of
	Err        error         `json:"-"`                 // it could not look
}

// Broken reports whether more rows break the rule than are tolerated.
func (r Result) Broken() bool { return r.Violations > r.Tolerated }

// Run looks at every rule, those of one view in a single pass, and passes side
// by side. A rule that could not look has Err set; the error of Run means that
// nothing could be looked at. Results are in the order of Rules.
func Run(ctx context.Context, connect Connect, o Options) ([]Result, error) {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	if o.StuckAfter == 0 {
		o.StuckAfter = time.Hour
	}
	if o.Jobs <= 0 {
		o.Jobs = 2
	}
	o.Now = o.Now.UTC()
	rules := Rules()
	if err := known(rules, o.Tolerate); err != nil {
		return nil, err
	}
	s, err := inspect(ctx, connect)
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(rules))
	var views []string
	passes := map[string]*pass{}
	for i, rule := range rules {
		r := &results[i]
		*r = Result{Rule: rule.Name, Title: rule.Title, Severity: rule.Severity, Tolerated: int64(o.Tolerate[rule.Name])}
		if r.Err = s.lacks(rule.Needs); r.Err != nil {
			continue
		}
		v := rule.view(s)
		r.Looks, r.SQL = v.looks, v.list(rule.where(s, o))
		if passes[v.from] == nil {
			passes[v.from], views = &pass{view: v}, append(views, v.from)
		}
		p := passes[v.from]
		p.results, p.wheres = append(p.results, r), append(p.wheres, rule.where(s, o))
	}
	var g errgroup.Group
	g.SetLimit(o.Jobs)
	for _, from := range views {
		g.Go(func() error { passes[from].run(ctx, connect); return nil })
	}
	g.Wait()
	return results, nil
}

// known fails for names that are no rule: a tolerance that is never used would
// go unnoticed.
func known(rules []Rule, tolerate map[string]int) error {
	for _, name := range slices.Sorted(maps.Keys(tolerate)) {
		if !slices.ContainsFunc(rules, func(r Rule) bool { return r.Name == name }) {
			return fmt.Errorf("thresholds.tolerate: there is no data rule %q; they are %s", name, strings.Join(names(rules), ", "))
		}
	}
	return nil
}

func names(rules []Rule) (list []string) {
	for _, r := range rules {
		list = append(list, r.Name)
	}
	return list
}
