package checklist

import (
	"context"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkData is “Verify ETF data integrity”.
var checkData = Check{
	Name:    "pre:data",
	Command: "python -m scripts.validate_etf_data",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		results, err := etfdata.Run(ctx, t.readers(), etfdata.Options{
			Now: t.Now(), StuckAfter: t.Config.Thresholds.StuckAfter, Tolerate: t.Config.Thresholds.Tolerate,
		})
		if err != nil {
			return []report.Finding{unseen("the ETF data", err, "see pre:connections")}
		}
		var findings []report.Finding
		for _, r := range results {
			findings = append(findings, judgeRule(r))
		}
		return findings
	},
}

func judgeRule(r etfdata.Result) report.Finding {
	looked := r.Rule
	if r.Err != nil {
		return unseen(looked, r.Err, "")
	}
	if !r.Broken() {
		return found(looked, "%s of %s break it", report.Count(r.Violations), r.Looks+" "+report.Count(r.Looked))
	}
	what := fmt.Sprintf("%s of %s break “%s”, such as %s", report.Count(r.Violations), report.Count(r.Looked), r.Title, strings.Join(r.Samples, ", "))
	do := "see them all with: " + r.SQL
	if r.Severity == etfdata.Warning {
		return warn(looked, what, do)
	}
	return fault(looked, what, do)
}

// readers gives connections for rules that run side by side.
func (t *Target) readers() etfdata.Connect {
	return func(ctx context.Context) (etfdata.Querier, func(), error) {
		conn, err := t.connect(ctx, "etf-deploy")
		if err != nil {
			return nil, nil, err
		}
		return conn, func() { conn.Close(context.WithoutCancel(ctx)) }, nil
	}
}

// checkRates is “Check exchange rate coverage”.
var checkRates = Check{
	Name:    "pre:rates",
	Command: "python -m scripts.verify_exchange_rates",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		const looked = "exchange rates"
		conn, err := t.connect(ctx, "etf-deploy")
		if err != nil {
			return []report.Finding{unseen(looked, err, "see pre:connections")}
		}
		defer conn.Close(context.WithoutCancel(ctx))
		coverage, err := etfdata.Rates(ctx, conn, t.Config.Thresholds.RatesGap)
		if err != nil {
			return []report.Finding{unseen(looked, err, "")}
		}
		if len(coverage.Holes) == 0 {
			return []report.Finding{found(looked, "%s converted prices, %s days and currencies, all covered within %d days",
				report.Count(coverage.Prices), report.Count(coverage.Days), t.Config.Thresholds.RatesGap)}
		}
		var findings []report.Finding
		for _, hole := range coverage.Holes {
			findings = append(findings, fault(looked, hole.String(), "load the rates of these days"))
		}
		return findings
	},
}
