package rowdiff

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

func TestCompareFindsWhatWasWritten(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec(`UPDATE etf_prices SET price = 1, volume = 7 WHERE id IN (5, 2000);
			UPDATE etf_prices SET price = price WHERE id = 6;
			INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5), (3999, 'E1', '2030-01-02', 6);
			DELETE FROM etf_prices WHERE id IN (9, 10, 11);
			UPDATE etfs SET last_price = 1 WHERE id = 'E3';
			UPDATE etf_updates SET missing_dates = missing_dates || date '2026-02-03' WHERE id = 2;
			DELETE FROM daily_update_tracking WHERE date = '2026-01-05';
			INSERT INTO daily_update_tracking VALUES ('2025-01-05', 'info', false), ('2026-01-07', 'info', NULL);
			BEGIN; SAVEPOINT a; UPDATE etf_prices SET price = 3 WHERE id = 77; RELEASE a; COMMIT`)
		d := w.compare()
		same(t, "rows", w.found(), []string{
			`1 public.daily_update_tracking added {"date": "2025-01-05", "update_type": "info"}`,
			`2 public.daily_update_tracking deleted {"date": "2026-01-05", "update_type": "prices"}`,
			`3 public.daily_update_tracking added {"date": "2026-01-07", "update_type": "info"}`,
			`4 public.etf_prices changed {"id": 5} price,volume`,
			`5 public.etf_prices deleted {"id": 9}`,
			`6 public.etf_prices deleted {"id": 10}`,
			`7 public.etf_prices deleted {"id": 11}`,
			`8 public.etf_prices changed {"id": 77} price`,
			`9 public.etf_prices changed {"id": 2000} price,volume`,
			`10 public.etf_prices added {"id": 3999}`,
			`11 public.etf_prices added {"id": 4000}`,
			`12 public.etf_updates changed {"id": 2} missing_dates`,
			`13 public.etfs changed {"id": "E3"} last_price`,
		})
		same(t, "values", w.lines(`SELECT concat_ws(' | ', backup, live, xid = (SELECT xmin::text::bigint FROM etf_prices WHERE id = 77), xid IS NULL) FROM etf_ops.work_rows WHERE n IN (4, 5, 10, 12, 8) ORDER BY n = 8, n`), []string{
			`{"id": 5, "date": "2026-01-01", "price": 104.00, "etf_id": "E5", "source": "yfinance", "volume": null} | {"id": 5, "date": "2026-01-01", "price": 1.00, "etf_id": "E5", "source": "yfinance", "volume": 7.00} | f | f`,
			`{"id": 9, "date": "2026-01-01", "price": 108.00, "etf_id": "E9", "source": "yfinance", "volume": null} | t`,
			`{"id": 3999, "date": "2030-01-02", "price": 6.00, "etf_id": "E1", "source": "yfinance", "volume": null} | f | f`,
			`{"id": 2, "etf_id": "E2", "status": "completed", "missing_dates": ["2026-01-01", "2026-01-02"]} | {"id": 2, "etf_id": "E2", "status": "completed", "missing_dates": ["2026-01-01", "2026-01-02", "2026-02-03"]} | f | f`,
			`{"id": 77, "date": "2026-01-09", "price": 126.00, "etf_id": "E5", "source": "yfinance", "volume": null} | {"id": 77, "date": "2026-01-09", "price": 3.00, "etf_id": "E5", "source": "yfinance", "volume": null} | t | f`,
		})
		prices := tableOf(t, d, "public.etf_prices")
		same(t, "etf_prices", prices, TableDiff{Table: "public.etf_prices", Rows: 2999, BackupRows: 3000, Candidates: 6, Added: 2, Changed: 3, Deleted: 3, How: "rows written since (xmin)"})
		if d.Differ() != 13 || d.Backup != "backup-1" || len(d.NoKey) != 0 || len(d.Tables) != 4 || d.Took <= 0 {
			t.Errorf("diff = %+v", d)
		}
		same(t, "comparison", w.lines("SELECT concat_ws(' ', operation, backup, at <= now(), pg_snapshot_xmin(snapshot)::text::bigint > 0) FROM etf_ops.work_comparison"), []string{"op-7 backup-1 t t"})

		o := w.options()
		o.Token = 0
		counted, err := Count(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		counted.Took = d.Took
		same(t, "Count", counted, d)

		o = w.options()
		o.Full = true
		full, err := Compare(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if all := tableOf(t, full, "public.etf_prices"); all.How != "every row: asked for" || all.Candidates != 2999 || all.Changed != 3 || all.Added != 2 || all.Deleted != 3 {
			t.Errorf("every row: %+v", all)
		}
		if n := len(w.found()); n != 13 {
			t.Errorf("every row: %d differ", n)
		}
	})
}

func TestNothingDiffers(t *testing.T) {
	bothWays(t, service, func(w *world) {
		d := w.compare()
		if d.Differ() != 0 || len(w.found()) != 0 {
			t.Errorf("%+v", d)
		}
		for _, table := range d.Tables {
			if table.Candidates != 0 || table.Rows != table.BackupRows || table.Rows == 0 {
				t.Errorf("%+v", table)
			}
		}
	})
}

func TestATableThatWasRewritten(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec("UPDATE etf_prices SET price = price; UPDATE etf_prices SET price = 1 WHERE id = 5; DELETE FROM etf_prices WHERE id = 6")
		d := tableOf(t, w.compare(), "public.etf_prices")
		if d.How != "every row: most were written since" || d.Changed != 1 || d.Deleted != 1 {
			t.Errorf("%+v", d)
		}
		w.exec("UPDATE etf_updates SET status = 'failed' WHERE id = 2")
		w.exec("VACUUM FULL etf_updates")
		w.exec("VACUUM FREEZE etfs")
		w.exec("VACUUM FREEZE etf_updates")
		d = tableOf(t, w.compare(), "public.etfs")
		if d.How != "rows written since (xmin)" || d.Candidates != 0 {
			t.Errorf("after freezing: %+v", d)
		}
		if d = tableOf(t, w.compare(), "public.etf_updates"); d.How != "rows written since (xmin)" || d.Changed != 1 {
			t.Errorf("after moving and freezing: %+v", d)
		}
	})
}

// With more keys than are held in memory the whole table is loaded.
func TestManyCandidates(t *testing.T) {
	defer func(n int64) { maxKeys = n }(maxKeys)
	maxKeys = 10
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET volume = 1 WHERE id <= 20; DELETE FROM etf_prices WHERE id IN (30, 40); INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', '2040-01-01', 1)")
	d := tableOf(t, w.compare(), "public.etf_prices")
	same(t, "etf_prices", d, TableDiff{Table: "public.etf_prices", Rows: 2999, BackupRows: 3000, Candidates: 21, Added: 1, Changed: 20, Deleted: 2, How: "rows written since (xmin)"})
}

func TestCompareUnderAnotherFence(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5")
	w.compare()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 6")
	if err := postgres.TakeFence(t.Context(), w.conn, token+1, "op-8"); err != nil {
		t.Fatal(err)
	}
	_, err := Compare(t.Context(), w.options())
	if !errors.Is(err, postgres.ErrFenced) {
		t.Errorf("Compare: %v", err)
	}
	if n := len(w.found()); n != 1 {
		t.Errorf("the earlier comparison has %d rows now", n)
	}
}

// What is written meanwhile does not confuse a comparison.
func TestCompareUnderWrites(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec("UPDATE etf_prices SET price = 1 WHERE id IN (5, 6); DELETE FROM etf_prices WHERE id = 7")
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		for range 3 {
			writer := connect(t, w.live)
			wg.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					writer.Exec(ctx, `WITH gone AS (DELETE FROM etf_prices WHERE id = 100 + (random() * 900)::int) UPDATE etf_prices SET volume = $1 WHERE id = 1001 + (random() * 900)::int`, i)
					writer.Exec(ctx, "INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', date '2030-01-01' + (random() * 90000)::int, 1) ON CONFLICT DO NOTHING")
				}
			})
		}
		for range 8 {
			d := tableOf(t, w.compare(), "public.etf_prices")
			if strings.Contains(d.How, "counts") || d.Changed < 2 || d.Deleted < 1 {
				t.Errorf("%+v", d)
			}
		}
	})
}

func TestCompareWithAnUnfitBackup(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5")
	o := w.options()
	o.Tables = []string{"public.etf_price"}
	_, err := Compare(t.Context(), o)
	contains(t, err, "there is no table public.etf_price")
	o = w.options()
	o.Backup.Info.Rows["public.etf_prices"] = 3001
	_, err = Compare(t.Context(), o)
	contains(t, err, "it has 3000 rows of public.etf_prices, not 3001")
	o.Backup.File += ".gone"
	var mismatch *postgres.MismatchError
	if _, err = Compare(t.Context(), o); !errors.As(err, &mismatch) {
		t.Errorf("a dump that is missing: %v", err)
	}
	if found := w.lines("SELECT coalesce(to_regclass('etf_ops.work_rows')::text, '')"); found[0] != "" {
		t.Errorf("a failed comparison left %v", found)
	}
}

// A comparison does not go into a dump; what is in quarantine does.
func TestComparisonsAreNotDumped(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id = 5; INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', '2030-01-01', 5)")
	w.compare()
	w.judge().apply(Choice{})
	w.dump()
	for name, rows := range w.backup.Info.Rows {
		if strings.HasPrefix(name, "etf_ops.work_") || name == "etf_ops.quarantine" && rows != 1 {
			t.Errorf("%s: %d rows", name, rows)
		}
	}
	if err := postgres.VerifyDump(t.Context(), host.Local{}, w.backup.File, w.backup.Info, postgres.VerifyOptions{}); err != nil {
		t.Error(err)
	}
	side := connect(t, w.side())
	same(t, "restored", lines(t, side, "SELECT count(*)::text FROM etf_ops.work_rows UNION ALL SELECT count(*)::text FROM etf_ops.work_batches UNION ALL SELECT count(*)::text FROM etf_ops.quarantine"), []string{"0", "0", "1"})
}
