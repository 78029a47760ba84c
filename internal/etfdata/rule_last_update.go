package etfdata

var lastUpdate = Rule{
	Name: "last-update", Severity: Warning,
	Title: "last_update is not older than the newest price",
	Needs: []string{"etfs.last_update", "etf_prices.price", "etf_prices.date", "etf_prices.etf_id"},
	view:  newest, where: always("(e.last_update >= n.date) IS NOT TRUE"),
}
