package checklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// GradualRollback are the checks of the plan's gradual rollback.
var GradualRollback = Checks{verifyData, verifyRestoration}

// verifyData is “Check data consistency”: the data rules on the present rows.
var verifyData = Check{
	Name:    "data:verify",
	Command: "python -m scripts.verify_etf_data",
	look:    checkData.look,
}

// verifyRestoration is “Verify restoration”: what data:restore did is proved by
// comparison, and the rules hold.
var verifyRestoration = Check{
	Name:    "data:verifyRestoration",
	Command: "python -m scripts.verify_restoration",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		findings := []report.Finding{t.lookRestored(ctx, "etf-deploy", func(int64, int64, string) {})}
		return append(findings, checkData.look(ctx, t, s)...)
	},
}

// lookRestored proves what was restored, and that nothing else was touched.
func (t *Target) lookRestored(ctx context.Context, name string, progress func(done, total int64, text string)) report.Finding {
	const looked = "restored rows"
	u, err := t.databaseURL()
	if err != nil {
		return unseen(looked, err, "")
	}
	v, err := rowdiff.VerifyApplied(ctx, rowdiff.VerifyOptions{Host: t.Host, Live: u, ApplicationName: name, Progress: progress})
	var differs *rowdiff.MismatchError
	switch {
	case errors.As(err, &differs):
		f := fault(looked, differs.Error(), "see the rows; `data:inconsistencies` compares anew")
		f.Details = differs
		return f
	case errors.Is(err, rowdiff.ErrNoComparison):
		return fault(looked, err.Error(), "`data:inconsistencies` compares, `data:restore` restores")
	case err != nil:
		return unseen(looked, err, "")
	}
	text := fmt.Sprintf("%s as in the backup, %s in quarantine, %s brought back; no other of %s was touched",
		rowsText(v.Restored), report.Count(v.Quarantined), report.Count(v.BroughtBack), rowsText(v.Looked))
	if v.Others > 0 {
		text += fmt.Sprintf("; %s written by others since", report.Count(v.Others))
	}
	if v.Left+v.Rewritten == 0 {
		f := found(looked, "%s", text)
		f.Details = v
		return f
	}
	f := warn(looked, fmt.Sprintf("%s; %s left as they were, %s written anew since they were restored", text, report.Count(v.Left), report.Count(v.Rewritten)),
		"their notes are in etf_ops.work_rows, column note; `data:inconsistencies` compares anew")
	f.Details = v
	return f
}

// verifyRestorationStep is the check in a rollback, with the counts from before
// beside each rule that is still broken.
type verifyRestorationStep struct{ inputs }

func (verifyRestorationStep) String() string { return verifyRestoration.Name }

func (verifyRestorationStep) Deadline() time.Duration { return time.Hour }

func (s verifyRestorationStep) Run(ctx context.Context, r *step.Run) error {
	findings := []report.Finding{s.t.lookRestored(ctx, r.ApplicationName(), r.Progress)}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	findings = append(findings, checkData.look(ctx, s.t, Subject{})...)
	for i := range findings {
		findings[i].Check, findings[i].Command = verifyRestoration.Name, verifyRestoration.Command
	}
	var before []report.Finding
	if _, err := r.Operation.Fact("findings/"+verifyData.Name, &before); err != nil {
		return err
	}
	compareFindings(findings, before)
	if err := r.Note(ctx, "findings/"+verifyRestoration.Name, findings); err != nil {
		return err
	}
	for _, f := range findings {
		if f.Status == report.Warning {
			r.Log("%s: %s. %s", f.Looked, f.Found, f.Do)
		}
	}
	r.Say("%s; %s", findings[0].Found, rulesText(findings[1:]))
	return Judge(findings)
}

// compareFindings adds to each rule that is broken what was found before
// anything was restored.
func compareFindings(now, before []report.Finding) {
	for i, f := range now {
		if f.Status == report.OK {
			continue
		}
		for _, b := range before {
			if b.Looked == f.Looked {
				now[i].Found += "; before the restoration: " + b.Found
			}
		}
	}
}

func rulesText(findings []report.Finding) string {
	broken := 0
	for _, f := range findings {
		if f.Status != report.OK {
			broken++
		}
	}
	if broken == 0 {
		return fmt.Sprintf("all %d data rules hold", len(findings))
	}
	return fmt.Sprintf("%d of %d data rules do not hold", broken, len(findings))
}
