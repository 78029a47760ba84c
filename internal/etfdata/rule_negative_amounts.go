package etfdata

var negativeAmounts = Rule{
	Name: "negative-amounts", Severity: Fault,
	Title: "volume and dividends are not negative",
	Needs: []string{"etf_prices.volume", "etf_prices.dividends"},
	view:  prices, where: always("(p.volume < 0 OR p.dividends < 0)"),
}
