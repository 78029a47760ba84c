package etfdata

import "strings"

var duplicatePrices = Rule{
	Name: "duplicate-prices", Severity: Fault,
	Title: "there is one price for an ETF, day and source",
	Needs: []string{"etf_prices.etf_id", "etf_prices.date"},
	view: func(s *schema, o Options) view {
		if s.unique("etf_prices", priceKey(s)...) {
			return prices(s, o)
		}
		return repeated("etf_prices", "format('%s %s', d.etf_id, d.date)", priceKey(s))
	},
	where: func(s *schema, _ Options) string { return repeats(s, "etf_prices", priceKey(s)) },
}

// priceKey is what makes a price one price: earlier releases know no source.
func priceKey(s *schema) []string {
	key := []string{"etf_id", "date"}
	if s.has("etf_prices.source") {
		key = append(key, "source")
	}
	return key
}

// repeats is the condition of a rule on duplicates. Where a constraint keeps
// rows from repeating there is nothing to search; the rule then rides on the
// pass over all of them.
func repeats(s *schema, table string, key []string) string {
	if s.unique(table, key...) {
		return "false"
	}
	return "d.n > 1"
}

// repeated is each value of a key, with the number of its rows.
func repeated(table, name string, key []string) view {
	columns := strings.Join(key, ", ")
	return view{from: "(SELECT " + columns + ", count(*) AS n FROM " + table + " GROUP BY " + columns + ") d",
		row: "d.*", order: "d." + strings.Join(key, ", d."), looks: table + " by " + columns, key: name}
}
