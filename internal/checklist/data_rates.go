package checklist

import (
	"context"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkRates is “Check exchange rate coverage”.
var checkRates = Check{
	Name:    "pre:rates",
	Command: "python -m scripts.verify_exchange_rates",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		coverage, err := etfdata.Rates(ctx, t.readers(), t.Config.Thresholds.RatesGap)
		if err != nil {
			return []report.Finding{unseen("exchange rates", err, "see pre:connections and pre:migrations")}
		}
		return judgeRates(coverage, t.Config.Thresholds.RatesGap)
	},
}

// judgeRates says it of all currencies when all are covered, else of each that
// is not.
func judgeRates(c etfdata.Coverage, gap int) (findings []report.Finding) {
	const looked = "exchange rates"
	counts := map[string]int64{"looked": c.Prices, "days": c.Days, "violations": 0}
	switch {
	case c.Absent != "":
		return []report.Finding{{Status: report.OK, Looked: looked, Found: "none is needed: " + c.Absent, Key: "rates"}}
	case len(c.Holes) == 0:
		f := found(looked, "%s converted prices, %s days and currencies, all covered within %d days", report.Count(c.Prices), report.Count(c.Days), gap)
		f.Key, f.Counts, f.SQL = "rates", counts, c.SQL
		return []report.Finding{f}
	}
	for from, to := 0, 0; from < len(c.Holes); from = to {
		for to = from; to < len(c.Holes) && c.Holes[to].Currency == c.Holes[from].Currency; to++ {
		}
		findings = append(findings, judgeCurrency(c.Holes[from:to], c))
	}
	return findings
}

// shownHoles is how many ranges of a currency are named; all are in Details.
const shownHoles = 3

func judgeCurrency(holes []etfdata.Hole, c etfdata.Coverage) report.Finding {
	var prices int64
	var ranges []string
	for _, h := range holes {
		prices += h.Prices
		ranges = append(ranges, h.String())
	}
	currency := holes[0].Currency
	what := fmt.Sprintf("%s of %s converted prices have no rate that is new enough: %s",
		report.Count(prices), report.Count(c.Prices), strings.Join(ranges[:min(len(ranges), shownHoles)], "; "))
	if more := len(ranges) - shownHoles; more > 0 {
		what += fmt.Sprintf("; and %s ranges more", report.Count(int64(more)))
	}
	f := fault("exchange rates of "+currencyName(currency), what, "load the rates of these days; see all ranges with: "+c.SQL)
	f.Key, f.SQL, f.Details = currencyName(currency), c.SQL, holes
	f.Counts = map[string]int64{"looked": c.Prices, "violations": prices, "ranges": int64(len(holes))}
	f.Samples = ranges[:min(len(ranges), 5)]
	return f
}

// currencyName is a currency as a word, also where a price names none.
func currencyName(currency string) string {
	if currency == "" {
		return "no currency"
	}
	return currency
}
