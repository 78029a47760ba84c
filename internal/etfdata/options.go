package etfdata

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// ErrOptions is what every fault of the Options is: the configuration that
// they come from is to be corrected.
var ErrOptions = errors.New("the data rules are not configured right")

// Options are what the rules are judged by. The zero value of a field means
// its default.
type Options struct {
	Now          time.Time      // what counts as now; default the clock
	StuckAfter   time.Duration  // an update in processing for longer is stuck; default an hour
	ErrorsAfter  time.Duration  // an error may stay unresolved that long; default a week
	MissingAfter time.Duration  // a date that an update missed is filled by then; default three days
	Jump         float64        // fraction that a price moves by at most from one day to the next; default 0.25
	Gap          int            // working days in a row that an ETF may have no price for; default 10
	Closed       []string       // further days on which nothing trades: 2026-12-24, or 12-24 of every year
	Tolerate     map[string]int // rule → rows that may break it
	Off          []string       // rules that are not to look
	Own          []OwnRule      // rules of a team
	Jobs         int            // connections at a time; default two
}

func (o Options) withDefaults() Options {
	if o.Now.IsZero() {
		o.Now = time.Now()
	}
	o.Now = o.Now.UTC()
	orElse(&o.StuckAfter, time.Hour)
	orElse(&o.ErrorsAfter, 7*24*time.Hour)
	orElse(&o.MissingAfter, 3*24*time.Hour)
	orElse(&o.Jump, 0.25)
	orElse(&o.Gap, 10)
	o.Jobs = max(o.Jobs, 0)
	orElse(&o.Jobs, 2)
	return o
}

func orElse[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

func (o Options) off(rule string) bool { return slices.Contains(o.Off, rule) }

// check finds all faults: names that are no rule, which would go unnoticed,
// and rules of the configuration that take the place of others.
func (o Options) check() error {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }
	var known []string
	for _, r := range Rules() {
		known = append(known, r.Name)
	}
	builtIn := len(known)
	for i, own := range o.Own {
		switch at := slices.Index(known, own.Name); {
		case own.Name == "" || own.Name[0] == '-':
			fault("data.rules[%d].name: %q is not a name; begin it with a letter", i, own.Name)
		case at >= builtIn:
			fault("data.rules[%d].name: %q is the name of data.rules[%d] too", i, own.Name, at-builtIn)
		case at >= 0:
			fault("data.rules[%d].name: %q is a rule that there is already; choose another name", i, own.Name)
		}
		known = append(known, own.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Tolerate)) {
		if !slices.Contains(known, name) {
			fault("thresholds.tolerate: there is no data rule %q; they are %s", name, strings.Join(known, ", "))
		}
	}
	for i, name := range o.Off {
		if !slices.Contains(known, name) {
			fault("data.off[%d]: there is no data rule %q; they are %s", i, name, strings.Join(known, ", "))
		}
	}
	for i, day := range o.Closed {
		if _, err := closedOn(day, 2000); err != nil {
			fault("data.closed[%d]: %w", i, err)
		}
	}
	if faults != nil {
		return fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
	}
	return nil
}
