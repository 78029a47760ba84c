package etfdata

// Values that are not known (NULL) break nothing.
var priceRange = Rule{
	Name: "price-range", Severity: Fault,
	Title: "opening and closing price lie between low and high",
	Needs: []string{"etf_prices.price", "etf_prices.open", "etf_prices.high", "etf_prices.low"},
	view:  prices, where: always("(p.low > p.high OR p.price > p.high OR p.price < p.low OR p.open > p.high OR p.open < p.low)"),
}
