package etfdata

import "strings"

// Values that are not known (NULL) break nothing. That low is above high is
// told by the price, which cannot lie between them then.
var priceRange = Rule{
	Name: "price-range", Severity: Fault,
	Title: "opening and closing price lie between low and high",
	Needs: []string{"etf_prices.price"},
	Any:   []string{"etf_prices.high", "etf_prices.low"},
	view:  prices, where: func(s *schema, _ Options) string {
		var list []string
		for _, limit := range []string{"> p.high", "< p.low"} {
			if s.has("etf_prices." + limit[len("> p."):]) {
				list = append(list, inPrices(s, "%s "+limit, "price", "open")...)
			}
		}
		return "(" + strings.Join(list, " OR ") + ")"
	},
}
