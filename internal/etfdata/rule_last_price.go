package etfdata

// Several sources may have a price of the newest day: any of them will do.
var lastPrice = Rule{
	Name: "last-price", Severity: Warning,
	Title: "last_price is the newest price",
	Needs: []string{"etfs.last_price", "etf_prices.price", "etf_prices.date", "etf_prices.etf_id"},
	view:  newest, where: always("(e.last_price = ANY (n.prices)) IS NOT TRUE"),
}
