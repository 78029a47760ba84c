package etfdata

var unresolvedErrors = Rule{
	Name: "unresolved-errors", Severity: Warning,
	Title: "no error of an ETF stays unresolved",
	Needs: []string{"etf_errors.resolved", "etf_errors.created_at"},
	view:  updates("etf_errors", byETF), where: unresolved,
}

func unresolved(_ *schema, o Options) string {
	return "u.resolved IS NOT TRUE AND u.created_at < " + before(o, o.ErrorsAfter)
}
