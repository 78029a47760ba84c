package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/servicelog"
)

// verifyLogs is “Verify logs”, and it ends: it judges what was written since
// the cut-over.
var verifyLogs = Check{
	Name:    "verify:logs",
	Command: "tail -f logs/etf_service.log",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		r, err := servicelog.Read(ctx, t.Host, t.Config.Logs.Files, s.Since)
		if err != nil {
			return []report.Finding{unseen("logs", err, "see logs.files in "+t.Config.File)}
		}
		findings := []report.Finding{t.judgeLogs(r, s.Since)}
		others := r.Older > 0 || slices.ContainsFunc(r.Files, func(f servicelog.File) bool { return f.Err == nil })
		for _, f := range r.Files {
			switch {
			case errors.Is(f.Err, servicelog.ErrUndated) && others:
				findings = append(findings, marked(warn(f.Path, f.Err.Error(), "give its lines a time, or leave it out of logs.files in "+t.Config.File), path.Base(f.Path), map[string]int64{"not_looked": 1}))
			case errors.Is(f.Err, servicelog.ErrBinary):
				findings = append(findings, marked(warn(f.Path, f.Err.Error(), "leave it out of logs.files in "+t.Config.File), path.Base(f.Path), nil))
			case f.Err != nil:
				findings = append(findings, marked(unseen(f.Path, f.Err, "the service writes its logs there: see LOG_DIR in .env, and logs.files in "+t.Config.File), path.Base(f.Path), map[string]int64{"looked": f.Lines, "errors": f.Errors}))
			case f.Blind > 0:
				findings = append(findings, marked(warn(f.Path, fmt.Sprintf("%d lines are so long that their level was not found", f.Blind), "let the formatter write time and level first, and shorter messages"), path.Base(f.Path), map[string]int64{"looked": f.Lines, "blind": f.Blind}))
			}
		}
		return findings
	},
}

// shownGroups is how many groups of errors a finding names.
const shownGroups = 10

func (t *Target) judgeLogs(r servicelog.Report, since time.Time) report.Finding {
	looked := fmt.Sprintf("%d log files since %s", len(r.Files), since.UTC().Format(time.RFC3339))
	if since.IsZero() {
		looked = fmt.Sprintf("%d log files", len(r.Files))
	}
	allowed := int64(t.Config.Thresholds.LogErrors)
	var samples []string
	for _, g := range r.Groups[:min(len(r.Groups), shownGroups)] {
		samples = append(samples, groupText(g))
	}
	f := found(looked, "%s lines, %d of them errors, %d may be", report.Count(r.Lines), r.Errors, allowed)
	if r.Errors > allowed {
		what := fmt.Sprintf("%d errors in %s lines, %d may be; %d kinds: %s", r.Errors, report.Count(r.Lines), allowed, len(r.Groups), strings.Join(samples[:min(len(samples), 3)], "; "))
		if r.Ungrouped > 0 {
			what += fmt.Sprintf("; %d more of further kinds", r.Ungrouped)
		}
		f = fault(looked, what, "see "+r.Groups[0].File+"; thresholds.log_errors in "+t.Config.File+" is how many may be")
	}
	counts := map[string]int64{"looked": r.Lines, "violations": r.Errors, "tolerated": allowed, "kinds": int64(len(r.Groups)), "ungrouped": r.Ungrouped,
		"files": int64(len(r.Files)), "older_files": int64(r.Older), "bytes": r.Bytes}
	if r.Lines == 0 {
		// A service that logs warnings only may be silent at first: no fault.
		counts["not_looked"] = 1
		f = warn(looked, "nothing was written since the cut-over: there is nothing to judge", "see LOG_DIR in .env, and logs.files in "+t.Config.File)
	}
	return marked(f, "errors", counts, samples...)
}

func groupText(g servicelog.Group) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d × ", g.Count)
	if g.Logger != "" {
		b.WriteString(g.Logger + ": ")
	}
	b.WriteString(firstLine(g.Message))
	if g.Exception != "" {
		b.WriteString(" (" + firstLine(g.Exception) + ")")
	}
	fmt.Fprintf(&b, " at %s", g.First.UTC().Format("15:04:05"))
	if g.Last.After(g.First) {
		fmt.Fprintf(&b, "–%s", g.Last.UTC().Format("15:04:05"))
	}
	return b.String()
}
