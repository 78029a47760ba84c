package rowdiff

import (
	"context"
	"errors"
	"fmt"
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

// Deleted rows that as many new ones hide from the counts are found.
func TestDeletedBehindAdded(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec(`DELETE FROM etf_prices WHERE id IN (1, 3000); INSERT INTO etf_prices (etf_id, date, price) SELECT 'E1', date '2040-01-01' + i, 1 FROM generate_series(1, 3) i`)
		d := tableOf(t, w.compare(), "public.etf_prices")
		if d.Added != 3 || d.Deleted != 2 {
			t.Errorf("%+v", d)
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

func TestSchemaThatChanged(t *testing.T) {
	sql := service + `CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1), (2); CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1), (1);
		CREATE TABLE other_key (a int PRIMARY KEY, b int); INSERT INTO other_key VALUES (1, 1);
		CREATE TABLE retyped (id int PRIMARY KEY, a varchar, b varchar, c numeric(10,4)); INSERT INTO retyped VALUES (1, '7', '8', 1.23456), (2, 'seven', '9', 2), (3, '1', '1', 3);
		CREATE TYPE quality AS ENUM ('good', 'bad'); CREATE TABLE rated (id text PRIMARY KEY, q quality); INSERT INTO rated VALUES ('a', 'good'), ('b', 'bad')`
	bothWays(t, sql, func(w *world) {
		w.exec(`ALTER TABLE etf_prices ADD COLUMN is_adjusted boolean NOT NULL DEFAULT false; ALTER TABLE etf_prices DROP COLUMN volume; ALTER TABLE etfs RENAME name TO title;
			UPDATE etf_prices SET price = 2, is_adjusted = true WHERE id = 8; UPDATE etfs SET title = 'x', last_price = 7 WHERE id = 'E1';
			UPDATE etfs SET title = 'y' WHERE id = 'E2';
			DROP TABLE old; CREATE TABLE young (id int PRIMARY KEY, a text); INSERT INTO young VALUES (1, 'one'), (2, NULL);
			INSERT INTO keyless VALUES (2);
			ALTER TABLE other_key DROP CONSTRAINT other_key_pkey, ADD COLUMN c serial PRIMARY KEY;
			DELETE FROM retyped WHERE id = 3; ALTER TABLE retyped ALTER a TYPE int USING length(a), ALTER b TYPE int USING b::int, ALTER c TYPE numeric(10,2); UPDATE retyped SET b = 10 WHERE id = 2;
			CREATE TYPE grade AS ENUM ('good', 'poor'); ALTER TABLE rated ALTER q TYPE grade USING replace(q::text, 'bad', 'poor')::grade`)
		d := w.compare()
		same(t, "rows", w.found(), []string{
			`1 public.etf_prices changed {"id": 8} price`,
			`2 public.etfs changed {"id": "E1"} last_price`,
			`3 public.retyped changed {"id": 2} b`,
			`4 public.retyped deleted {"id": 3}`,
			`5 public.young added {"id": 1}`,
			`6 public.young added {"id": 2}`,
		})
		left := map[string]string{}
		for _, table := range d.Tables {
			left[table.Table] = strings.TrimSpace(fmt.Sprintln(table.LeftOut, table.Rows, table.BackupRows, table.Added, table.Deleted, table.How))
		}
		same(t, "tables", left, map[string]string{
			"public.daily_update_tracking": "[] 100 100 0 0 rows written since (xmin)",
			"public.etf_prices":            "[is_adjusted volume] 3000 3000 0 0 rows written since (xmin)",
			"public.etf_updates":           "[] 5 5 0 0 rows written since (xmin)",
			"public.etfs":                  "[title name] 9 9 0 0 rows written since (xmin)",
			"public.keyless":               "[] 3 2 0 0 no primary key: only counted",
			"public.old":                   "[] 0 2 0 2 the live database has no such table: its rows are only counted",
			"public.other_key":             "[] 1 1 0 0 the backup has not all columns of the key: only counted",
			"public.rated":                 "[q] 2 2 0 0 rows written since (xmin)",
			"public.retyped":               "[a] 2 3 0 1 rows written since (xmin)",
			"public.young":                 "[] 2 0 2 0 every row: the backup has no such table",
		})
		same(t, "without a key", d.NoKey, []string{"public.keyless", "public.other_key"})
	})
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

// Deleted rows are found whatever their keys.
func TestDeletedRows(t *testing.T) {
	bothWays(t, `
		CREATE TABLE dense (id int PRIMARY KEY, a text); INSERT INTO dense SELECT i, i FROM generate_series(-3000, 3000) i;
		CREATE TABLE sparse (a text, id bigint PRIMARY KEY); INSERT INTO sparse SELECT i, 9223372036854775807 - i * 1234567890123 FROM generate_series(0, 2000) i;
		INSERT INTO sparse VALUES ('least', -9223372036854775808), ('greatest but one', 9223372036854775806);
		CREATE TABLE highest (id bigint PRIMARY KEY); INSERT INTO highest SELECT 9223372036854775807 - i FROM generate_series(0, 600) i;
		CREATE TABLE named (b int, a text, PRIMARY KEY (a, b)); INSERT INTO named SELECT i % 7, E'tab\t' || i FROM generate_series(1, 2000) i;
		CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied SELECT generate_series(1, 2000);
		CREATE TABLE halved (id smallint PRIMARY KEY, a int); INSERT INTO halved SELECT i, i FROM generate_series(1, 3000) i`,
		func(w *world) {
			w.exec(`DELETE FROM dense WHERE id IN (-3000, -257, -256, -1, 0, 255, 256, 3000); INSERT INTO dense SELECT i, i FROM generate_series(3001, 3010) i;
				DELETE FROM sparse WHERE id IN (9223372036854775807, -9223372036854775808) OR a = '1000'; INSERT INTO sparse VALUES ('new', 5), ('new', 6), ('new', 7), ('new', 9223372036854775805);
				DELETE FROM highest WHERE id = 9223372036854775807; DELETE FROM named WHERE a IN (E'tab\t7', E'tab\t1999'); INSERT INTO named VALUES (1, 'x'), (1, 'y'), (1, 'z');
				DELETE FROM emptied; DELETE FROM halved WHERE id % 2 = 0`)
			d := w.compare()
			got := map[string]string{}
			for _, table := range d.Tables {
				got[table.Table] = fmt.Sprint(table.Added, table.Deleted, " ", table.How)
			}
			const written = " rows written since (xmin)"
			same(t, "tables", got, map[string]string{"public.dense": "10 8" + written, "public.sparse": "4 3" + written, "public.highest": "0 1" + written, "public.named": "3 2" + written, "public.emptied": "0 2000" + written, "public.halved": "0 1500" + written})
			same(t, "keys", w.lines("SELECT key::text FROM etf_ops.work_rows WHERE kind = 'deleted' AND tbl IN ('public.dense', 'public.sparse', 'public.highest', 'public.named') ORDER BY n"), []string{
				`{"id": -3000}`, `{"id": -257}`, `{"id": -256}`, `{"id": -1}`, `{"id": 0}`, `{"id": 255}`, `{"id": 256}`, `{"id": 3000}`, `{"id": 9223372036854775807}`,
				`{"a": "tab\t1999", "b": 4}`, `{"a": "tab\t7", "b": 0}`, `{"id": -9223372036854775808}`, `{"id": 9222137468964652807}`, `{"id": 9223372036854775807}`,
			})
		})
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
