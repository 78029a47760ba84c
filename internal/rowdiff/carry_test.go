package rowdiff

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

func (w *world) carryOptions() CarryOptions {
	return CarryOptions{Host: host.Local{}, Live: w.live, Side: w.backup.Side, ApplicationName: "test", Token: token, Operation: operation}
}

func (w *world) carry() *Carried {
	w.Helper()
	c, err := Carry(w.Context(), w.carryOptions())
	if err != nil {
		w.Fatal(err)
	}
	return c
}

// What was written since the backup, under a newer schema, comes into the
// restored database.
func TestCarry(t *testing.T) {
	w := newWorld(t, service+awkward+households).dump()
	side := connect(t, w.side())
	w.exec(`ALTER TABLE etf_prices ADD COLUMN is_adjusted boolean NOT NULL DEFAULT true; CREATE TABLE young (id int PRIMARY KEY); INSERT INTO young VALUES (1);
		UPDATE etf_prices SET price = 1, is_adjusted = false WHERE id IN (5, 6); INSERT INTO etfs VALUES ('N', 'new'); INSERT INTO etf_prices (etf_id, date, price) VALUES ('N', '2030-01-01', 5), ('N', '2030-01-02', 6);
		INSERT INTO etf_updates (etf_id, missing_dates) VALUES ('N', '{2026-01-01}'); DELETE FROM etf_updates WHERE id = 5; DELETE FROM etf_prices WHERE id IN (9, 10); INSERT INTO daily_update_tracking VALUES ('2030-01-01', 'x');
		UPDATE ` + oddName + ` SET j = '{ "x":1}', jb = 'null', by = '\x01', ps = '{"(,\"a b\")"}', f8 = 0.1 WHERE "b c" IN (2, 3);
		INSERT INTO ` + oddName + ` ("the ""key""", "b c", tz) VALUES (E'new\t\\N', 9, 'infinity'); DELETE FROM identified WHERE id = 1; INSERT INTO identified (v) VALUES ('[ ]');
		INSERT INTO households VALUES (30, 1, NULL, 'h7x'); INSERT INTO persons VALUES (60, 30); UPDATE households SET head = 60 WHERE id = 2; UPDATE persons SET household = 30 WHERE household = 20;
		UPDATE pensions SET person = 60 WHERE person = 39; UPDATE households SET head = NULL WHERE id = 20; DELETE FROM households WHERE id = 20; DELETE FROM persons WHERE id = 39;
		UPDATE households SET name = 'free' WHERE id = 4; UPDATE households SET name = 'h4' WHERE id = 5`)
	w.compare()
	for range 2 { // to repeat it changes nothing
		c := w.carry()
		if c.Left != 1 || len(c.Samples) != 1 || c.Samples[0] != `public.young {"id": 1}: the backup has no such table` {
			t.Errorf("left: %+v", c)
		}
		if c.Added+c.Changed+c.Deleted != int64(len(w.found())-1) || c.Deleted != 6 || c.Skipped != 0 {
			t.Errorf("carried: %+v", c)
		}
	}
	there := &world{T: t, conn: side}
	tables := []string{"etfs", "etf_updates", "daily_update_tracking", oddName, "numbered", "identified", "households", "persons", "pensions", "late"}
	same(t, "contents", there.contents(tables...), w.contents(tables...))
	w.exec("ALTER TABLE etf_prices DROP COLUMN is_adjusted")
	same(t, "prices", there.contents("etf_prices"), w.contents("etf_prices"))
	const sequences = "SELECT concat_ws(' ', sequencename, last_value) FROM pg_sequences WHERE schemaname = 'public' ORDER BY 1"
	same(t, "sequences", lines(t, side, sequences), w.lines(sequences))
	same(t, "note", w.lines("SELECT concat_ws(' ', n, note) FROM etf_ops.work_rows WHERE note IS NOT NULL"), w.lines("SELECT concat_ws(' ', n, 'not carried over: the backup has no such table') FROM etf_ops.work_rows WHERE tbl = 'public.young'"))
	// A sequence that is ahead stays there.
	exec(t, side, "SELECT setval('etf_prices_id_seq', 9000)")
	w.exec("SELECT nextval('etf_updates_id_seq')")
	if c := w.carry(); c.Sequences != 1 {
		t.Errorf("%+v", c)
	}
	same(t, "sequence", lines(t, side, "SELECT last_value::text FROM etf_prices_id_seq"), []string{"9000"})
}

// Rows that the older schema does not admit are left, and said why.
func TestCarryLeavesWhatDoesNotFit(t *testing.T) {
	w := newWorld(t, service+households+`CREATE TABLE narrow (id int PRIMARY KEY, a varchar(3), b int CHECK (b < 10))`).dump()
	side := connect(t, w.side())
	w.exec(`ALTER TABLE narrow ALTER a TYPE varchar, DROP CONSTRAINT narrow_b_check; INSERT INTO narrow VALUES (1, 'abc', 1), (2, 'abcd', 1), (3, 'a', 10), (4, 'b', 2);
		ALTER TABLE etf_prices DROP CONSTRAINT etf_prices_etf_id_fkey, ALTER COLUMN etf_id DROP NOT NULL; INSERT INTO etf_prices (etf_id, date, price) VALUES ('gone', '2030-01-01', 5), ('E1', '2030-01-01', 5); UPDATE etf_prices SET etf_id = NULL WHERE id = 7;
		ALTER TABLE pensions DROP CONSTRAINT pensions_person_fkey; ALTER TABLE households DROP CONSTRAINT households_head_fkey; DELETE FROM persons WHERE id = 5`)
	// Rows that are not one without the other come in no order.
	w.exec("INSERT INTO households VALUES (50, NULL, NULL, 'x'); INSERT INTO persons VALUES (90, 50); UPDATE households SET head = 90 WHERE id = 50")
	w.compare()
	c := w.carry()
	want := &Carried{Added: 3, Deleted: 0, Left: 7, Sequences: 1, Samples: []string{
		`public.etf_prices {"id": 7}: null value in column "etf_id" of relation "etf_prices" violates not-null constraint: Failing row contains (7, null, 2026-01-01, 106.00, null, yfinance).`,
		`public.etf_prices {"id": 3001}: insert or update on table "etf_prices" violates foreign key constraint "etf_prices_etf_id_fkey": Key (etf_id)=(gone) is not present in table "etfs".`,
		`public.households {"id": 50}: insert or update on table "households" violates foreign key constraint "households_head_fkey": Key (head)=(90) is not present in table "persons".`,
		`public.narrow {"id": 2}: value too long for type character varying(3)`,
		`public.narrow {"id": 3}: new row for relation "narrow" violates check constraint "narrow_b_check": Failing row contains (3, a, 10).`,
		`public.persons {"id": 5}: update or delete on table "persons" violates foreign key constraint "households_head_fkey" on table "households": Key (id)=(5) is still referenced from table "households".`,
		`public.persons {"id": 90}: insert or update on table "persons" violates foreign key constraint "persons_household_fkey": Key (household)=(50) is not present in table "households".`,
	}}
	same(t, "carried", c, want)
	same(t, "rows", lines(t, side, "SELECT concat_ws(' ', id, a, b) FROM narrow UNION ALL SELECT concat_ws(' ', id, etf_id) FROM etf_prices WHERE id > 3000 ORDER BY 1"), []string{"1 abc 1", "3002 E1", "4 b 2"})
	// Without that reference it would take the pension along.
	exec(t, side, "UPDATE households SET head = NULL")
	c = w.carry()
	if last := c.Samples[5]; last != `public.persons {"id": 5}: to write it would change 1 rows of public.pensions too` {
		t.Error(last)
	}
}

func TestCarryWithoutWhatIsWrong(t *testing.T) {
	w := newWorld(t, service).dump()
	side := connect(t, w.side())
	w.exec(`UPDATE etfs SET name = 'new', last_price = 1 WHERE id IN ('E1', 'E2'); UPDATE etf_prices SET price = 1 WHERE id IN (5, 6); INSERT INTO etf_prices (etf_id, date, price) VALUES ('E1', '2030-01-01', 5), ('E1', '2030-01-02', 6); DELETE FROM etf_prices WHERE id = 9`)
	w.compare()
	w.exec(`UPDATE etf_ops.work_rows SET class = 'restore', columns = '{last_price}' WHERE key = '{"id": "E1"}'; UPDATE etf_ops.work_rows SET class = 'restore' WHERE key = '{"id": 5}'; UPDATE etf_ops.work_rows SET class = 'quarantine' WHERE key = '{"id": 3001}'; UPDATE etf_ops.work_rows SET class = 'keep' WHERE key = '{"id": 6}'`)
	o := w.carryOptions()
	o.SkipWrong = true
	c, err := Carry(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "carried", c, &Carried{Added: 1, Changed: 3, Deleted: 1, Skipped: 2, Sequences: 1})
	same(t, "rows", lines(t, side, "SELECT concat_ws(' ', id, name, last_price) FROM etfs WHERE id = 'E1' UNION ALL SELECT concat_ws(' ', id, name, last_price) FROM etfs WHERE id = 'E2' UNION ALL SELECT * FROM (SELECT concat_ws(' ', id, price) FROM etf_prices WHERE id IN (5, 6, 9) OR id > 3000 ORDER BY id) p"),
		[]string{"E1 new 100.00", "E2 new 1.00", "5 104.00", "6 1.00", "3002 6.00"})
}

func TestCarryIsOneTransaction(t *testing.T) {
	w := newWorld(t, service).dump()
	side := connect(t, w.side())
	w.exec("UPDATE etf_prices SET price = 1 WHERE id < 100; INSERT INTO etfs VALUES ('N', 'new')")
	w.compare()
	before := (&world{T: t, conn: side}).contents("etf_prices", "etfs")
	o := w.carryOptions()
	ctx, kill := context.WithCancel(t.Context())
	o.Progress = func(done, total int64, text string) {
		if strings.HasSuffix(text, "etfs") {
			kill()
		}
	}
	if _, err := Carry(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("killed: %v", err)
	}
	same(t, "contents after a kill", (&world{T: t, conn: side}).contents("etf_prices", "etfs"), before)
	if err := postgres.TakeFence(t.Context(), side, token+1, "op-8"); err != nil {
		t.Fatal(err)
	}
	if _, err := Carry(t.Context(), w.carryOptions()); !errors.Is(err, postgres.ErrFenced) {
		t.Errorf("under another fence: %v", err)
	}
	same(t, "contents under another fence", (&world{T: t, conn: side}).contents("etf_prices", "etfs"), before)
}
