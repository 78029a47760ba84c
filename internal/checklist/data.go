package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkData is “Verify ETF data integrity”.
var checkData = Check{
	Name:    "pre:data",
	Command: "python -m scripts.validate_etf_data",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		results, err := etfdata.Run(ctx, t.readers(), t.dataOptions())
		if errors.Is(err, etfdata.ErrOptions) {
			return []report.Finding{marked(unseen("the data rules", err, "correct "+t.Config.File), "rules", nil)}
		} else if err != nil {
			return []report.Finding{marked(unseen("the ETF data", err, "see pre:connections"), "data", nil)}
		}
		var findings []report.Finding
		for _, r := range results {
			findings = append(findings, t.judgeRule(r))
		}
		return findings
	},
}

func (t *Target) dataOptions() etfdata.Options {
	limits, data := t.Config.Thresholds, t.Config.Data
	return etfdata.Options{
		Now: t.Now(), StuckAfter: limits.StuckAfter, ErrorsAfter: limits.ErrorsAfter, MissingAfter: limits.MissingAfter,
		Jump: limits.PriceJump, Gap: limits.Gap, Tolerate: limits.Tolerate,
		Closed: data.Closed, Off: data.Off, Own: ownRules(data.Rules),
	}
}

func ownRules(rules []config.DataRule) (own []etfdata.OwnRule) {
	for _, r := range rules {
		own = append(own, etfdata.OwnRule{Name: r.Name, Title: r.Title, Severity: etfdata.Severity(r.Severity), SQL: r.SQL})
	}
	return own
}

// judgeRule says what a rule found. Looked is the rule's name: what was found
// at different times is compared by it.
func (t *Target) judgeRule(r etfdata.Result) report.Finding {
	f := t.sayRule(r)
	f.Key, f.Samples, f.SQL = r.Rule, r.Samples, r.SQL
	f.Details = struct {
		Title    string `json:"title"`
		Severity string `json:"severity"`
	}{r.Title, string(r.Severity)}
	if r.Err == nil && r.Absent == "" && !r.Off {
		f.Counts = map[string]int64{"violations": r.Violations, "tolerated": r.Tolerated}
		if !r.Own {
			f.Counts["looked"] = r.Looked
		}
	}
	return f
}

func (t *Target) sayRule(r etfdata.Result) report.Finding {
	all := r.Looks
	if !r.Own {
		all = report.Count(r.Looked) + " in " + r.Looks
	}
	switch {
	case r.Off:
		return found(r.Rule, "switched off by data.off in %s: it did not look", t.Config.File)
	case r.Absent != "":
		return found(r.Rule, "does not apply: %s", r.Absent)
	case r.Err != nil:
		return unseen(r.Rule, r.Err, "look again when the cause is gone; a rule on what this service does not have is switched off by data.off in "+t.Config.File)
	case r.Looked == 0 && r.Looks == "etfs":
		return warn(r.Rule, "there is no ETF: no rule had anything to judge", "right before the first ETF is entered; otherwise the table was emptied: `rollback` says what can be restored")
	case r.Violations == 0:
		return found(r.Rule, "none of %s: %s", all, r.Title)
	case !r.Broken():
		return found(r.Rule, "%s of %s, tolerated %s: %s", report.Count(r.Violations), all, report.Count(r.Tolerated), r.Title)
	}
	what := fmt.Sprintf("%s of %s break “%s”, such as %s", report.Count(r.Violations), all, r.Title, strings.Join(r.Samples, ", "))
	do := "see them all with: " + r.SQL
	if r.Severity == etfdata.Warning {
		return warn(r.Rule, what, do)
	}
	return fault(r.Rule, what, do)
}

// readers gives connections for rules that run side by side.
func (t *Target) readers() etfdata.Connect {
	return func(ctx context.Context) (*pgx.Conn, func(), error) {
		conn, err := t.connect(ctx, "etf-deploy")
		if err != nil {
			return nil, nil, err
		}
		return conn, func() { conn.Close(context.WithoutCancel(ctx)) }, nil
	}
}
