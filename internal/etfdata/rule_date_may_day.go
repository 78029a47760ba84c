package etfdata

import "fmt"

// London has listings in euro and francs, and trades on 1 May; Dublin did
// until 2018.
var dateMayDay = Rule{
	Name: "date-may-day", Severity: Warning,
	Title: "no price in euro or francs is of 1 May",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: func(s *schema, o Options) string {
		return fmt.Sprintf("(p.date = ANY (%s) AND %s)", datesOf(o, nil, mayDay), quoted(s, "IN ('EUR', 'CHF')"))
	},
}
