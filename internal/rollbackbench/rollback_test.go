package rollbackbench

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// BenchmarkRollback measures, on ETF_BENCH_PRICES prices (5 million):
//
//	plain-s        pg_restore of the dump into an empty database, one job
//	restore/plain  the side database made, restored, analysed and checked
//	dump/plain     1,000 wrong rows found by the dump, restored and verified
//	copy-s         the table of prices, read out once
//	side/copy      1,000 wrong rows found by a side database, restored and verified
//	swap-s         the side database becomes the live one
//	back-s         and the one before again
//	peak-MiB       of memory, of this process: the suite's part alone
func BenchmarkRollback(b *testing.B) {
	server, u := startServer(b)
	defer server.Stop()
	n := prices(b)
	fill(b, u, n)
	file, info := dump(b, u)
	const side, kept = "goldfinch_side", "goldfinch_kept"
	dumped := rowdiff.Backup{ID: "bench", Info: info, File: file, BinDir: server.Bin}
	beside := rowdiff.Backup{ID: "bench", Info: info, Side: side}
	for b.Loop() {
		plain := plainRestore(b, server, u, file)
		b.ReportMetric(plain.Seconds(), "plain-s")
		restored := measure(b, u, func() {
			must(b, postgres.Restore(b.Context(), host.Local{}, postgres.RestoreOptions{
				URL: u, File: file, Info: info, Side: side, ApplicationName: operation, Token: token, Operation: operation,
			}))
		})
		b.ReportMetric(restored.Seconds()/plain.Seconds(), "restore/plain")

		corrupt(b, u, n, 1)
		b.ReportMetric(repair(b, u, dumped).Seconds()/plain.Seconds(), "dump/plain")
		corrupt(b, u, n, 2)
		copied := copyOut(b, u)
		b.ReportMetric(copied.Seconds(), "copy-s")
		b.ReportMetric(repair(b, u, beside).Seconds()/copied.Seconds(), "side/copy")

		b.ReportMetric(swap(b, u, side, kept).Seconds(), "swap-s")
		b.ReportMetric(swap(b, u, kept, side).Seconds(), "back-s")
		must(b, postgres.DropSide(b.Context(), host.Local{}, u.WithDatabase(side), operation))
		b.ReportMetric(peakMiB(b), "peak-MiB")
	}
}

// measure says how long f takes, begun with nothing left to be written from
// what was before.
func measure(b *testing.B, u postgres.URL, f func()) time.Duration {
	b.Helper()
	conn := connect(b, u.WithDatabase("postgres"))
	execute(b, conn, "CHECKPOINT")
	must(b, conn.Close(b.Context()))
	began := time.Now()
	f()
	return time.Since(began)
}

// plainRestore is what a person would do by hand.
func plainRestore(b *testing.B, server *testserver.Postgres, u postgres.URL, file string) time.Duration {
	b.Helper()
	conn := connect(b, u.WithDatabase("postgres"))
	execute(b, conn, "CREATE DATABASE plain")
	defer execute(b, conn, "DROP DATABASE plain")
	return measure(b, u, func() {
		_, err := host.Local{}.Run(b.Context(), host.Command{
			Argv: []string{filepath.Join(server.Bin, "pg_restore"), "--exit-on-error", "--no-password", "--dbname=plain", file},
			Env:  u.WithDatabase("plain").Env(operation), Timeout: time.Hour,
		})
		must(b, err)
	})
}

func swap(b *testing.B, u postgres.URL, side, kept string) time.Duration {
	b.Helper()
	return measure(b, u, func() {
		must(b, postgres.Swap(b.Context(), host.Local{}, postgres.SwapOptions{
			URL: u, Side: side, Kept: kept, Reason: "measured", ApplicationName: operation, Token: token, Operation: operation,
		}))
	})
}

// peakMiB is the most memory that this process has had.
func peakMiB(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	must(b, err)
	var kB float64
	_, after, _ := bytes.Cut(status, []byte("VmHWM:"))
	if _, err := fmt.Sscan(string(after), &kB); err != nil {
		b.Fatal(err)
	}
	return kB / 1024
}
