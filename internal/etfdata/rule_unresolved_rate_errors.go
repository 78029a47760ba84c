package etfdata

var unresolvedRateErrors = Rule{
	Name: "unresolved-rate-errors", Severity: Warning,
	Title: "no error of exchange rates stays unresolved",
	Needs: []string{"exchange_rate_errors.resolved", "exchange_rate_errors.created_at"},
	view:  updates("exchange_rate_errors", byID), where: unresolved,
}
