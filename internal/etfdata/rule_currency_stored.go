package etfdata

var currencyStored = Rule{
	Name: "currency-stored", Severity: Fault,
	Title: "prices are stored in EUR",
	Needs: []string{"etf_prices.currency"},
	view:  prices, where: always("p.currency IS DISTINCT FROM 'EUR'"),
}
