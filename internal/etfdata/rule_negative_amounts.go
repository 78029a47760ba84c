package etfdata

import "strings"

// Each of them may be missing: releases differ in what they store.
var negativeAmounts = Rule{
	Name: "negative-amounts", Severity: Fault,
	Title: "volume, dividends and capital gains are not negative",
	Any:   []string{"etf_prices.volume", "etf_prices.dividends", "etf_prices.capital_gains"},
	view:  prices, where: func(s *schema, _ Options) string {
		return "(" + strings.Join(inPrices(s, "%s < 0", "volume", "dividends", "capital_gains"), " OR ") + ")"
	},
}

// inPrices gives a condition for each of the columns that prices have; %s in
// it stands for the column.
func inPrices(s *schema, condition string, columns ...string) (list []string) {
	for _, c := range columns {
		if s.has("etf_prices." + c) {
			list = append(list, strings.ReplaceAll(condition, "%s", "p."+c))
		}
	}
	return list
}
