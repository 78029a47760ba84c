// Package etfdata judges the rows of the ETF service's database: the data
// rules, one a file, and how far exchange rates cover the stored prices. It
// reads only, and adapts to the columns that the present schema has.
package etfdata

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Querier is a connection, or a transaction, that rules are run on.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// Connect gives a connection for the time until release is called. It may be
// called from several goroutines.
type Connect func(ctx context.Context) (conn *pgx.Conn, release func(), err error)

// Severity is how bad a broken rule is.
type Severity string

// Severities of a rule.
const (
	Fault   Severity = "fault"   // rows that must not be there
	Warning Severity = "warning" // rows that somebody should look at
)

// maxSamples is the number of keys that a result shows.
const maxSamples = 5

// A Result is what one rule found.
type Result struct {
	Rule       string
	Title      string // what holds when nothing is broken
	Severity   Severity
	Looks      string // what was looked at
	Looked     int64  // rows of it; of an own rule that is not known
	Violations int64
	Tolerated  int64
	Samples    []string      // keys of the first rows
	SQL        string        // shows all rows that break the rule
	Took       time.Duration // of the pass that it was part of
	Own        bool          // it is of the configuration
	Off        bool          // switched off: it did not look
	Absent     string        // why the rule does not apply: the schema has not got what it judges
	Err        error         // it could not look
}

// Broken reports whether more rows break the rule than are tolerated.
func (r Result) Broken() bool { return r.Violations > r.Tolerated }

// Run looks by every rule: those of one view in a single pass, passes side by
// side, each of them on one snapshot. A rule that could not look has Err set;
// the error of Run means that nothing could be looked at, ErrOptions that o is
// to blame. Results are in the order of Rules, then those of o.Own.
func Run(ctx context.Context, connect Connect, o Options) ([]Result, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	o = o.withDefaults()
	first := &link{connect: connect}
	defer first.close()
	var s *schema
	err := first.look(ctx, func(conn *pgx.Conn) (err error) {
		s, err = inspect(ctx, conn)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking at the data: %w", err)
	}
	rules := Rules()
	results := make([]Result, len(rules)+len(o.Own))
	var jobs []job
	for i, own := range o.Own {
		r := &results[len(rules)+i]
		if *r = own.result(i, o); !r.Off {
			jobs = append(jobs, &ownJob{result: r, own: own, at: i})
		}
	}
	work(ctx, first, append(plan(s, o, rules, results), jobs...), o.Jobs)
	return results, nil
}

// plan begins the results of rules and says what is to be done to fill them,
// what reads all prices first: it takes longest.
func plan(s *schema, o Options, rules []Rule, results []Result) (jobs []job) {
	passes := map[string]*pass{}
	var sifted *sifting
	for i, rule := range rules {
		r := &results[i]
		*r = Result{Rule: rule.Name, Title: rule.Title, Severity: rule.Severity, Tolerated: int64(o.Tolerate[rule.Name]), Off: o.off(rule.Name)}
		if r.Off {
			continue
		}
		if err := rule.applies(s); err != nil {
			if s.older(append(rule.Needs, rule.Any...)) {
				r.Absent = err.Error()
			} else {
				r.Err = err
			}
			continue
		}
		v := rule.view(s, o)
		r.Looks, r.SQL = v.looks, v.list(rule.where(s, o))
		if rule.suspects != nil {
			if sifted == nil {
				sifted = &sifting{schema: s, options: o}
				jobs = append(jobs, sifted)
			}
			sifted.rules, sifted.results = append(sifted.rules, rule), append(sifted.results, r)
			continue
		}
		p := passes[v.from]
		if p == nil {
			p = &pass{schema: s, options: o, view: v}
			passes[v.from], jobs = p, append(jobs, p)
		}
		p.rules, p.results = append(p.rules, rule), append(p.results, r)
	}
	slices.SortStableFunc(jobs, func(a, b job) int { return rank(a) - rank(b) })
	return jobs
}

func rank(j job) int {
	if j.filled()[0].Looks == "etf_prices" {
		return 0
	}
	return 1
}
