package etfdata

import (
	"fmt"
	"strconv"
)

// A price and the one before it of the same ETF and source, in the order of
// days. Values alone do not say which of the two is wrong.
var priceJump = Rule{
	Name: "price-jump", Severity: Fault,
	Title: "no price is far from the one before it, unless a split explains it",
	Needs: []string{"etf_prices.etf_id", "etf_prices.date", "etf_prices.price"},
	view:  func(s *schema, o Options) view { return jumpsIn("etf_prices", s, o) },
	where: jumps, among: jumpsIn, suspects: func(v *sieve) []span { return v.jumps },
}

// jumpsIn is each price with the one before it. Days before the euro and days
// to come have rules of their own, as have prices that are not above zero;
// they are left out.
func jumpsIn(rows string, s *schema, o Options) view {
	series := "p.etf_id"
	if s.has("etf_prices.source") {
		series += ", p.source"
	}
	return view{from: fmt.Sprintf(`(SELECT p.*, lag(p.price) OVER w AS price_before, lag(p.date) OVER w AS date_before FROM %s p
			WHERE p.price > 0 AND p.price < 'Infinity' AND %s WINDOW w AS (PARTITION BY %s ORDER BY p.date, p.id)) p`, rows, inEuro(o), series),
		row: "p.*", order: "p.etf_id, p.date, p.id", looks: "etf_prices", key: "format('%s %s #%s', p.etf_id, p.date, p.id)"}
}

// jumps is true where the price moved by more than the limit, and no split
// since the one before would bring it within. Splits are of the ETF, whichever
// source says so.
func jumps(s *schema, o Options) string {
	limit := strconv.FormatFloat(o.Jump, 'f', -1, 64)
	far := func(price string) string {
		return fmt.Sprintf("abs(%s - p.price_before) > %s * p.price_before", price, limit)
	}
	where := far("p.price")
	if s.has("etf_prices.stock_splits") {
		where += ` AND NOT EXISTS (SELECT FROM etf_prices s WHERE s.etf_id = p.etf_id AND s.date > p.date_before AND s.date <= p.date
			AND s.stock_splits > 0 AND s.stock_splits < 'Infinity' AND NOT ` + far("p.price * s.stock_splits") + ")"
	}
	return where
}
