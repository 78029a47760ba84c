package etfdata

// Prices are stored in EUR, which did not exist before.
var dateBeforeEuro = Rule{
	Name: "date-before-euro", Severity: Fault,
	Title: "no price is older than the euro (1999-01-01)",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: always("p.date < DATE '1999-01-01'"),
}
