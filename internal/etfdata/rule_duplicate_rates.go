package etfdata

var duplicateRates = Rule{
	Name: "duplicate-rates", Severity: Fault,
	Title: "there is one rate for a currency and day",
	Needs: []string{"exchange_rates.currency", "exchange_rates.date"},
	view: func(s *schema, _ Options) view {
		if s.unique("exchange_rates", rateKey...) {
			return view{from: "exchange_rates r", row: "r.*", order: "r.currency, r.date", key: "format('%s %s', r.currency, r.date)", looks: "exchange_rates"}
		}
		return repeated("exchange_rates", "format('%s %s', d.currency, d.date)", rateKey)
	},
	where: func(s *schema, _ Options) string { return repeats(s, "exchange_rates", rateKey) },
}

var rateKey = []string{"currency", "date"}
