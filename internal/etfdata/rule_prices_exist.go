package etfdata

// An emptied table breaks no other rule.
var pricesExist = Rule{
	Name: "prices-exist", Severity: Fault,
	Title: "where there are ETFs there are prices",
	Needs: []string{"etfs.id", "etf_prices.etf_id"},
	view: func(*schema, Options) view {
		return view{from: "(SELECT e.*, EXISTS (SELECT FROM etf_prices) AS priced FROM etfs e) e", row: "e.*", order: "e.id", looks: "etfs", key: "e.id"}
	},
	where: always("NOT e.priced"),
}
