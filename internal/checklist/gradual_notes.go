package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// gradualNotes records what a gradual rollback found and did.
type gradualNotes struct{ inputs }

func (gradualNotes) String() string { return "rollback:notes" }

func (s gradualNotes) Run(ctx context.Context, r *step.Run) error {
	text, err := s.t.gradualText(r.Operation)
	if err != nil {
		return err
	}
	return s.t.writeNotes(ctx, r, r.ID(), text)
}

func (t *Target) gradualText(op *step.Operation) (string, error) {
	log := op.Journal().Log()
	o, err := optionsOf(log)
	if err != nil {
		return "", err
	}
	var before string
	var rel release.Release
	var found Inconsistencies
	var applied rowdiff.Applied
	for key, v := range map[string]any{factPrevious: &before, factRelease: &rel, factInconsistencies: &found, factRestored: &applied} {
		if _, factErr := op.Fact(key, v); factErr != nil {
			err = errors.Join(err, factErr)
		}
	}
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Gradual rollback\n\n| | |\n|---|---|")
	line("| environment | %s |", t.Config.Environment)
	line("| operation | %s |", op.ID())
	line("| by | %s |", log.Header().By)
	if run := log.Header().Run; run != "" {
		line("| pipeline run | %s |", run)
	}
	if o.Reason != "" {
		line("| reason | %s |", cell(o.Reason))
	}
	line("| began | %s |", log.Began().Format(time.RFC3339))
	switch {
	case o.KeepRelease:
		line("| release | %s, left as it was |", before)
	default:
		line("| release | %s → %s |", before, rel.ID)
	}
	line("| backup | %s, read from %s |", found.Backup, found.Source)
	line("| rows and SQL | %s, %s |", found.CSV, found.SQL)
	line("| done | %s |", appliedText(&applied))
	line("\n## Rows that differed from the backup\n\n| table | restore | quarantine | keep | missing |\n|---|---|---|---|---|")
	if found.Diff != nil {
		for _, d := range found.Diff.Tables {
			if d.Added+d.Changed+d.Deleted > 0 {
				line("| %s | %s | %s | %s | %s |", d.Table, report.Count(found.count(d.Table, rowdiff.ClassRestore)), report.Count(found.count(d.Table, rowdiff.ClassQuarantine)),
					report.Count(found.count(d.Table, rowdiff.ClassKeep)), report.Count(found.count(d.Table, rowdiff.ClassMissing)))
			}
		}
	}
	stepsTable(&b, log)
	return b.String(), nil
}

// stepsTable lists the steps of an operation in Markdown.
func stepsTable(b *strings.Builder, log journal.Log) {
	fmt.Fprint(b, "\n## Steps\n\n| step | result | duration | |\n|---|---|---|---|\n")
	for _, s := range log.Steps() {
		if s.Type == journal.Start {
			continue // this one
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", s.Name, s.Type, report.Duration(s.Duration), cell(s.Text))
	}
}

// cell is a text as it fits into a table of Markdown.
func cell(text string) string { return strings.NewReplacer("|", "\\|", "\n", " ").Replace(text) }
