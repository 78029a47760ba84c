package etfdata

import "fmt"

var missingPrices = Rule{
	Name: "missing-prices", Severity: Warning,
	Title: "dates without a price that updates noted are filled",
	Needs: []string{"etf_updates.etf_id", "etf_updates.missing_dates", "etf_updates.created_at", "etf_prices.etf_id", "etf_prices.date"},
	view: func(*schema, Options) view {
		return view{from: `(SELECT u.etf_id, d.date, min(u.created_at) AS noted FROM etf_updates u
			CROSS JOIN LATERAL unnest(u.missing_dates) AS d (date) GROUP BY 1, 2) m`, row: "m.*", order: "m.etf_id, m.date",
			looks: "etf_updates.missing_dates", key: "format('%s %s', m.etf_id, m.date)"}
	},
	where: func(_ *schema, o Options) string {
		return missing(o) + " AND NOT EXISTS (SELECT FROM etf_prices p WHERE p.etf_id = m.etf_id AND p.date = m.date)"
	},
}

// missing leaves out what was noted of late, and days on which nothing is
// published: these cannot be filled, and are not waited for.
func missing(o Options) string {
	closed := datesOf(o, o.Closed, newYear, goodFriday, easterMonday, mayDay, christmas, boxingDay)
	return fmt.Sprintf("m.noted < %s AND NOT %s AND m.date <> ALL (%s)", before(o, o.MissingAfter), weekend("m.date"), closed)
}
