package rollbackbench

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
)

// wrongs is how many rows are wrong.
const wrongs = 1000

// corrupt makes rows wrong that are spread over the whole table; the first
// call others than the second.
func corrupt(b *testing.B, u postgres.URL, n, call int) {
	b.Helper()
	conn := connect(b, u)
	execute(b, conn, fmt.Sprintf("UPDATE etf_prices SET price = price * 1.1 WHERE id IN (SELECT %d + i * %d FROM generate_series(0, %d) i)", call, n/wrongs, wrongs-1))
	must(b, conn.Close(b.Context()))
}

// repair finds the wrong rows, restores them from the backup and verifies that.
func repair(b *testing.B, u postgres.URL, backup rowdiff.Backup) time.Duration {
	b.Helper()
	conn := connect(b, u)
	defer conn.Close(b.Context())
	return measure(b, u, func() {
		diff, err := rowdiff.Compare(b.Context(), rowdiff.Options{Host: host.Local{}, Live: u, Backup: backup, ApplicationName: operation, Token: token, Operation: operation})
		must(b, err)
		if diff.Differ() != wrongs {
			b.Fatalf("%d rows differ: %+v", diff.Differ(), diff)
		}
		execute(b, conn, "UPDATE etf_ops.work_rows SET class = 'restore', columns = changed")
		applied, err := rowdiff.Apply(b.Context(), rowdiff.ApplyOptions{Host: host.Local{}, Live: u, ApplicationName: operation, Token: token, Operation: operation})
		must(b, err)
		if applied.Restored != wrongs {
			b.Fatalf("restored: %+v", applied)
		}
		_, err = rowdiff.VerifyApplied(b.Context(), rowdiff.VerifyOptions{Host: host.Local{}, Live: u, ApplicationName: operation})
		must(b, err)
	})
}

// copyOut reads the table of prices once, as any comparison of all rows would.
func copyOut(b *testing.B, u postgres.URL) time.Duration {
	b.Helper()
	conn := connect(b, u)
	defer conn.Close(b.Context())
	return measure(b, u, func() {
		_, err := conn.PgConn().CopyTo(b.Context(), io.Discard, "COPY etf_prices TO STDOUT")
		must(b, err)
	})
}
