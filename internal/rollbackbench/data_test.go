package rollbackbench

import (
	"context"
	"os"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// BenchmarkData measures, on ETF_BENCH_PRICES prices (5 million), of which
// 1,000 in as many places are wrong, and with one rate a week for each currency:
//
//	copy-s      the table of prices, read out once
//	data/copy   all data rules, as pre:data runs them
//	rates/copy  the coverage by exchange rates, as pre:rates does
//	peak-MiB    of memory, of this process, while the rules look
//
// Each is the median of three, in turn.
func BenchmarkData(b *testing.B) {
	server, u := startServer(b)
	defer server.Stop()
	n := prices(b)
	fill(b, u, n)
	corrupt(b, u, n, 1)
	conn := connect(b, u)
	execute(b, conn, `UPDATE etf_prices SET price = price * 3, high = high * 3, low = low * 3, open = open * 3 WHERE id IN (SELECT i * 100000 FROM generate_series(1, 10) i);
		INSERT INTO exchange_rates (date, currency, rate) SELECT date '2009-12-28' + 7 * i, c, 1.1 FROM generate_series(0, 1000) i, unnest('{USD,CHF,GBP}'::text[]) c;
		UPDATE etf_prices SET original_currency = (ARRAY['EUR', 'USD', 'GBp', 'CHF'])[1 + id % 4] WHERE id % 100 = 0`)
	execute(b, conn, "VACUUM ANALYZE")
	open := func(ctx context.Context) (*pgx.Conn, func(), error) {
		conn, err := postgres.Connect(ctx, host.Local{}, u, operation)
		return conn, func() { conn.Close(context.Background()) }, err
	}
	for b.Loop() {
		var copies, rules, rates, peaks []float64
		for range 3 {
			copies = append(copies, copyOut(b, u).Seconds())
			// The peak so far is forgotten.
			must(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0))
			rules = append(rules, measure(b, u, func() { lookByRules(b, open) }).Seconds())
			peaks = append(peaks, peakMiB(b))
			rates = append(rates, measure(b, u, func() {
				c, err := etfdata.Rates(b.Context(), open, 7)
				must(b, err)
				if c.Prices == 0 || len(c.Holes) > 0 {
					b.Fatalf("%+v", c)
				}
			}).Seconds())
		}
		b.ReportMetric(median(copies), "copy-s")
		b.ReportMetric(median(rules)/median(copies), "data/copy")
		b.ReportMetric(median(rates)/median(copies), "rates/copy")
		b.ReportMetric(slices.Max(peaks), "peak-MiB")
	}
}

func lookByRules(b *testing.B, open etfdata.Connect) {
	b.Helper()
	results, err := etfdata.Run(b.Context(), open, etfdata.Options{})
	must(b, err)
	for _, r := range results {
		must(b, r.Err)
		if r.Rule == "price-jump" && r.Violations == 0 {
			b.Fatal("no jump was found")
		}
	}
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}
