package checklist

import (
	"context"
	"errors"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// onward is how an operation that is left as it is can be gone on with: a step
// that failed is run again.
type onward struct {
	state   string                                                    // what is so until then
	ways    string                                                    // which commands there are
	resumes bool                                                      // also after it was left: `resume` goes on with it
	again   []string                                                  // steps that are done again then, whether they were done or not
	told    func(ctx context.Context, op *step.Operation, why string) // when it is left; may be nil
}

// leave records that an operation is left as it is, for a person.
func (a Agenda) leave(ctx context.Context, op *step.Operation, why error) error {
	text := op.ID() + " was left as it is"
	if a.Onward != nil {
		text += ": " + a.Onward.state + "\n"
		if a.Onward.resumes {
			text += "`resume` goes on with " + join(stepsLeft(op.Journal().Log(), a)) + "; "
		}
		text += a.Onward.ways
		if a.Onward.told != nil {
			a.Onward.told(ctx, op, why.Error())
		}
	}
	err := op.End(ctx, journal.Left, why.Error())
	return errors.Join(fmt.Errorf("%w: %w\n%s", step.ErrNeedsPerson, why, text), err)
}

// errUntouched is in the error of a step that would have changed the service
// and did not come to it.
var errUntouched = errors.New("nothing was changed")

// stillOpen are those of many operations, newest first, that somebody may go on
// with.
func stillOpen(logs []journal.Log) []journal.Log {
	var open []journal.Log
	overtaken := false
	for _, log := range logs {
		if mayGoOn(log) && !(log.Outcome() == journal.Left && overtaken) {
			open = append(open, log)
		}
		overtaken = overtaken || overtakes(log)
	}
	return open
}

// mayGoOn reports whether an operation, by itself, can be gone on with.
func mayGoOn(log journal.Log) bool {
	switch log.Outcome() {
	case "", journal.Stuck:
		return true
	}
	return log.Outcome() == journal.Left && log.Header().Kind == gradualKind
}

// overtakes reports whether, behind this operation, nobody goes on any more
// with an earlier one that was left as it is.
func overtakes(log journal.Log) bool {
	switch log.Header().Kind {
	case gradualKind:
		return log.Outcome() != journal.Unchanged
	case rollbackKind:
		return log.Outcome() == journal.Succeeded || log.Outcome() == journal.Left // then it is where it went to
	case "deploy", unpauseStep{}.String():
		return log.Outcome() == journal.Succeeded
	case stagesKind:
		state, _ := log.Step(activateStep{}.String())
		return log.Outcome() == journal.Succeeded && state.Touched()
	}
	return false
}
