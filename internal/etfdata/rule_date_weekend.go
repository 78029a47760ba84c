package etfdata

// 1900-01-01 was a Monday; counting days is much cheaper than extract(isodow).
// Infinity has no weekday, and subtracting from it would end the whole pass.
var dateWeekend = Rule{
	Name: "date-weekend", Severity: Fault,
	Title: "no price is of a Saturday or Sunday",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: always("CASE WHEN isfinite(p.date) THEN (p.date - DATE '1900-01-01') % 7 >= 5 END"),
}
