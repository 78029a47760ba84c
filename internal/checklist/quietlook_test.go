package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

func TestLooksAtRowsGaugeAndTransactions(t *testing.T) {
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	defer server.Stop()
	target := filed(t)
	target.Observer = report.NewPrinter(&strings.Builder{})
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL, target.Config.Database.Name = server.URL("postgres"), "postgres"
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	defer conn.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	if _, err := target.processingRows(t.Context()); err == nil || !strings.Contains(err.Error(), "etf_updates") {
		t.Errorf("without the table: %v", err)
	}
	exec(`CREATE TABLE etf_updates (id serial PRIMARY KEY, etf_id text, status text, created_at timestamp)`)
	exec(`INSERT INTO etf_updates (etf_id, status, created_at) VALUES ('A', 'completed', '2026-11-23 09:00'), ('B', 'processing', '2026-11-23 10:00:00.5'), ('C', 'processing', NULL), ('D', 'pending', now()), ('E', 'processing', '2026-11-23 08:00')`)
	rows, err := target.processingRows(t.Context())
	want := []processingRow{{"etf_updates", "5", "E", noon.Add(-4 * time.Hour)}, {"etf_updates", "2", "B", noon.Add(-2*time.Hour + 500*time.Millisecond)}, {"etf_updates", "3", "C", time.Time{}}}
	if diff := cmp.Diff(want, rows); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	exec(`CREATE TABLE exchange_rate_updates (id int, status text); INSERT INTO exchange_rate_updates VALUES (7, 'processing')`)
	if rows, err := target.processingRows(t.Context()); err != nil || len(rows) != 4 || rows[3].name() != "exchange_rate_updates 7" {
		t.Errorf("%+v, %v", rows, err)
	}

	// Rows that are written from now on bear this number or a higher one.
	before, err := target.nextXID(t.Context(), "test")
	must(t, err)
	exec("CREATE TABLE t (x int)")
	exec("INSERT INTO t VALUES (1)")
	var xmin uint64
	must(t, conn.QueryRow(t.Context(), "SELECT xmin::text::bigint FROM t").Scan(&xmin))
	if after, err := target.nextXID(t.Context(), "test"); err != nil || xmin < before || after <= xmin {
		t.Errorf("before %d, row %d, after %d, %v", before, xmin, after, err)
	}
	comparisonOf(t, target, exec)
}

// comparisonOf reads what a comparison says of itself.
func comparisonOf(t *testing.T, target *Target, exec func(string)) {
	t.Helper()
	if _, err := target.comparisonNow(t.Context()); ExitCode(orNoComparison(err)) != 3 || !strings.Contains(orNoComparison(err).Error(), "data:inconsistencies") {
		t.Errorf("without one: %v", err)
	}
	exec("CREATE SCHEMA etf_ops; CREATE TABLE etf_ops.work_comparison (operation text, backup text, at timestamptz, snapshot pg_snapshot)")
	if _, err := target.comparisonNow(t.Context()); ExitCode(orNoComparison(err)) != 3 {
		t.Errorf("with none in the table: %v", err)
	}
	exec("INSERT INTO etf_ops.work_comparison VALUES ('op-1', '20261123T120000Z-abcdef12', '2026-11-23T12:00:00Z', pg_current_snapshot())")
	c, err := target.comparisonNow(t.Context())
	if err != nil || c.Operation != "op-1" || c.Backup != "20261123T120000Z-abcdef12" || !c.At.Equal(noon) {
		t.Errorf("%+v, %v", c, err)
	}
	// Its backup is gone.
	if _, _, err := target.ran(t, "data:restore", restoreDataStep{inputs{target}, Options{}}, Options{}); !errors.Is(err, errUntouched) || ExitCode(err) != 3 || !strings.Contains(err.Error(), c.Backup) {
		t.Errorf("of a backup that is gone: exit %d, %v", ExitCode(err), err)
	}
}

func TestActiveUpdates(t *testing.T) {
	body, code := "", http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, body) }))
	defer api.Close()
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.API.URL, target.Config.API.Metrics = api.URL, "/metrics"
	for _, c := range []struct {
		body  string
		code  int
		n     float64
		blind string
	}{
		{"# TYPE etf_active_updates gauge\netf_active_updates{pid=\"1\"} 2\netf_active_updates{pid=\"2\"} 1\n", 200, 3, ""},
		{"etf_active_updates 4\n", 200, 4, ""},
		{"# TYPE etf_active_updates gauge\netf_active_updates 0\n", 200, 0, ""},
		{"up 1\n", 200, 0, "etf_active_updates is not among the metrics at /metrics"},
		{"nothing", 404, 0, "/metrics answers 404 Not Found"},
	} {
		body, code = c.body, c.code
		if n, blind := target.activeUpdates(t.Context()); n != c.n || blind != c.blind {
			t.Errorf("%q: %v, %q", c.body, n, blind)
		}
	}
	target.Config.API.Metrics = ""
	if _, blind := target.activeUpdates(t.Context()); !strings.Contains(blind, "api.metrics is empty") {
		t.Error(blind)
	}
}
