// Package rollbackbench measures what a rollback, and looking at all rows,
// cost against what the plain tools cost, in one run on one server.
package rollbackbench

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var folder string

// The server is started by the benchmark: the tests of all packages need none.
func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) error { folder = dir; return nil }))
}

// startServer starts a server that syncs to the disk, as a real one does: what
// is compared depends on it.
func startServer(b *testing.B) (*testserver.Postgres, postgres.URL) {
	b.Helper()
	server, err := testserver.StartPostgres(folder, "fsync=on", "synchronous_commit=on", "full_page_writes=on", "max_wal_size=2GB", "shared_buffers=128MB")
	must(b, err)
	u, err := postgres.ParseURL(server.URL("goldfinch"))
	must(b, err)
	admin := connect(b, u.WithDatabase("postgres"))
	execute(b, admin, "CREATE ROLE etf_app")
	execute(b, admin, "CREATE DATABASE goldfinch")
	return server, u
}

// prices is how many the database holds.
func prices(b *testing.B) int {
	n := 5_000_000
	if text := os.Getenv("ETF_BENCH_PRICES"); text != "" {
		if _, err := fmt.Sscan(text, &n); err != nil {
			b.Fatalf("ETF_BENCH_PRICES: %v", err)
		}
	}
	return n
}

// fillSQL makes the prices of 2,000 ETFs, working day by working day as they
// come in.
const fillSQL = `
INSERT INTO etfs (id, isin, symbol, name, currency) SELECT 'E' || i || '.US', 'IE' || i, 'E' || i, 'ETF ' || i, 'USD' FROM generate_series(0, 1999) i;
INSERT INTO etf_prices (etf_id, date, price, volume, high, low, open, original_currency)
	SELECT 'E' || i % 2000 || '.US', date '2010-01-04' + i / 2000 + i / 10000 * 2, p, 1000 + i % 90000, p + 0.4, p - 0.4, p + 0.1, 'USD'
	FROM generate_series(0, $1::int - 1) i, LATERAL (SELECT (20 + i % 2000 % 180 + 5 * sin(i / 2000 / 30.0))::numeric(20,2) AS p) q`

// fill makes the service's schema with n prices, under the fence of token 1.
func fill(b *testing.B, u postgres.URL, n int) {
	b.Helper()
	conn := connect(b, u)
	execute(b, conn, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY); INSERT INTO alembic_version VALUES ('0001')")
	execute(b, conn, etfservice.BaseSchema())
	execute(b, conn, strings.ReplaceAll(fillSQL, "$1", fmt.Sprint(n)))
	execute(b, conn, "VACUUM ANALYZE")
	must(b, postgres.EnsureOps(b.Context(), conn))
	must(b, postgres.TakeFence(b.Context(), conn, token, operation))
	must(b, conn.Close(b.Context()))
}

const (
	token     = 1
	operation = "bench"
)

func dump(b *testing.B, u postgres.URL) (string, postgres.DumpInfo) {
	b.Helper()
	file := filepath.Join(b.TempDir(), "database.dump")
	info, err := postgres.Dump(b.Context(), host.Local{}, postgres.DumpOptions{URL: u, File: file, ApplicationName: operation})
	must(b, err)
	return file, info
}

func connect(b *testing.B, u postgres.URL) *pgx.Conn {
	b.Helper()
	conn, err := postgres.Connect(b.Context(), host.Local{}, u, operation)
	must(b, err)
	b.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func execute(b *testing.B, conn *pgx.Conn, sql string) {
	b.Helper()
	_, err := conn.PgConn().Exec(b.Context(), sql).ReadAll()
	must(b, err)
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
