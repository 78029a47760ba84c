package etfdata

import "time"

// A Rule is a condition that no row of its view may fulfil. Name is what the
// configuration and the reports call it.
type Rule struct {
	Name     string
	Title    string
	Severity Severity
	Needs    []string // table.column that it cannot look without

	view  func(*schema) view
	where func(*schema, Options) string // what is true for rows that break it
}

// Rules are all data rules, in the order in which they are shown.
func Rules() []Rule {
	return []Rule{
		orphanPrices,
		pricePositive,
		priceRange,
		dateFuture,
		dateBeforeEuro,
		dateWeekend,
		currencyStored,
		currencyOriginal,
		negativeAmounts,
		duplicatePrices,
		lastPrice,
		lastUpdate,
		isinCheckDigit,
		stuckUpdates,
		stuckRateUpdates,
	}
}

// always is for rules whose condition depends on nothing.
func always(where string) func(*schema, Options) string {
	return func(*schema, Options) string { return where }
}

// prices is every stored price with its ETF, if that exists.
func prices(s *schema) view { return pricesIn(s, "etf_prices") }

// pricesIn is that view of another table with the columns of etf_prices.
func pricesIn(s *schema, table string) view {
	v := view{from: table + " p", row: "p.*", order: "p.id", looks: "etf_prices",
		key: "format('%s %s #%s', p.etf_id, p.date, p.id)"}
	if s.has("etfs.id") {
		v.from += " LEFT JOIN etfs e ON e.id = p.etf_id"
	}
	return v
}

func etfs(*schema) view {
	return view{from: "etfs e", row: "e.*", order: "e.id", looks: "etfs", key: "e.id"}
}

// newest is every ETF that has prices, with the date of the newest one and the
// prices of that date, one for each source. Without an index that finds them,
// the table is read once for all instead of once for each ETF.
func newest(s *schema) view {
	v := view{row: "e.id, e.last_price, e.last_update, n.date, n.prices", order: "e.id", key: "e.id",
		looks: "etfs with prices"}
	if s.leads("etf_prices", "etf_id", "date") {
		v.from = `etfs e CROSS JOIN LATERAL (SELECT p.date, array_agg(p.price) AS prices FROM etf_prices p
			WHERE p.etf_id = e.id AND p.date = (SELECT max(m.date) FROM etf_prices m WHERE m.etf_id = e.id)
			GROUP BY p.date) n`
		return v
	}
	v.from = `etfs e JOIN (SELECT p.etf_id, p.date, array_agg(p.price) AS prices FROM etf_prices p
		JOIN (SELECT etf_id, max(date) AS date FROM etf_prices GROUP BY etf_id) m USING (etf_id, date)
		GROUP BY p.etf_id, p.date) n ON n.etf_id = e.id`
	return v
}

func date(t time.Time) string { return "DATE '" + t.Format(time.DateOnly) + "'" }

func timestamp(t time.Time) string { return "TIMESTAMP '" + t.Format(time.DateTime) + "'" }
