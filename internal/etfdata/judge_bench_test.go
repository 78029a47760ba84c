package etfdata

import (
	"testing"

	"github.com/jackc/pgx/v5"
)

// A quarter of a million changed prices, 60,000 new ones beside trusted ones,
// and 50,000 of new ETFs, in a table of half a million.
func BenchmarkJudge(b *testing.B) {
	d := newJudged(b, "bench", "1.1")
	d.exec(`INSERT INTO etfs (id, isin, symbol, name, currency) SELECT 'E' || i, 'IE00BK5BQT80', i, i, 'USD' FROM generate_series(1, 200) i;
		INSERT INTO exchange_rates (date, currency, rate) SELECT '2016-01-01'::date + i, c, 1.1 + 0.03 * sin(i / 60.0) FROM generate_series(0, 3900) i, unnest('{USD,CHF,GBP,JPY,CAD,AUD,SEK,DKK,NOK,SGD,HKD}'::text[]) c;
		INSERT INTO etf_prices (etf_id, date, price, high, low, open, volume, original_currency)
		SELECT e.id, d, p, p * 1.01, p * 0.99, p, 1, 'USD' FROM etfs e, (SELECT '2016-01-04'::date + i + i / 5 * 2 AS d, 100 + 10 * sin(i / 100.0) AS p FROM generate_series(0, 2499) i) d`)
	d.backUp()
	d.exec(`UPDATE etf_prices p SET price = price * r.rate, high = high * r.rate, low = low * r.rate, open = open * r.rate
			FROM exchange_rates r WHERE r.date = p.date AND r.currency = 'USD' AND substr(etf_id, 2)::int <= 100;
		INSERT INTO etf_prices (etf_id, date, price, high, low, open, original_currency)
		SELECT e.id, d, p, p * 1.01, p * 0.99, p, 'USD' FROM etfs e, (SELECT '2025-08-04'::date + i + i / 5 * 2 AS d, 100 + 10 * sin(i / 100.0) AS p FROM generate_series(0, 299) i) d;
		INSERT INTO etfs (id, isin, symbol, name, currency) SELECT 'N' || i, 'IE00BK5BQT80', i, i, 'USD' FROM generate_series(1, 20) i;
		INSERT INTO etf_prices (etf_id, date, price, original_currency) SELECT 'N' || i, '2016-01-04'::date + d + d / 5 * 2, 100, 'USD' FROM generate_series(1, 20) i, generate_series(0, 2499) d;
		ANALYZE`)
	d.compare()
	var n float64
	d.one("SELECT count(*) FROM etf_ops.work_rows", &n)
	o := JudgeOptions{Now: day("2026-12-01"), Backup: day("2025-08-03"), Writers: []Writer{{Release: "a", From: day("2025-08-03"), FromXID: 1}}}
	for b.Loop() {
		if err := pgx.BeginFunc(b.Context(), d.Conn, func(tx pgx.Tx) error { return Judge(b.Context(), tx, o) }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(n, "rows")
	b.ReportMetric(n*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
