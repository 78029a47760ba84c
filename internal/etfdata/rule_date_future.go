package etfdata

var dateFuture = Rule{
	Name: "date-future", Severity: Fault,
	Title: "no price is of a day to come (UTC)",
	Needs: []string{"etf_prices.date"},
	view:  prices, where: func(_ *schema, o Options) string { return "p.date > " + date(o.Now) },
}
