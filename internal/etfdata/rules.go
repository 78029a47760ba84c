package etfdata

import "time"

// A Rule is a condition that no row of its view may fulfil. Name is what the
// configuration and the reports call it.
type Rule struct {
	Name     string
	Title    string
	Severity Severity
	Needs    []string // table.column that it cannot look without
	Any      []string // of these it needs one at least

	view  func(*schema, Options) view
	where func(*schema, Options) string // what is true for rows that break it

	// What comes after FROM to find the same rows sooner, where there is such.
	sooner func(*schema) string
	// For rules on neighbours in a series of prices: which ETFs may break it,
	// and the view of no more than their rows.
	suspects func(*sieve) []span
	among    func(rows string, s *schema, o Options) view
}

// Rules are all data rules, in the order in which they are shown.
func Rules() []Rule {
	return []Rule{
		pricesExist,
		orphanPrices,
		orphanRows,
		orphanNames,
		pricePositive,
		priceRange,
		priceJump,
		priceGap,
		dateFuture,
		dateBeforeEuro,
		dateWeekend,
		dateHoliday,
		dateMayDay,
		currencyStored,
		currencyOriginal,
		negativeAmounts,
		duplicatePrices,
		duplicateRates,
		lastPrice,
		lastUpdate,
		isinCheckDigit,
		stuckUpdates,
		stuckRateUpdates,
		unresolvedErrors,
		unresolvedRateErrors,
		missingPrices,
		missingRates,
	}
}

// applies is the error of a rule that has nothing to look at.
func (r Rule) applies(s *schema) error {
	if err := s.lacks(r.Needs); err != nil {
		return err
	}
	if len(r.Any) > 0 && len(s.present(r.Any...)) == 0 {
		return s.lacks(r.Any)
	}
	return nil
}

func (r Rule) narrow(s *schema) string {
	if r.sooner == nil {
		return ""
	}
	return r.sooner(s)
}

// always is for rules whose condition depends on nothing.
func always(where string) func(*schema, Options) string {
	return func(*schema, Options) string { return where }
}

// prices is every stored price.
func prices(*schema, Options) view { return pricesIn("etf_prices") }

// pricesIn is that view of another table with the columns of etf_prices.
func pricesIn(table string) view {
	return view{from: table + " p", row: "p.*", order: "p.id", looks: "etf_prices",
		key: "format('%s %s #%s', p.etf_id, p.date, p.id)"}
}

func etfs(*schema, Options) view {
	return view{from: "etfs e", row: "e.*", order: "e.id", looks: "etfs", key: "e.id"}
}

// newest is every ETF that has prices, with the date of the newest one and the
// prices of that date, one for each source. Without an index that finds them,
// the table is read once for all instead of once for each ETF.
func newest(s *schema, _ Options) view {
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

// updates is a table of the service's work, of updates or of errors.
func updates(table, key string) func(*schema, Options) view {
	return func(*schema, Options) view {
		return view{from: table + " u", row: "u.*", order: "u.id", looks: table, key: key}
	}
}

const (
	byETF = "format('%s #%s', u.etf_id, u.id)"
	byID  = "format('#%s', u.id)"
)

func before(o Options, age time.Duration) string { return timestamp(o.Now.Add(-age)) }

func date(t time.Time) string { return "DATE '" + t.Format(time.DateOnly) + "'" }

func timestamp(t time.Time) string { return "TIMESTAMP '" + t.Format(time.DateTime) + "'" }
