package monitoring

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"
)

// A Scenario is a course of events, and what the rules make of it at its end.
type Scenario struct {
	Name   string
	Trap   int // which of the ways to fail that the plan's own rules show; 0: none
	Series []Series
	Days   bool          // made in an environment inDays
	Every  time.Duration // between two values of a series; 0: a step of the tests
	At     time.Duration // how long it takes: whole steps
	Fires  []Firing      // of the alerts named here or in Silent, exactly these fire
	Silent []string

	// Inhibited fire as well, and are not sent because of one that does.
	Inhibited []string

	// Outlived is an alert that is not sent at any time since MendedAt: when
	// it fires, so does one that keeps it back.
	Outlived string
	MendedAt time.Duration

	// Plan are the alerts that fire with the rules as the plan has them, for
	// scenarios that are told from beginning to end. In those, no alert fires
	// but those of Fires.
	Plan  []string
	Whole bool
}

// A Firing is an alert of a rule.
type Firing struct {
	Alert  string
	Labels map[string]string // besides severity, service and environment
	Value  float64           // as the annotations show it
}

// A Series is an input of a test: one value a step.
type Series struct {
	Name   string
	Labels map[string]string
	Values Values
}

// selector is the series as promtool reads it.
func (s Series) selector() string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		labels = append(labels, name+"="+promString(s.Labels[name]))
	}
	return s.Name + "{" + strings.Join(labels, ", ") + "}"
}

// step is the time between two values of a series, and two judgements of the
// rules, in tests.
func (e Environment) step() time.Duration {
	if e.days {
		return e.scaled(5 * time.Minute)
	}
	return e.scaled(time.Minute)
}

// inDays is the environment for scenarios that last longer than hours: their
// steps are as far apart as Prometheus permits, since promtool judges all
// rules in each.
func (e Environment) inDays() Environment {
	e.days = true
	return e
}

// steps is how many steps a time takes, rounded up.
func (e Environment) steps(d time.Duration) int { return int((d + e.step() - 1) / e.step()) }

// after is the time of a step at which the rules are judged in tests: where
// they take days, every second one.
func (e Environment) after(step int) time.Duration {
	if e.days {
		step += step % 2
	}
	return time.Duration(step) * e.step()
}

// at is the time in a test at which something that began at a step has held
// for some times, and two judgements more: one sees it first, and a time that
// is no whole number of steps is not yet over.
func (e Environment) at(begin int, times ...time.Duration) time.Duration {
	n := begin + 2
	if e.days {
		n += 2
	}
	for _, d := range times {
		n += e.steps(d)
	}
	return e.after(n)
}

// Values are those of a series, one a step.
type Values []stretch

// A stretch is a part of a series that grows evenly, or is not there.
type stretch struct {
	from, by float64
	steps    int
	gone     bool
	missed   bool
}

// flat is a value for n steps; grow adds to it in each step; gone is no value,
// and missed is a collection that failed: the value of before is forgotten.
func flat(v float64, n int) Values        { return grow(v, 0, n) }
func grow(from, by float64, n int) Values { return Values{{from: from, by: by, steps: n}} }
func gone(n int) Values                   { return Values{{steps: n, gone: true}} }
func missed() Values                      { return Values{{steps: 1, missed: true}} }

// then joins parts of a series.
func then(parts ...Values) Values { return slices.Concat(parts...) }

// until writes the first n values as promtool reads them.
func (v Values) until(n int) string {
	var parts []string
	for _, s := range v {
		k := min(s.steps, n)
		if n -= k; k <= 0 {
			continue
		}
		switch {
		case s.missed:
			parts = append(parts, "stale")
		case s.gone:
			parts = append(parts, fmt.Sprintf("_x%d", k))
		case s.by == 0:
			parts = append(parts, fmt.Sprintf("%sx%d", decimal(s.from), k-1))
		default:
			parts = append(parts, fmt.Sprintf("%s%+gx%d", decimal(s.from), s.by, k-1))
		}
	}
	return strings.Join(parts, " ")
}

// forever is more steps than any scenario has.
const forever = math.MaxInt32

// of is a series of the service's first target.
func (e Environment) of(name string, values Values, labels ...string) Series {
	return e.from(JobService, name, values, labels...)
}

// from is a series of a job's first target, with pairs of label and value.
func (e Environment) from(job, name string, values Values, labels ...string) Series {
	s := Series{Name: name, Values: values, Labels: map[string]string{"job": job, "instance": e.instance(job)}}
	for i := 0; i+1 < len(labels); i += 2 {
		s.Labels[labels[i]] = labels[i+1]
	}
	return s
}

// all are the same series of each of a job's targets.
func (e Environment) all(job, name string, values Values, labels ...string) (all []Series) {
	j, _ := e.Job(job)
	for _, target := range j.Targets {
		s := e.from(job, name, values, labels...)
		s.Labels["instance"] = target
		all = append(all, s)
	}
	return all
}

func (e Environment) instance(job string) string {
	if j, ok := e.Job(job); ok {
		return j.Targets[0]
	}
	return "test:1"
}

// updates are the counters of ended updates and of errors, one value a step.
func (e Environment) updates(completed, failed, errors Values) []Series {
	return []Series{
		e.of("etf_updates_total", completed, "status", "completed"),
		e.of("etf_updates_total", failed, "status", "failed"),
		e.of("etf_errors_total", errors, "error_type", "api_error"),
	}
}

// A spell is a time of even traffic: so many updates end in each of its steps.
type spell struct {
	steps             int
	completed, failed float64
}

// failing is a spell of 100 updates a step, of which a share fails.
func failing(share float64, steps int) spell { return spell{steps, 100 * (1 - share), 100 * share} }

// quiet is a spell without any update.
func quiet(steps int) spell { return spell{steps: steps} }

// traffic are the counters of ended updates through one spell after the other;
// the first begins with step 1, and after the last no update ends any more.
func (e Environment) traffic(spells ...spell) []Series {
	done, bad := flat(0, 1), flat(0, 1)
	var ended, failed float64
	for _, s := range spells {
		done, bad = then(done, grow(ended+s.completed, s.completed, s.steps)), then(bad, grow(failed+s.failed, s.failed, s.steps))
		ended, failed = ended+s.completed*float64(s.steps), failed+s.failed*float64(s.steps)
	}
	return e.updates(then(done, flat(ended, forever)), then(bad, flat(failed, forever)), flat(0, forever))
}

// inTurn are two processes that answer in turn, each with counters of its own.
func (e Environment) inTurn(at time.Duration) Scenario {
	return Scenario{Name: "two processes answer in turn, each with counters of its own", At: at, Every: e.collected(), Days: e.days,
		Series: e.updates(flat(7, forever), e.alternating(at, 1000, 10), flat(0, forever))}
}

// keptBackBy are the alerts that are not sent while these fire. Whether they
// fire depends on times that deploy.yaml sets.
func keptBackBy(e Environment, alerts []string) (kept []string) {
	for _, a := range generated(e) {
		if !slices.Contains(alerts, a.Name) {
			continue
		}
		for _, name := range a.Inhibits {
			if !slices.Contains(alerts, name) && !slices.Contains(kept, name) {
				kept = append(kept, name)
			}
		}
	}
	return kept
}

// outlived expects that since it was mended an alert never fires alone.
func outlived(e Environment, s Scenario) queryExpect {
	var by []string
	for _, a := range generated(e) {
		if slices.Contains(a.Inhibits, s.Outlived) {
			by = append(by, a.Name)
		}
	}
	return queryExpect{At: promDuration(s.At), Samples: []queryAnswer{}, Expr: fmt.Sprintf(
		`count_over_time((ALERTS{alertstate="firing", alertname=%s} unless on () ALERTS{alertstate="firing", alertname=~%s})[%s:%s])`,
		promString(s.Outlived), promString(strings.Join(by, "|")), promDuration(s.At-s.MendedAt), promDuration(e.step()))}
}
