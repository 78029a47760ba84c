package etfdata

import "fmt"

var missingRates = Rule{
	Name: "missing-rates", Severity: Warning,
	Title: "dates without a rate that updates noted are filled",
	Needs: []string{"exchange_rate_updates.missing_dates", "exchange_rate_updates.created_at", "exchange_rates.date", "exchange_rates.currency"},
	view: func(s *schema, _ Options) view {
		currencies := "'{NULL}'::text[]" // any
		if s.has("exchange_rate_updates.currencies") {
			currencies = "coalesce(u.currencies::text[], '{NULL}')"
		}
		return view{from: fmt.Sprintf(`(SELECT c.currency, d.date, min(u.created_at) AS noted FROM exchange_rate_updates u
			CROSS JOIN LATERAL unnest(u.missing_dates) AS d (date) CROSS JOIN LATERAL unnest(%s) AS c (currency) GROUP BY 1, 2) m`, currencies),
			row: "m.*", order: "m.currency, m.date", looks: "exchange_rate_updates.missing_dates",
			key: "format('%s %s', coalesce(m.currency, 'rates of'), m.date)"}
	},
	where: func(_ *schema, o Options) string {
		return missing(o) + " AND NOT EXISTS (SELECT FROM exchange_rates r WHERE r.date = m.date AND r.currency = coalesce(m.currency, r.currency))"
	},
}
