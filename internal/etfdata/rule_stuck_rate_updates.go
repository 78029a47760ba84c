package etfdata

var stuckRateUpdates = Rule{
	Name: "stuck-rate-updates", Severity: Warning,
	Title: "no update of exchange rates is stuck in processing",
	Needs: []string{"exchange_rate_updates.status", "exchange_rate_updates.created_at"},
	view:  updates("exchange_rate_updates", byID), where: stuck,
}
