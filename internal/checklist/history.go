package checklist

import (
	"context"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A HistoryEntry is one operation in the list of `history`.
type HistoryEntry struct {
	ID       string              `json:"id"`
	Kind     string              `json:"kind"`
	By       string              `json:"by"`
	Began    time.Time           `json:"began"`
	Duration time.Duration       `json:"duration"` // nanoseconds, to the last record
	Outcome  string              `json:"outcome"`  // of journal, or running, interrupted
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
}

// unfinished reports whether somebody has to do something about it.
func (e *HistoryEntry) unfinished() bool {
	return e.Outcome == "interrupted" || e.Outcome == "running" || e.Outcome == journal.Stuck
}

// History lists the operations on the target, newest first. Journals that
// cannot be read are in the error, beside the good ones.
func (t *Target) History(ctx context.Context) ([]HistoryEntry, error) {
	logs, err := journal.List(ctx, t.Host, t.journalDir())
	var entries []HistoryEntry
	for _, log := range logs {
		entries = append(entries, t.historyEntry(ctx, log))
	}
	return entries, err
}

func (t *Target) historyEntry(ctx context.Context, log journal.Log) HistoryEntry {
	agenda, agendaErr := t.agenda(log.Header().Kind, Options{})
	e := HistoryEntry{
		ID: log.Header().ID, Kind: log.Header().Kind, By: log.Header().By, Began: log.Began(),
		Duration: log.Last().Time.Sub(log.Began()), Outcome: t.outcome(ctx, log), Text: log.Last().Text, Steps: log.Steps(),
		Achieved: agendaErr == nil && achieved(log, agenda),
	}
	if !e.unfinished() {
		return e
	}
	e.Run, e.HeardOf = log.Header().Run, log.Last().Time
	for _, s := range e.Steps {
		if s.Type == journal.Start || s.Type == journal.UndoStart {
			e.OpenSteps = append(e.OpenSteps, s.Name)
		}
		e.Undoing = e.Undoing || !e.Achieved && slices.Contains([]journal.Type{journal.Failed, journal.UndoStart, journal.Undone, journal.UndoFailed}, s.Type)
	}
	if agendaErr == nil {
		e.Touched, e.Left = serviceTouched(log, agenda), stepsLeft(e, agenda)
	}
	return e
}

// stepsLeft lists the steps of an unfinished operation that are still to be done
// or, where it goes back, those still to be taken back, in their order.
func stepsLeft(e HistoryEntry, agenda Agenda) []string {
	states := map[string]journal.StepState{}
	for _, s := range e.Steps {
		states[s.Name] = s
	}
	var names []string
	if e.Undoing {
		for _, s := range slices.Backward(step.Flat(agenda.Steps)) {
			_, can := s.(step.Undoer)
			if can && states[s.String()].Touched() {
				names = append(names, s.String())
			}
		}
		return names
	}
	for _, s := range step.Flat(slices.Concat(agenda.Steps, agenda.Record)) {
		if t := states[s.String()].Type; t != journal.Done && t != journal.Skipped {
			names = append(names, s.String())
		}
	}
	return names
}

// outcome is how an operation ended, or whether it runs or was interrupted.
func (t *Target) outcome(ctx context.Context, log journal.Log) string {
	if o := log.Outcome(); o != "" {
		return o
	}
	if host.Alive(ctx, t.Host, log.Owner()) {
		return "running"
	}
	return "interrupted"
}
