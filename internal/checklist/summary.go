package checklist

import (
	"fmt"
	"io"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Summary is the table at the end of an operation: its steps, how long the
// service was stopped, and where its traces lie.
func (t *Target) Summary(w io.Writer, op *step.Operation) error {
	log := op.Journal().Log()
	if err := StepTable(w, log); err != nil {
		return err
	}
	workers, api, err := Stopped(op, t.Now())
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "\nworkers stopped  %s\nAPI stopped      %s\n", report.Duration(workers), report.Duration(api))
	var backup string
	if ok, err := op.Fact(factBackup, &backup); err != nil {
		return err
	} else if ok {
		fmt.Fprintf(w, "backup           %s\n", t.backupDir(backup))
	}
	var restored restoreNames
	if ok, err := op.Fact(factRestore, &restored); err != nil {
		return err
	} else if ok && !(log.Header().Kind == rollbackKind && log.TakenBack()) {
		fmt.Fprintf(w, "kept database    %s\n", restored.Kept)
	}
	fmt.Fprintf(w, "journal          %s\n", op.Journal().Path())
	for _, paper := range []string{notesStep{}.String(), gradualNotes{}.String()} {
		if state, ok := log.Step(paper); ok && state.Type == journal.Done {
			fmt.Fprintf(w, "notes            %s\n", t.NotesFile(op.ID()))
		}
	}
	outcome := log.Outcome()
	if log.Parked() {
		outcome = "parked until its next stage"
	}
	fmt.Fprintf(w, "outcome          %s\n", outcome)
	return nil
}

// StepTable prints the steps of an operation as recorded.
func StepTable(w io.Writer, log journal.Log) error {
	table := report.NewTable("step", "result", "duration", "")
	for _, s := range log.Steps() {
		result := string(s.Type)
		if s.Type == journal.Start {
			result = "interrupted"
			if log.Outcome() == "" {
				result = "running or interrupted"
			}
		}
		table.Row(s.Name, result, report.Duration(s.Duration), firstLine(s.Text))
	}
	return table.Write(w)
}
