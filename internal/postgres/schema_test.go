package postgres

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// restoring dumps a database and says how to restore it.
func restoring(t *testing.T, u URL) RestoreOptions {
	t.Helper()
	file, info := dump(t, u)
	side := u.WithDatabase(u.Database + "_side")
	t.Cleanup(func() {
		if err := DropSide(context.Background(), host.Local{}, side, "cleanup"); err != nil {
			t.Error(err)
		}
	})
	return RestoreOptions{URL: u, File: file, Info: info, Side: side.Database, ApplicationName: "test", Token: 4, Operation: "op-4"}
}

// A schema with everything that comes out of a dump in other words than it
// was written in is the same after a restore.
func TestSchemaGoesThroughADump(t *testing.T) {
	u := newDatabase(t, "objects")
	fill(t, u, 100)
	conn := connect(t, u)
	for _, sql := range []string{
		`CREATE TABLE t (id int, a varchar(10), b text, c bigint, n numeric(10,2), d date, q quality, arr text[] DEFAULT ARRAY['a','b']::varchar[], ar2 bigint[] DEFAULT ARRAY[1,2], ar3 varchar[] DEFAULT ARRAY['x'], ar4 varchar(3)[] DEFAULT '{}', j jsonb DEFAULT '{}', ts timestamptz DEFAULT now(), k char(3) DEFAULT 'EUR', z varchar DEFAULT 'it''s ::text')`,
		`ALTER TABLE t ADD CONSTRAINT c1 CHECK (a IN ('x','y'))`,
		`ALTER TABLE t ADD CONSTRAINT c2 CHECK (a NOT IN ('x','y'))`,
		`ALTER TABLE t ADD CONSTRAINT c3 CHECK (c IN (1,2,3))`,
		`ALTER TABLE t ADD CONSTRAINT c4 CHECK (n IN (1,2.5))`,
		`ALTER TABLE t ADD CONSTRAINT c5 CHECK (q IN ('good','bad'))`,
		`ALTER TABLE t ADD CONSTRAINT c6 CHECK (c = ANY (ARRAY[1,2,3]))`,
		`ALTER TABLE t ADD CONSTRAINT c7 CHECK (a ~ '^[A-Z]{2}' AND length(a) BETWEEN 2 AND 10 AND upper(a) = a)`,
		`ALTER TABLE t ADD CONSTRAINT c8 CHECK (a = ANY (ARRAY['p]q','r'])) NOT VALID`,
		`ALTER TABLE t ADD CONSTRAINT c9 CHECK (k IN ('EUR','USD'))`,
		`ALTER TABLE t ADD CONSTRAINT c10 CHECK (a LIKE 'x%' OR b LIKE ANY (ARRAY['a%','b%']) OR a LIKE ANY (ARRAY['a%','b%']))`,
		`ALTER TABLE t ADD CONSTRAINT c11 CHECK (d > date '2020-01-01' AND n > 0 AND coalesce(a, 'x') <> 'y' AND (a || 'z') <> 'zz')`,
		`ALTER TABLE t ADD CONSTRAINT c12 CHECK (CASE WHEN a IN ('q','r') THEN c > 0 ELSE true END)`,
		`ALTER TABLE t ADD CONSTRAINT c13 CHECK (c > ALL (ARRAY[1,2]) AND c <> ALL ('{3,4}'))`,
		`ALTER TABLE t ADD CONSTRAINT c14 CHECK (a IS DISTINCT FROM 'z' AND trim(a) <> '' AND a::text = b)`,
		`CREATE INDEX i1 ON t (lower(a)) WHERE a IN ('x','y') AND c IN (1,2)`,
		`CREATE INDEX i2 ON t ((a || 'x'), (n * 2) DESC NULLS LAST) INCLUDE (b)`,
		`CREATE INDEX i3 ON t USING gin (j jsonb_path_ops)`,
		`CREATE UNIQUE INDEX i4 ON t (a, coalesce(b, 'x'))`,
		`CREATE VIEW v1 AS SELECT a, count(*) FILTER (WHERE q IN ('good')) AS n, array_agg(b ORDER BY b) AS l FROM t WHERE a IN ('x','y') AND c IN (1,2) AND d > now() - interval '1 day' GROUP BY a HAVING count(*) > 1`,
		`CREATE VIEW v2 AS WITH r AS (SELECT DISTINCT ON (a) * FROM t ORDER BY a, d DESC) SELECT r.a, CASE r.a WHEN 'x' THEN 1 ELSE 2 END AS c1, (SELECT max(c) FROM t t2 WHERE t2.a = r.a) m, ARRAY[1,2]::bigint[] AS ar, ARRAY['a','b']::varchar[] AS ar2 FROM r LEFT JOIN LATERAL (SELECT 1 AS one) l ON true`,
		`CREATE VIEW v3 AS SELECT a.id FROM t a JOIN t b USING (id) UNION ALL SELECT 1 EXCEPT SELECT 2`,
		`CREATE MATERIALIZED VIEW mv AS SELECT a, row_number() OVER (PARTITION BY a ORDER BY d) FROM t WHERE a IN ('x','z')`,
		`CREATE INDEX mvi ON mv (a) WHERE a IN ('x','z')`,
		`CREATE FUNCTION f1(x varchar DEFAULT 'a', y text[] DEFAULT ARRAY['a','b']) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1 FROM t WHERE a IN ('x','y') AND a = x; END`,
		`CREATE FUNCTION f2() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$`,
		`CREATE TRIGGER t1 BEFORE UPDATE OF a ON t FOR EACH ROW WHEN (OLD.a IS DISTINCT FROM NEW.a AND NEW.a IN ('x','y')) EXECUTE FUNCTION f2()`,
		`CREATE TRIGGER t2 AFTER INSERT ON t REFERENCING NEW TABLE AS nt FOR EACH STATEMENT EXECUTE FUNCTION f2()`,
		`ALTER TABLE t DISABLE TRIGGER t2`,
		`ALTER TABLE t ENABLE ROW LEVEL SECURITY`,
		`CREATE POLICY p1 ON t USING (a IN ('x','y') AND b = current_user) WITH CHECK (c IN (1,2))`,
		`CREATE DOMAIN dom AS varchar(5) DEFAULT 'x' CHECK (VALUE IN ('x','y'))`,
		`CREATE TYPE comp AS (a int, b varchar(3))`,
		`CREATE TYPE rng AS RANGE (subtype = float8)`,
		`ALTER TABLE t ADD COLUMN g int GENERATED ALWAYS AS (CASE WHEN a IN ('x','y') THEN 1 ELSE 0 END) STORED, ADD COLUMN dm dom, ADD COLUMN cm comp, ADD COLUMN r rng`,
		`CREATE TABLE hp (id int, a varchar) PARTITION BY LIST (a)`,
		`CREATE TABLE hp1 PARTITION OF hp FOR VALUES IN ('x','y')`,
		`CREATE INDEX hpi ON hp (id)`,
		`ALTER TABLE hp ADD CONSTRAINT hpc CHECK (a IN ('x','y'))`,
		`CREATE TRIGGER hpt AFTER INSERT ON hp FOR EACH ROW EXECUTE FUNCTION f2()`,
		`ALTER TABLE t ADD PRIMARY KEY (id)`,
		`ALTER TABLE t ADD CONSTRAINT ex EXCLUDE USING gist (r WITH &&) WHERE (a IN ('x','y'))`,
		`CREATE TABLE u (id int REFERENCES t ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED, s serial, i int GENERATED BY DEFAULT AS IDENTITY (START 5 INCREMENT 2))`,
		`ALTER TABLE u ADD CONSTRAINT unv FOREIGN KEY (i) REFERENCES t NOT VALID`,
		`CREATE TABLE child () INHERITS (t)`,
		`CREATE SEQUENCE sq AS smallint CYCLE`,
		`CREATE AGGREGATE agg(int) (sfunc = int4pl, stype = int)`,
		`CREATE EXTENSION pg_trgm`,
		`CREATE INDEX trg ON t USING gin (b gin_trgm_ops)`,
		`CREATE TABLE col (a text COLLATE "C", b text COLLATE "POSIX")`,
		`INSERT INTO t (id, a, d, n) SELECT i, NULL, '2026-01-01', 1 FROM generate_series(1, 2) i`,
	} {
		exec(t, conn, sql)
	}
	if _, err := conn.Exec(t.Context(), "CREATE UNIQUE INDEX CONCURRENTLY unfinished ON t (d)"); err == nil {
		t.Fatal("two equal rows have a unique index")
	}
	o := restoring(t, u)
	if lines, sum := schemaOf(t, u); o.Info.Schema == sum || !strings.Contains(strings.Join(lines, " "), "unfinished") {
		t.Error("the fingerprint passes over an index that was not finished")
	}
	if err := Restore(t.Context(), host.Local{}, o); err != nil {
		t.Error(err)
	}
}

func TestRestoreChecksTheSchema(t *testing.T) {
	u := newDatabase(t, "schema")
	fill(t, u, 100)
	conn := connect(t, u)
	exec(t, conn, "ALTER TABLE etf_prices ADD CONSTRAINT cheap CHECK (price < 1000) NOT VALID")
	o := restoring(t, u)
	if _, sum := schemaOf(t, u); o.Info.Schema != sum {
		t.Errorf("the dump's schema is %s, the database's %s", o.Info.Schema, sum)
	}
	refused := func(name string, want ...string) {
		t.Helper()
		err := Restore(t.Context(), host.Local{}, o)
		var mismatch *MismatchError
		if !errors.As(err, &mismatch) || mismatch.What != "schema" {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, mismatch.Detail); diff != "" {
			t.Errorf("%s:\n%s", name, diff)
		}
	}
	exec(t, conn, "ALTER TABLE etf_prices VALIDATE CONSTRAINT cheap; CREATE INDEX priced ON etf_prices (price)")
	_, o.Info.Schema = schemaOf(t, u)
	refused("what the manifest has more",
		"missing: constraint etf_prices.cheap CHECK ((price < (1000)::numeric))",
		"missing: index CREATE INDEX priced ON public.etf_prices USING btree (price) valid=t",
		"not expected: constraint etf_prices.cheap CHECK ((price < (1000)::numeric)) NOT VALID")
	for _, letter := range "abcdefghijkl" {
		exec(t, conn, "CREATE TABLE t_"+string(letter)+" ()")
	}
	refused("what nobody knows any more", "fingerprint "+restoredPrint(t, o)+", not "+o.Info.Schema[:12]+"; which objects differ cannot be said, the live database has another schema too")
	_, o.Info.Schema = schemaOf(t, u)
	err := Restore(t.Context(), host.Local{}, o)
	if err == nil || !strings.Contains(err.Error(), "and 5 more") {
		t.Errorf("with many differences: %v", err)
	}
	o.Info.Schema = ""
	if err := Restore(t.Context(), host.Local{}, o); err != nil {
		t.Errorf("with the manifest of an older program: %v", err)
	}
	o.Side = strings.Repeat("x", 64)
	if err := Restore(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), "more than 63 bytes") {
		t.Errorf("into a database with a long name: %v", err)
	}
}

// restoredPrint is the beginning of the fingerprint that the dump gives.
func restoredPrint(t *testing.T, o RestoreOptions) string {
	t.Helper()
	o.Info.Schema = ""
	if err := Restore(t.Context(), host.Local{}, o); err != nil {
		t.Fatal(err)
	}
	_, sum := schemaOf(t, o.URL.WithDatabase(o.Side))
	return sum[:12]
}
