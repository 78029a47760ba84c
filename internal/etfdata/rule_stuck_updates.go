package etfdata

var stuckUpdates = Rule{
	Name: "stuck-updates", Severity: Warning,
	Title: "no update of an ETF is stuck in processing",
	Needs: []string{"etf_updates.status", "etf_updates.created_at"},
	view:  updates("etf_updates", byETF), where: stuck,
}

func stuck(_ *schema, o Options) string {
	return "u.status = 'processing' AND u.created_at < " + before(o, o.StuckAfter)
}
