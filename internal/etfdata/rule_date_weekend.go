package etfdata

var dateWeekend = Rule{
	Name: "date-weekend", Severity: Fault,
	Title: "no price is of a Saturday or Sunday",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: always(weekend("p.date")),
}
