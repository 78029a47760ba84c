package etfdata

import "strings"

// Where a constraint keeps prices from repeating there is nothing to search;
// the rule then rides on the pass over all prices.
var duplicatePrices = Rule{
	Name: "duplicate-prices", Severity: Fault,
	Title: "there is one price for an ETF, day and source",
	Needs: []string{"etf_prices.etf_id", "etf_prices.date"},
	view: func(s *schema) view {
		if s.unique("etf_prices", priceKey(s)...) {
			return prices(s)
		}
		columns := strings.Join(priceKey(s), ", ")
		return view{from: "(SELECT " + columns + ", count(*) AS n FROM etf_prices GROUP BY " + columns + ") d",
			row: "d.*", order: "d.etf_id, d.date", looks: "prices by " + columns,
			key: "format('%s %s', d.etf_id, d.date)"}
	},
	where: func(s *schema, _ Options) string {
		if s.unique("etf_prices", priceKey(s)...) {
			return "false"
		}
		return "d.n > 1"
	},
}

// priceKey is what makes a price one price: earlier releases know no source.
func priceKey(s *schema) []string {
	key := []string{"etf_id", "date"}
	if s.has("etf_prices.source") {
		key = append(key, "source")
	}
	return key
}
