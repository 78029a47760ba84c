package rowdiff

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

func TestApplyRestoresWhatWasChosen(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec(`UPDATE etf_prices SET price = 1, volume = 7 WHERE id IN (5, 2000);
			UPDATE etf_prices SET price = 9 WHERE id = 6;
			INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', '2030-01-01', 5), ('E1', '2030-01-02', 6), ('E1', '2030-01-03', 7);
			DELETE FROM etf_prices WHERE id IN (9, 10);
			UPDATE etfs SET last_price = 1, name = 'new', last_update = '2026-02-02' WHERE id = 'E3';
			UPDATE etf_updates SET missing_dates = NULL WHERE id = 2`)
		w.compare()
		w.judge()
		// Kept: price 6, the second new one, the name of E3.
		w.exec(`UPDATE etf_ops.work_rows SET class = 'keep' WHERE key IN ('{"id": 6}', '{"id": 3002}');
			UPDATE etf_ops.work_rows SET columns = '{last_update,last_price,no_such,last_update}' WHERE tbl = 'public.etfs'`)
		sequences := w.lines("SELECT concat(sequencename, last_value) FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1")
		same(t, "applied", w.apply(Choice{}), &Applied{Restored: 4, Quarantined: 2})
		same(t, "prices", w.lines("SELECT concat_ws(' ', id, price, volume) FROM etf_prices WHERE id IN (5, 6, 9, 10, 2000) OR id > 3000 ORDER BY id"),
			[]string{"5 104.00", "6 9.00", "2000 149.00", "3002 6.00"})
		same(t, "others", w.lines("SELECT concat_ws(' ', name, last_price, last_update) FROM etfs WHERE id = 'E3' UNION ALL SELECT missing_dates::text FROM etf_updates WHERE id = 2"),
			[]string{"new 100.00", "{2026-01-01,2026-01-02}"})
		same(t, "quarantine", w.lines("SELECT concat_ws(' ', operation, tbl, key, row, why) FROM etf_ops.quarantine ORDER BY id"), []string{
			`op-7 public.etf_prices {"id": 3001} {"id": 3001, "date": "2030-01-01", "price": 5.00, "etf_id": "E1", "source": "yfinance", "volume": null} because of "x"`,
			`op-7 public.etf_prices {"id": 3003} {"id": 3003, "date": "2030-01-03", "price": 7.00, "etf_id": "E1", "source": "yfinance", "volume": null} because of "x"`,
		})
		same(t, "verified", w.verify(), &Verified{Restored: 4, Quarantined: 2, Looked: 2999 + 9 + 5 + 100})

		same(t, "applied again", w.apply(Choice{}), &Applied{Restored: 4, Quarantined: 2})
		same(t, "and brought back", w.apply(Choice{BringBack: true}), &Applied{Restored: 4, Quarantined: 2, BroughtBack: 2})
		same(t, "prices", w.lines("SELECT concat_ws(' ', id, price, volume) FROM etf_prices WHERE id IN (9, 10) ORDER BY id"), []string{"9 108.00", "10 109.00"})
		same(t, "verified", w.verify(), &Verified{Restored: 4, Quarantined: 2, BroughtBack: 2, Looked: 3001 + 9 + 5 + 100})
		same(t, "sequences", w.lines("SELECT concat(sequencename, last_value) FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"), sequences)
		same(t, "what still differs", func() []string { w.compare(); return w.found() }(), []string{
			`1 public.etf_prices changed {"id": 6} price`, `2 public.etf_prices added {"id": 3002}`, `3 public.etfs changed {"id": "E3"} name`})
	})
}

// awkward has values that a text format, JSON or a comparison could get wrong.
const awkward = `
CREATE TYPE quality AS ENUM ('good', 'bad "quoted"'); CREATE DOMAIN isin AS varchar(12) CHECK (VALUE ~ '^[A-Z]{2}'); CREATE TYPE pair AS (a int, b text);
CREATE COLLATION sloppy (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE "Odd ""name"".with (all) FROM stdin;" ("the ""key""" text, "b c" int, n numeric, n4 numeric(10,4), f8 float8, f4 real, d date, ts timestamp, tz timestamptz, iv interval,
	ds date[], ns numeric[], tt text[], by bytea, t text, v varchar(20), c char(5), b boolean, u uuid, j json, jb jsonb, q quality, i isin, p pair, ps pair[], js json[], r int4range, m money, x xml,
	ip inet, bits varbit, tv tsvector, pt point, s text COLLATE sloppy, big bigint, twice numeric GENERATED ALWAYS AS (n4 * 2) STORED, always int GENERATED ALWAYS AS IDENTITY, PRIMARY KEY ("b c", "the ""key"""));
CREATE TABLE numbered (n numeric PRIMARY KEY, at timestamptz NOT NULL, v text); INSERT INTO numbered VALUES (1.0, '2026-01-01 12:00+02', 'x'), (2.50, '-infinity', 'y'), ('NaN', 'infinity', 'z'), (7, now(), 'gone');
CREATE TABLE stamped (at timestamptz, kind char(4), v int, PRIMARY KEY (at, kind)); INSERT INTO stamped VALUES ('2026-01-01 12:00+02', 'a', 1), ('2026-01-01 12:00+02', 'b', 1);
CREATE TABLE identified (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, v json); INSERT INTO identified (v) SELECT '{"b" : 1, "a": [1.00, 1e3],  "b": 2}' FROM generate_series(1, 5);
INSERT INTO "Odd ""name"".with (all) FROM stdin;" VALUES
	(E'\\N', 1, 1.10, 1.10, 0.1, 0.1, 'infinity', '-infinity', 'infinity', '1 mon -3 days 00:00:00.000001', '{2026-01-01,NULL,infinity}', '{1.10,NaN,NULL}', E'{"a\\"b",NULL,"NULL","\\\\N","x,y",""}', '\x00ff0a09', E'tab\tnewline\ncr\rbackslash\\N\\.', E'\\.', 'ab', true,
		'00000000-0000-0000-0000-000000000001', '{"b":1,  "a":2,"b":3}', 'null', 'bad "quoted"', 'DE0001', '(1,"x ""y"" ,z")', '{"(1,a)","(,)"}', E'{"{\\"a\\" : 1}"}', '[1,5)', '12.34', '<a>&amp;</a>', '10.0.0.0/8', B'0101', '''a b'':1', '(1.5,2)', 'STRASSE', 9007199254740993),
	(E'tab\tin key', 2, 'NaN', 'NaN', 'NaN', '-Infinity', '0044-03-15 BC', '0044-03-15 10:00:00.123456 BC', '0044-03-15 10:00 BC', '-1 years', '{}', '[0:1]={1,2}', '{{a,b},{c,d}}', '', '', '', '', false, NULL, '1.50', '{"a": 1.50, "ä": "\u00e4"}', 'good', NULL, NULL, '{}', NULL, 'empty', '-0.01', NULL, '::1', B'', '', '(0,0)', 'x', -1),
	(E'newline\nin ä€ key', 3, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	('', 4, 123456789012345678901234567890.123456789000, 99999.9999, 5e-324, 3.4e38, '2026-02-28', '2026-02-28 12:34:56.7', '2026-02-28 12:34:56.789+05:30', 'P1Y2M3DT4H5M6.7S', NULL, '{{1,2},{3,4}}', '{}', '\xdeadbeef', 'NULL', 'null', 'NULL', NULL, NULL, 'null', NULL, NULL, NULL, '(,)', NULL, NULL, '(,)', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 0);
`

const oddName = `"Odd ""name"".with (all) FROM stdin;"`

// Every awkward value is found to be different, and comes back as it was.
func TestAwkwardValues(t *testing.T) {
	bothWays(t, awkward, func(w *world) {
		tables := []string{oddName, "numbered", "stamped", "identified"}
		before := w.contents(tables...)
		w.exec(`UPDATE ` + oddName + ` SET n = 7, n4 = 7, f8 = 7, f4 = 7, d = '2020-01-01', ts = '2020-01-01', tz = '2020-01-01', iv = '7 days', ds = '{2020-01-01}', ns = '{7}', tt = '{7}', by = '\x07', t = '7', v = '7', c = '7', b = NOT coalesce(b, true),
				u = '70000000-0000-0000-0000-000000000001', j = '7', jb = '7', q = CASE q WHEN 'good' THEN 'bad "quoted"' ELSE 'good' END::quality, i = 'FR7', p = '(7,7)', ps = '{"(7,7)"}', js = '{"7"}', r = '[7,8)', m = '7', x = '<x/>', ip = '7.7.7.7', bits = B'1', tv = '7', pt = '(7,7)', s = '7', big = 7 WHERE "b c" < 4;
			DELETE FROM ` + oddName + ` WHERE "b c" = 4; INSERT INTO ` + oddName + ` ("the ""key""", "b c") VALUES ('new', 1);
			UPDATE numbered SET n = 1.00 WHERE n = 1; UPDATE numbered SET v = 'Y' WHERE n = 2.5; DELETE FROM numbered WHERE n IN ('NaN', 7);
			UPDATE stamped SET v = 2 WHERE kind = 'a'; DELETE FROM stamped WHERE kind = 'b';
			UPDATE identified SET v = '{"b": 1, "a": [1.00, 1e3], "b": 2}' WHERE id = 2; DELETE FROM identified WHERE id = 4; INSERT INTO identified (v) VALUES ('1')`)
		d := w.compare()
		if odd := tableOf(t, d, `public.Odd "name".with (all) FROM stdin;`); odd.Changed != 3 || odd.Deleted != 1 || odd.Added != 1 {
			t.Errorf("%+v", odd)
		}
		same(t, "columns of the first row that differ", w.lines("SELECT cardinality(changed)::text FROM etf_ops.work_rows WHERE kind = 'changed' AND tbl LIKE 'public.Odd%'"), []string{"33", "33", "33"})
		a := w.judge().apply(Choice{BringBack: true})
		if a.Left != 0 || a.Restored != 6 || a.Quarantined != 2 || a.BroughtBack != 5 {
			t.Errorf("%+v", a)
		}
		if v := w.verify(); v.Restored != 6 || v.Quarantined != 2 || v.BroughtBack != 5 {
			t.Errorf("%+v", v)
		}
		// The key 1.00 equals 1.0, and a key is not restored.
		w.exec("UPDATE numbered SET n = 1.0 WHERE n = 1")
		same(t, "contents", w.contents(tables...), before)
		if d := w.compare(); d.Differ() != 0 {
			t.Errorf("%+v", d)
		}
	})
}

// A service that has other habits in its sessions does not matter.
func TestSettingsOfTheRole(t *testing.T) {
	sql := awkward + `CREATE TABLE daily (day date PRIMARY KEY, f float8, iv interval, by bytea, at timestamptz);
		INSERT INTO daily VALUES ('2026-03-01', 0.30000000000000004, '1 day', '\x0001', '2026-03-01 12:00+00'), ('2026-03-02', 0.1, '1 day', '\x41', 'infinity')`
	bothWays(t, sql, func(w *world) {
		for _, setting := range []string{"DateStyle = 'German'", "TimeZone = 'Asia/Tokyo'", "bytea_output = 'escape'", "IntervalStyle = 'iso_8601'", "default_transaction_isolation = 'serializable'", "extra_float_digits = -3", "search_path = pg_catalog", "default_transaction_read_only = on"} {
			w.exec("ALTER DATABASE " + w.live.Database + " SET " + setting)
			if w.backup.Side != "" {
				w.exec("ALTER DATABASE " + w.backup.Side + " SET " + setting)
			}
		}
		tables := []string{oddName, "stamped", "daily"}
		before := w.contents(tables...)
		w.exec("UPDATE " + oddName + " SET t = 'x'; UPDATE stamped SET v = 7; UPDATE daily SET f = 7")
		d := w.compare()
		if odd := tableOf(t, d, `public.Odd "name".with (all) FROM stdin;`); odd.Changed != 4 {
			t.Errorf("%+v", odd)
		}
		same(t, "columns", w.lines("SELECT DISTINCT changed::text FROM etf_ops.work_rows ORDER BY 1"), []string{"{f}", "{t}", "{v}"})
		same(t, "values", w.lines("SELECT backup::text FROM etf_ops.work_rows WHERE tbl = 'public.daily' ORDER BY n"), []string{
			`{"f": 0.30000000000000004, "at": "2026-03-01T12:00:00+00:00", "by": "\\x0001", "iv": "1 day", "day": "2026-03-01"}`,
			`{"f": 0.1, "at": "infinity", "by": "\\x41", "iv": "1 day", "day": "2026-03-02"}`,
		})
		if a := w.judge().apply(Choice{}); a.Left != 0 {
			t.Errorf("%+v", a)
		}
		w.verify()
		same(t, "contents", w.contents(tables...), before)
	})
}

// Text that its collation holds for equal is not the same.
func TestSloppyCollation(t *testing.T) {
	bothWays(t, awkward+"CREATE TABLE loose (id int PRIMARY KEY, s text COLLATE sloppy); INSERT INTO loose VALUES (1, 'straße'), (2, 'b')", func(w *world) {
		before := w.contents("loose")
		w.exec("UPDATE loose SET s = upper(s) WHERE id = 2; UPDATE loose SET s = 'Straße' WHERE id = 1")
		if d := tableOf(t, w.compare(), "public.loose"); d.Changed != 2 {
			t.Errorf("%+v", d)
		}
		w.judge().apply(Choice{})
		same(t, "contents", w.contents("loose"), before)
	})
}

func TestRowsChangedMeanwhileAreLeft(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec(`UPDATE etf_prices SET price = 1 WHERE id IN (5, 6, 7, 8); INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5), (4001, 'E1', '2030-01-02', 6);
		DELETE FROM etf_prices WHERE id IN (20, 21, 22)`)
	w.compare()
	w.judge()
	w.exec(`UPDATE etf_prices SET volume = 3 WHERE id IN (5, 4000); DELETE FROM etf_prices WHERE id = 6; UPDATE etf_prices SET price = price WHERE id = 8;
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (20, 'E1', '2031-01-01', 5); INSERT INTO etf_prices (id, etf_id, date, price) VALUES (5000, 'E4', '2026-01-03', 1)`)
	// Row 22 was of E4 on that day: its place is taken.
	same(t, "applied", w.apply(Choice{BringBack: true}), &Applied{Restored: 2, Quarantined: 1, BroughtBack: 1, Left: 5, Samples: []string{
		`public.etf_prices {"id": 5}: it was changed meanwhile`,
		`public.etf_prices {"id": 6}: it was deleted meanwhile`,
		`public.etf_prices {"id": 20}: it is there again`,
		`public.etf_prices {"id": 22}: duplicate key value violates unique constraint "etf_prices_etf_id_date_source_key": Key (etf_id, date, source)=(E4, 2026-01-03, yfinance) already exists.`,
		`public.etf_prices {"id": 4000}: it was changed meanwhile`,
	}})
	same(t, "rows", w.lines("SELECT concat_ws(' ', id, price, volume) FROM etf_prices WHERE id IN (5, 6, 7, 8, 20, 21, 22) OR id > 3000 ORDER BY id"),
		[]string{"5 1.00 3.00", "7 106.00", "8 107.00", "20 5.00", "21 120.00", "4000 5.00 3.00", "5000 1.00"})
	v := w.verify()
	if v.Restored != 2 || v.Quarantined != 1 || v.BroughtBack != 1 || v.Left != 5 || v.Others != 4 || v.Rewritten != 0 {
		t.Errorf("%+v", v)
	}
	// What is as it was again is restored by another try.
	w.exec("UPDATE etf_prices SET volume = NULL WHERE id = 5")
	if a := w.apply(Choice{}); a.Restored != 3 || a.Left != 4 {
		t.Errorf("%+v", a)
	}
}

func TestARowThatIsLocked(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id IN (5, 6, 7)")
	w.compare()
	w.judge()
	other := connect(t, w.live)
	exec(t, other, "BEGIN; SELECT FROM etf_prices WHERE id = 6 FOR UPDATE")
	same(t, "applied", w.apply(Choice{}), &Applied{Restored: 2, Left: 1, Samples: []string{`public.etf_prices {"id": 6}: another transaction holds it`}})
	exec(t, other, "ROLLBACK")
	same(t, "applied", w.apply(Choice{}), &Applied{Restored: 3})
}

func TestApplyAfterAKill(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec(`UPDATE etf_prices SET price = 1 WHERE id <= 50; INSERT INTO etf_prices (etf_id, date, price) SELECT 'E1', date '2030-01-01' + i, 5 FROM generate_series(1, 30) i`)
	w.compare()
	w.judge()
	o := w.applyOptions(Choice{})
	o.Batch = 10
	killed := errors.New("killed here")
	o.Between = func(context.Context) error { return killed }
	if _, err := Apply(t.Context(), o); !errors.Is(err, killed) {
		t.Fatalf("in the first batch: %v", err)
	}
	if n := w.lines("SELECT count(*)::text FROM etf_ops.work_rows WHERE done IS NOT NULL UNION ALL SELECT count(*)::text FROM etf_ops.quarantine UNION ALL SELECT count(*)::text FROM etf_ops.work_batches"); n[0]+n[1]+n[2] != "000" {
		t.Errorf("a batch that was killed left %v", n)
	}
	o.Between = nil
	ctx, kill := context.WithCancel(t.Context())
	o.Progress = func(done, total int64, text string) {
		if total != 80 {
			t.Errorf("progress: %d of %d: %s", done, total, text)
		}
		if done == 40 {
			kill()
		}
	}
	if _, err := Apply(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("between two batches: %v", err)
	}
	if v := w.verify(); v.Restored != 10 || v.Quarantined != 30 {
		t.Errorf("half way: %+v", v)
	}
	o.Progress = nil
	a, err := Apply(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "applied", a, &Applied{Restored: 50, Quarantined: 30})
	same(t, "quarantine", w.lines("SELECT concat(count(*), ' ', count(DISTINCT key)) FROM etf_ops.quarantine"), []string{"30 30"})
	if v := w.verify(); v.Restored != 50 || v.Quarantined != 30 {
		t.Errorf("%+v", v)
	}
}

// What others write while rows are restored is never overwritten.
func TestApplyUnderWrites(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec(`UPDATE etf_prices SET price = 1, volume = 0 WHERE id <= 2500; INSERT INTO etf_prices (etf_id, date, price, volume) SELECT 'E1', date '2030-01-01' + i, 5, 0 FROM generate_series(1, 500) i`)
	w.compare()
	w.judge()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 3 {
		writer := connect(t, w.live)
		wg.Go(func() {
			for ctx.Err() == nil {
				writer.Exec(ctx, "UPDATE etf_prices SET volume = 777 WHERE id IN ((random() * 3500)::int, (random() * 3500)::int) AND price IN (1, 5)")
			}
		})
	}
	o := w.applyOptions(Choice{})
	o.Batch = 50
	a, err := Apply(t.Context(), o)
	stop()
	wg.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if a.Left == 0 || a.Restored == 0 || a.Quarantined == 0 || a.Left+a.Restored+a.Quarantined != 3000 {
		t.Errorf("%+v", a)
	}
	if n := w.lines("SELECT count(*)::text FROM etf_prices WHERE volume = 777"); n[0] != fmt.Sprint(a.Left) {
		t.Errorf("%d were left, %s bear what others wrote", a.Left, n[0])
	}
	if v := w.verify(); v.Restored != a.Restored || v.Quarantined != a.Quarantined || v.Left != a.Left || v.Rewritten != 0 || v.Fewer != 0 {
		t.Errorf("%+v after %+v", v, a)
	}
}

func TestApplyUnderAnotherFence(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id <= 30")
	w.compare()
	w.judge()
	before := w.contents("etf_prices", "etf_ops.work_rows")
	if err := postgres.TakeFence(t.Context(), w.conn, token+1, "op-8"); err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), w.applyOptions(Choice{})); !errors.Is(err, postgres.ErrFenced) {
		t.Errorf("Apply: %v", err)
	}
	same(t, "contents", w.contents("etf_prices", "etf_ops.work_rows"), before)
}

// An operation that is fenced off while it works stops at its next batch.
func TestFencedOffWhileApplying(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec("UPDATE etf_prices SET price = 1 WHERE id <= 30")
	w.compare()
	w.judge()
	o := w.applyOptions(Choice{})
	o.Batch = 10
	o.Progress = func(int64, int64, string) { postgres.TakeFence(t.Context(), w.conn, token+1, "op-8") }
	if _, err := Apply(t.Context(), o); !errors.Is(err, postgres.ErrFenced) {
		t.Errorf("Apply: %v", err)
	}
	same(t, "restored", w.lines("SELECT count(*)::text FROM etf_prices WHERE id <= 30 AND price > 1"), []string{"10"})
}

func TestApplyWithoutAComparison(t *testing.T) {
	w := newWorld(t, service)
	for name, err := range map[string]error{
		"Apply": func() error { _, err := Apply(t.Context(), w.applyOptions(Choice{})); return err }(),
		"VerifyApplied": func() error {
			_, err := VerifyApplied(t.Context(), VerifyOptions{Host: w.options().Host, Live: w.live})
			return err
		}(),
		"Tally": func() error { _, err := Tally(t.Context(), w.conn); return err }(),
	} {
		if !errors.Is(err, ErrNoComparison) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
