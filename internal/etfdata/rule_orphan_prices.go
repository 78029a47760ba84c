package etfdata

// A foreign key forbids these, but a restore without triggers lets them in.
// An index that begins with the ETF leads from one ETF to the next, so that
// each is looked up once instead of once for each of its prices.
var orphanPrices = Rule{
	Name: "orphan-prices", Severity: Fault,
	Title: "every price belongs to an ETF",
	Needs: []string{"etf_prices.etf_id", "etfs.id"},
	view:  prices, where: always("NOT EXISTS (SELECT FROM etfs e WHERE e.id = p.etf_id)"),
	sooner: func(s *schema) string {
		if !s.leads("etf_prices", "etf_id") || !s.required["etf_prices.etf_id"] {
			return ""
		}
		return `(WITH RECURSIVE named (id) AS (
				(SELECT etf_id FROM etf_prices ORDER BY etf_id LIMIT 1)
				UNION ALL
				SELECT (SELECT n.etf_id FROM etf_prices n WHERE n.etf_id > named.id ORDER BY n.etf_id LIMIT 1) FROM named WHERE named.id IS NOT NULL
			) SELECT id FROM named WHERE id IS NOT NULL AND NOT EXISTS (SELECT FROM etfs e WHERE e.id = named.id)) o
			JOIN etf_prices p ON p.etf_id = o.id`
	},
}
