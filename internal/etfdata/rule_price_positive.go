package etfdata

// NaN is greater than every number for PostgreSQL, so it is named.
var pricePositive = Rule{
	Name: "price-positive", Severity: Fault,
	Title: "prices are above zero",
	Needs: []string{"etf_prices.price"},
	view:  prices, where: always("(p.price <= 0 OR p.price = 'NaN')"),
}
