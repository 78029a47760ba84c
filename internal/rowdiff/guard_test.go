package rowdiff

import (
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// When xmin cannot be trusted every row is compared, with the same result.
func TestGuards(t *testing.T) {
	for _, test := range []struct {
		why  string
		info func(*postgres.DumpInfo)
	}{
		{"the backup was made on another server", func(i *postgres.DumpInfo) { i.SystemIdentifier = "1" }},
		{"the backup was made of another database, or this one was restored since", func(i *postgres.DumpInfo) { i.DatabaseOID = 1 }},
		{"the backup does not say its snapshot", func(i *postgres.DumpInfo) { i.Snapshot = "" }},
		{"the backup's snapshot is newer than the server", func(i *postgres.DumpInfo) { i.Snapshot = "4294967999:4294967999:" }},
	} {
		t.Run(test.why, func(t *testing.T) {
			bothWays(t, service, func(w *world) {
				w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5; DELETE FROM etf_updates WHERE id = 5")
				test.info(&w.backup.Info)
				d := tableOf(t, w.compare(), "public.etf_prices")
				if d.How != "every row: "+test.why || d.Candidates != 3000 || d.Changed != 1 {
					t.Errorf("%+v", d)
				}
				same(t, "rows", w.found(), []string{`1 public.etf_prices changed {"id": 5} price`, `2 public.etf_updates deleted {"id": 5}`})
			})
		})
	}
}

// xmin, of 32 bits, cannot be told from that of a transaction long ago.
func TestGuardOfAnOldBackup(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5")
	for range 20 {
		w.exec("SELECT pg_current_xact_id()")
	}
	defer func(n uint64) { xidReach = n }(xidReach)
	for reach, how := range map[uint64]string{20: "every row: the backup is too many transactions old", 1000: "rows written since (xmin)"} {
		xidReach = reach
		if d := tableOf(t, w.compare(), "public.etf_prices"); d.How != how || d.Changed != 1 {
			t.Errorf("%+v", d)
		}
	}
}

// A database that was restored has another OID; its rows another history.
func TestGuardOfARestoredDatabase(t *testing.T) {
	w := newWorld(t, service).dump()
	side := w.side()
	w.exec("UPDATE etf_prices SET price = 2 WHERE id = 6")
	err := postgres.Swap(t.Context(), host.Local{}, postgres.SwapOptions{URL: w.live, Side: side.Database, Kept: w.live.Database + "_kept", Reason: "test", ApplicationName: "test", Token: token, Operation: operation})
	if err != nil {
		t.Fatal(err)
	}
	defer postgres.DropSide(t.Context(), host.Local{}, owner(w.live.Database+"_kept"), "cleanup")
	w.conn = connect(t, w.live)
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5")
	w.backup.Side = ""
	d := tableOf(t, w.compare(), "public.etf_prices")
	if !strings.HasPrefix(d.How, "every row: the backup was made of another database") || d.Changed != 1 {
		t.Errorf("%+v", d)
	}
}

// A side database that somebody has written to does not go unnoticed: the
// counts do not add up, and every row is compared.
func TestASideDatabaseThatWasAltered(t *testing.T) {
	for name, sql := range map[string]string{
		"fewer rows than can be": "SELECT",
		"and rows were deleted":  "DELETE FROM etf_prices WHERE id IN (101, 102)",
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, service).dump()
			exec(t, connect(t, w.side()), "DELETE FROM etf_prices WHERE id = 100")
			w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5; " + sql)
			d := tableOf(t, w.compare(), "public.etf_prices")
			if d.How != "every row: the counts of those written since do not add up" || d.Added != 1 || d.Changed != 1 {
				t.Errorf("%+v", d)
			}
		})
	}
}
