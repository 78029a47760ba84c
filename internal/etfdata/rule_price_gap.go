package etfdata

import "fmt"

// Between an ETF's first and newest price; that the newest one is old is no gap.
var priceGap = Rule{
	Name: "price-gap", Severity: Warning,
	Title: "prices of an ETF follow each other without a long gap",
	Needs: []string{"etf_prices.etf_id", "etf_prices.date"},
	view:  func(s *schema, o Options) view { return gapsIn("etf_prices", s, o) },
	where: func(_ *schema, o Options) string { return fmt.Sprintf("p.days > %d", o.Gap) },
	among: gapsIn, suspects: func(v *sieve) []span { return v.gaps },
}

// gapsIn is each day that an ETF has a price of, whatever its source, with the
// one before it and the number of working days between.
func gapsIn(rows string, _ *schema, o Options) view {
	return view{from: fmt.Sprintf(`(SELECT g.*, %s AS days FROM (SELECT p.etf_id, lag(p.date) OVER (PARTITION BY p.etf_id ORDER BY p.date) AS date_before, p.date
			FROM %s p WHERE %s) g) p`, workdays("g.date_before", "g.date"), rows, inEuro(o)),
		row: "p.*", order: "p.etf_id, p.date", looks: "etf_prices", key: "format('%s %s to %s', p.etf_id, p.date_before, p.date)"}
}
