package checklist

import (
	"context"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// A HistoryEntry is one operation in the list of `history`.
type HistoryEntry struct {
	ID       string              `json:"id"`
	Kind     string              `json:"kind"`
	By       string              `json:"by"`
	Began    time.Time           `json:"began"`
	Duration time.Duration       `json:"duration"` // nanoseconds, to the last record
	Outcome  string              `json:"outcome"`  // of journal, or running, parked, interrupted
	Text     string              `json:"text,omitempty"`
	Achieved bool                `json:"achieved"` // all that would be taken back together was done
	Steps    []journal.StepState `json:"steps"`

	// Of one that runs, was interrupted or is stuck:
	Run       string    `json:"run,omitempty"`        // URL of the pipeline run
	HeardOf   time.Time `json:"heard_of,omitzero"`    // time of its last record
	OpenSteps []string  `json:"open_steps,omitempty"` // begun, neither done nor failed; side by side there are several
	Undoing   bool      `json:"undoing,omitempty"`    // a step failed, or its undo has begun: it goes back, not on
	Touched   bool      `json:"touched,omitempty"`    // the running service was changed and not taken back
	Left      []string  `json:"left,omitempty"`       // steps still to do or, where it goes back, to take back
	Onward    bool      `json:"onward,omitempty"`     // a step failed and it was left as it is: `resume` goes on with that step
	State     string    `json:"state,omitempty"`      // what is so until somebody goes on with it
}

// unfinished reports whether somebody has to do something about it.
func (e *HistoryEntry) unfinished() bool {
	return e.Onward || slices.Contains([]string{interrupted, running, parked, journal.Stuck}, e.Outcome)
}

// History lists the operations on the target, newest first. Journals that
// cannot be read are in the error, beside the good ones.
func (t *Target) History(ctx context.Context) ([]HistoryEntry, error) {
	return t.historyUntil(ctx, nil)
}

// historyUntil is History as far as the first operation that is last.
func (t *Target) historyUntil(ctx context.Context, last func(journal.Log) bool) ([]HistoryEntry, error) {
	logs, err := journal.Newest(ctx, t.Host, t.journalDir(), last)
	open := stillOpen(logs)
	var entries []HistoryEntry
	for _, log := range logs {
		left := log.Outcome() == journal.Left && slices.ContainsFunc(open, func(o journal.Log) bool { return o.Path == log.Path })
		entries = append(entries, t.historyEntry(ctx, log, left))
	}
	return entries, err
}

// historyEntry describes one; onward: it was left as it is, and is not overtaken.
func (t *Target) historyEntry(ctx context.Context, log journal.Log, onward bool) HistoryEntry {
	agenda, agendaErr := t.agendaOf(log)
	e := HistoryEntry{
		ID: log.Header().ID, Kind: log.Header().Kind, By: log.Header().By, Began: log.Began(),
		Duration: log.Last().Time.Sub(log.Began()), Outcome: t.outcome(ctx, log), Text: log.Last().Text, Steps: log.Steps(),
		Achieved: agendaErr == nil && achieved(log, agenda), Onward: onward,
	}
	if !e.unfinished() {
		return e
	}
	e.Run, e.HeardOf = log.Header().Run, log.Last().Time
	for _, s := range e.Steps {
		if s.Type == journal.Start || s.Type == journal.UndoStart {
			e.OpenSteps = append(e.OpenSteps, s.Name)
		}
	}
	if agendaErr == nil {
		e.Undoing = !e.Achieved && goesBack(log, agenda)
		e.Touched, e.Left = serviceTouched(log, agenda), stepsLeft(log, agenda)
		if agenda.Onward != nil && e.Touched {
			e.State = agenda.Onward.state
		}
	}
	return e
}
