package etfdata

// A foreign key forbids these, but a restore without triggers lets them in.
var orphanPrices = Rule{
	Name: "orphan-prices", Severity: Fault,
	Title: "every price belongs to an ETF",
	Needs: []string{"etf_prices.etf_id", "etfs.id"},
	view:  prices, where: always("e.id IS NULL"),
}
