package etfdata

// Prices and rates are updated in the same way, each with a table of its own.
var (
	stuckUpdates = Rule{
		Name: "stuck-updates", Severity: Warning,
		Title: "no update of an ETF is stuck in processing",
		Needs: []string{"etf_updates.status", "etf_updates.created_at"},
		view: func(*schema) view {
			return view{from: "etf_updates u", row: "u.*", order: "u.id", looks: "etf_updates",
				key: "format('%s #%s', u.etf_id, u.id)"}
		},
		where: stuck,
	}
	stuckRateUpdates = Rule{
		Name: "stuck-rate-updates", Severity: Warning,
		Title: "no update of exchange rates is stuck in processing",
		Needs: []string{"exchange_rate_updates.status", "exchange_rate_updates.created_at"},
		view: func(*schema) view {
			return view{from: "exchange_rate_updates u", row: "u.*", order: "u.id", looks: "exchange_rate_updates",
				key: "format('#%s', u.id)"}
		},
		where: stuck,
	}
)

func stuck(_ *schema, o Options) string {
	return "u.status = 'processing' AND u.created_at < " + timestamp(o.Now.Add(-o.StuckAfter))
}
