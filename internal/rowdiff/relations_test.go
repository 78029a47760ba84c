package rowdiff

import (
	"strings"
	"testing"
)

// households refer to themselves, and to each other in a circle.
const households = `
CREATE TABLE households (id int PRIMARY KEY, parent int REFERENCES households, head int, name text UNIQUE);
CREATE TABLE persons (id int PRIMARY KEY, household int NOT NULL REFERENCES households, name text);
ALTER TABLE households ADD FOREIGN KEY (head) REFERENCES persons;
CREATE TABLE pensions (id int PRIMARY KEY, person int REFERENCES persons ON DELETE CASCADE, note text);
CREATE TABLE late (id int PRIMARY KEY, person int REFERENCES persons DEFERRABLE INITIALLY DEFERRED);
INSERT INTO households SELECT i, nullif(i / 2, 0), NULL, 'h' || i FROM generate_series(1, 20) i;
INSERT INTO persons SELECT i, 1 + i % 20, 'p' || i FROM generate_series(1, 40) i;
UPDATE households SET head = id;
INSERT INTO pensions SELECT i, i FROM generate_series(1, 40) i;
`

// Rows that go and rows that come are dealt with in an order that the foreign
// keys allow, whatever the batches.
func TestRelatedRows(t *testing.T) {
	w := newWorld(t, households).dump()
	all := []string{"households", "persons", "pensions", "late"}
	before := w.contents(all...)
	w.exec(`
		INSERT INTO households SELECT i, nullif(i / 2, 0), NULL, 'new ' || i FROM generate_series(100, 1, -1) i WHERE i > 20;
		INSERT INTO persons SELECT i, i, 'new' FROM generate_series(50, 100) i;
		INSERT INTO pensions SELECT i, i FROM generate_series(50, 100) i; INSERT INTO late SELECT i, i FROM generate_series(50, 100) i;
		-- these refer to rows that have to go, and those may only go after them
		UPDATE persons SET household = 77 WHERE id <= 10; UPDATE households SET parent = 99, head = 60 WHERE id = 3;
		-- the place of this name is taken by a row that has to go
		UPDATE households SET name = 'h20' WHERE id = 20; UPDATE households SET name = 'moved' WHERE id = 5; UPDATE households SET name = 'h5' WHERE id = 50;
		DELETE FROM pensions WHERE id BETWEEN 11 AND 25; UPDATE households SET head = NULL WHERE id BETWEEN 11 AND 25; UPDATE persons SET household = 1 WHERE household IN (18, 19);
		DELETE FROM persons WHERE id BETWEEN 12 AND 16;
		UPDATE households SET parent = NULL WHERE parent = 9; UPDATE households SET parent = 1 WHERE parent IN (18, 19); DELETE FROM households WHERE id IN (18, 19)`)
	w.compare()
	w.judge()
	o := w.applyOptions(Choice{BringBack: true})
	o.Batch = 7
	a, err := Apply(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if a.Left != 0 {
		t.Errorf("%+v", a)
	}
	same(t, "contents", w.contents(all...), before)
	if v := w.verify(); v.Quarantined != 80+51+51+51 || v.BroughtBack != 15+5+2 {
		t.Errorf("%+v", v)
	}
}

// What others still refer to stays, and so does what has no parent.
func TestRowsThatCannotGoOrComeAreLeft(t *testing.T) {
	w := newWorld(t, households).dump()
	w.exec(`INSERT INTO households VALUES (21, 1, NULL, 'new'), (22, 1, NULL, 'newer'); INSERT INTO persons VALUES (50, 21, 'kept'), (51, 1, 'with a pension'), (52, 1, 'without'); INSERT INTO pensions VALUES (50, 51), (51, 51);
		DELETE FROM pensions WHERE id = 7; UPDATE households SET head = NULL WHERE head = 7; DELETE FROM persons WHERE id = 7; INSERT INTO late VALUES (1, 52)`)
	w.compare()
	w.judge()
	w.exec("UPDATE etf_ops.work_rows SET class = 'keep' WHERE tbl IN ('public.pensions', 'public.late') AND kind = 'added' OR key = '{\"id\": 50}' OR tbl = 'public.persons' AND kind = 'deleted'")
	before := w.contents("pensions", "late")
	a := w.apply(Choice{BringBack: true})
	same(t, "applied", a, &Applied{Quarantined: 1, Restored: 0, Left: 5, Samples: []string{
		`public.households {"id": 7}: insert or update on table "households" violates foreign key constraint "households_head_fkey": Key (head)=(7) is not present in table "persons".`,
		`public.households {"id": 21}: update or delete on table "households" violates foreign key constraint "persons_household_fkey" on table "persons": Key (id)=(21) is still referenced from table "persons".`,
		`public.pensions {"id": 7}: insert or update on table "pensions" violates foreign key constraint "pensions_person_fkey": Key (person)=(7) is not present in table "persons".`,
		`public.persons {"id": 51}: to change it would change 2 rows of public.pensions too`,
		`public.persons {"id": 52}: update or delete on table "persons" violates foreign key constraint "late_person_fkey" on table "late": Key (id)=(52) is still referenced from table "late".`,
	}})
	same(t, "children", w.contents("pensions", "late"), before)
	if v := w.verify(); v.Quarantined != 1 || v.Left != 5 {
		t.Errorf("%+v", v)
	}
}

// A trigger must not change what was not chosen, nor what is written.
func TestTriggers(t *testing.T) {
	w := newWorld(t, service+`CREATE TABLE audit (id serial PRIMARY KEY, what text)`).dump()
	w.exec(`UPDATE etf_prices SET price = 1 WHERE id IN (5, 6); UPDATE etfs SET last_price = 1 WHERE id IN ('E1', 'E2'); UPDATE etf_updates SET status = 'x' WHERE id IN (1, 2); INSERT INTO daily_update_tracking VALUES ('2030-01-01', 'x');
		UPDATE etf_prices SET price = 1 WHERE id = 7`)
	w.compare()
	w.judge()
	w.exec(`CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit (what) VALUES (TG_TABLE_NAME); RETURN NEW; END $$;
		CREATE TRIGGER noted AFTER UPDATE ON etf_prices FOR EACH ROW WHEN (NEW.id = 6) EXECUTE FUNCTION noted();
		CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON etf_prices DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.id = 7) EXECUTE FUNCTION noted();
		CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.last_update := now(); RETURN NEW; END $$; CREATE TRIGGER stamped BEFORE UPDATE ON etfs FOR EACH ROW WHEN (NEW.id = 'E2') EXECUTE FUNCTION stamped();
		CREATE FUNCTION refused() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF OLD.id = 2 THEN RAISE EXCEPTION 'not this one'; END IF; RETURN NEW; END $$; CREATE TRIGGER refused BEFORE UPDATE ON etf_updates FOR EACH ROW EXECUTE FUNCTION refused();
		CREATE FUNCTION ignored() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; CREATE TRIGGER ignored BEFORE DELETE ON daily_update_tracking FOR EACH ROW EXECUTE FUNCTION ignored()`)
	const unlike = "the table does not keep what is written: it has a trigger or a rule, or the type of a column has changed"
	same(t, "applied", w.apply(Choice{}), &Applied{Restored: 3, Left: 5, Samples: []string{
		`public.daily_update_tracking {"date": "2030-01-01", "update_type": "x"}: ` + unlike,
		`public.etf_prices {"id": 6}: to change it would change 1 rows of public.audit too`,
		`public.etf_prices {"id": 7}: to change it would change 1 rows of public.audit too`,
		`public.etf_updates {"id": 2}: not this one`,
		`public.etfs {"id": "E2"}: ` + unlike,
	}})
	same(t, "audit and quarantine", w.lines("SELECT 'x' FROM audit UNION ALL SELECT 'y' FROM etf_ops.quarantine"), []string{})
	if v := w.verify(); v.Restored != 3 || v.Left != 5 {
		t.Errorf("%+v", v)
	}
}

// Between the comparison and the restoring a migration may have run.
func TestApplyOnAnotherSchema(t *testing.T) {
	w := newWorld(t, service+`CREATE TABLE extra (id int PRIMARY KEY, a int, b int); INSERT INTO extra VALUES (1, 1, 1), (2, 2, 2); CREATE TABLE short (id int PRIMARY KEY, a int); INSERT INTO short VALUES (1, 1)`).dump()
	w.exec(`UPDATE etf_prices SET price = 1, volume = 3 WHERE id = 5; UPDATE etf_prices SET volume = 3 WHERE id = 6; INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5);
		DELETE FROM etf_prices WHERE id = 8; UPDATE extra SET a = 7; DELETE FROM short`)
	w.compare()
	w.judge()
	w.exec(`ALTER TABLE etf_prices DROP COLUMN volume, ADD COLUMN is_adjusted boolean NOT NULL DEFAULT true; DROP TABLE extra; ALTER TABLE short ADD COLUMN must int NOT NULL`)
	a := w.apply(Choice{BringBack: true})
	same(t, "applied", a, &Applied{Restored: 1, Quarantined: 1, BroughtBack: 1, Left: 4, Samples: []string{
		`public.etf_prices {"id": 6}: the columns to restore are no longer there`,
		`public.extra {"id": 1}: the table is no longer there`,
		`public.extra {"id": 2}: the table is no longer there`,
		`public.short {"id": 1}: null value in column "must" of relation "short" violates not-null constraint: Failing row contains (1, 1, null).`,
	}})
	same(t, "prices", w.lines("SELECT concat_ws(' ', id, price, is_adjusted) FROM etf_prices WHERE id IN (5, 6, 8) OR id > 3000 ORDER BY id"), []string{"5 104.00 t", "6 105.00 t", "8 107.00 t"})
	same(t, "quarantine", w.lines("SELECT row::text FROM etf_ops.quarantine"), []string{`{"id": 4000, "date": "2030-01-01", "price": 5.00, "etf_id": "E1", "source": "yfinance", "is_adjusted": true}`})
	if v := w.verify(); v.Restored != 1 || v.Quarantined != 1 || v.BroughtBack != 1 || v.Left != 4 {
		t.Errorf("%+v", v)
	}
}

// What VerifyApplied is told to be ours and is not as it should be it finds.
func TestVerifyAppliedFindsWhatIsWrong(t *testing.T) {
	for name, test := range map[string]struct{ sql, want string }{
		"a row that was not chosen":    {"UPDATE etf_prices SET volume = 1 WHERE id = 100", `public.etf_prices {"id": 100} was not chosen and was written`},
		"of a table without a key":     {"INSERT INTO keyless VALUES (1)", `was not chosen and was written`},
		"a restored row":               {"UPDATE etf_prices SET price = 9 WHERE id = 5", `public.etf_prices {"id": 5} was restored and is not what it should be`},
		"a restored row's other value": {"UPDATE etf_prices SET volume = 9 WHERE id = 5", `public.etf_prices {"id": 5} was restored and is not what it should be`},
		"a row brought back":           {"UPDATE etf_prices SET price = 9 WHERE id = 8", `public.etf_prices {"id": 8} was brought back and is not what it should be`},
		"a row still there":            {"INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5)", `public.etf_prices {"id": 4000} is in quarantine and still in its table`},
		"a row lost":                   {"DELETE FROM etf_ops.quarantine", `public.etf_prices {"id": 4000} is not in etf_ops.quarantine as it was`},
		"a row altered":                {"UPDATE etf_ops.quarantine SET row = row || '{\"price\": 5.01}'", `public.etf_prices {"id": 4000} is not in etf_ops.quarantine as it was`},
		"too many rows":                {"UPDATE etf_ops.work_tables SET rows = rows - 2 WHERE tbl = 'public.etf_prices'", "public.etf_prices has 3000 rows, 2 more than can be accounted for"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, service+"CREATE TABLE keyless (a int)").dump()
			w.exec(`UPDATE etf_prices SET price = 1 WHERE id = 5; INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5); DELETE FROM etf_prices WHERE id = 8`)
			w.compare()
			w.judge().apply(Choice{BringBack: true})
			w.verify()
			w.exec("BEGIN; " + test.sql + "; INSERT INTO etf_ops.work_batches SELECT pg_current_xact_id(), 'x', 'x', 'x', '{}'; COMMIT")
			_, err := VerifyApplied(t.Context(), VerifyOptions{Host: w.options().Host, Live: w.live})
			contains(t, err, test.want)
			if mismatch, ok := err.(*MismatchError); !ok || len(mismatch.Differences) == 0 || strings.Contains(err.Error(), "more;") {
				t.Errorf("%v", err)
			}
		})
	}
}

// What others do after the restoring is told apart.
func TestVerifyAppliedBesideOthers(t *testing.T) {
	w := newWorld(t, service).dump()
	w.exec(`UPDATE etf_prices SET price = 1 WHERE id IN (5, 6, 7); INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5); DELETE FROM etf_prices WHERE id = 8`)
	w.compare()
	w.judge().apply(Choice{BringBack: true})
	w.exec(`UPDATE etf_prices SET price = 2 WHERE id IN (5, 100, 101)`)
	w.exec(`INSERT INTO etf_prices (id, etf_id, date, price) VALUES (4000, 'E1', '2030-01-01', 5), (4001, 'E1', '2030-01-02', 5)`)
	w.exec(`DELETE FROM etf_prices WHERE id IN (6, 200, 201, 202, 203)`)
	same(t, "verified", w.verify(), &Verified{Restored: 1, Quarantined: 1, BroughtBack: 1, Rewritten: 3, Others: 5, Fewer: 3, Looked: 2997 + 9 + 5 + 100})
}
