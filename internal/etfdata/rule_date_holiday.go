package etfdata

import "fmt"

// On 1 January no exchange trades, on Good Friday and 25 December only Tokyo
// does. On Easter Monday and 26 December New York trades, so that a price may
// be of these days unless it was quoted in euro, pounds or francs: no exchange
// for those is open. What the configuration adds counts for all.
var dateHoliday = Rule{
	Name: "date-holiday", Severity: Fault,
	Title: "no price is of a holiday on which its currency's exchanges are closed",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: func(s *schema, o Options) string {
		all := datesOf(o, o.Closed, newYear)
		most := datesOf(o, nil, goodFriday, christmas)
		europe := datesOf(o, nil, easterMonday, boxingDay)
		return fmt.Sprintf("(p.date = ANY (%s) OR p.date = ANY (%s) AND %s OR p.date = ANY (%s) AND %s)",
			all, most, quoted(s, "<> 'JPY'"), europe, quoted(s, "IN ('EUR', 'GBP', 'GBp', 'CHF')"))
	},
}

// quoted is a condition on the currency that a price came in. Where none is
// said it came in euro; releases that knew no currencies had no other.
func quoted(s *schema, condition string) string {
	currency := "'EUR'"
	if s.has("etf_prices.original_currency") {
		currency = "coalesce(nullif(p.original_currency, ''), 'EUR')"
	}
	return currency + " " + condition
}
