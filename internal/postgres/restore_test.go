package postgres

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

func schemaOf(t *testing.T, u URL) ([]string, string) {
	t.Helper()
	conn := connect(t, u)
	lines, err := Schema(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	sum, err := Fingerprint(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return lines, sum
}

func TestRestoreIsEqual(t *testing.T) {
	u := newDatabase(t, "restore")
	fill(t, u, 3000)
	conn := connect(t, u)
	if err := errors.Join(EnsureOps(t.Context(), conn), TakeFence(t.Context(), conn, 3, "op-3")); err != nil {
		t.Fatal(err)
	}
	file, info := dump(t, u)
	side := u.WithDatabase(u.Database + "_side")
	o := RestoreOptions{URL: u, File: file, Info: info, Side: side.Database, ApplicationName: "test", Token: 4, Operation: "op-4"}
	t.Cleanup(func() { DropSide(t.Context(), host.Local{}, side, "cleanup") })
	defer func() {
		if err := DropSide(t.Context(), host.Local{}, side, "cleanup"); err != nil {
			t.Error(err)
		}
	}()
	admin := connect(t, owner("postgres"))
	exec(t, admin, "CREATE DATABASE "+side.Database) // as a kill right after it would leave it
	for range 2 {                                    // the second time over the first, as after a kill
		if err := Restore(t.Context(), host.Local{}, o); err != nil {
			t.Fatal(err)
		}
	}
	want, wantSum := schemaOf(t, u)
	got, gotSum := schemaOf(t, side)
	if diff := cmp.Diff(want, got); diff != "" || wantSum != gotSum || len(want) < 40 {
		t.Errorf("the schema of the restored database differs (%d lines):\n%s", len(want), diff)
	}
	restored := connect(t, side)
	if op := scan[string](t, restored, "SELECT operation || token FROM etf_ops.fence"); op != "op-44" {
		t.Errorf("fence of the restored database: %s", op)
	}
	if !scan[bool](t, restored, "SELECT has_table_privilege('etf_app', 'etf_prices', 'INSERT') AND EXISTS (SELECT FROM pg_stats WHERE tablename = 'etf_prices')") {
		t.Error("grants or statistics are missing")
	}

	o.Info.Rows = map[string]int64{"public.etfs": 11}
	err := Restore(t.Context(), host.Local{}, o)
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || mismatch.What != "rows" {
		t.Errorf("Restore of another manifest's dump: %v", err)
	}
	if scan[int](t, admin, "SELECT count(*) FROM pg_database WHERE datname = '"+side.Database+"'") != 0 {
		t.Error("a failed restore leaves its database behind")
	}
	o.Side = u.Database
	if err := Restore(t.Context(), host.Local{}, o); !errors.Is(err, ErrSideTaken) {
		t.Errorf("Restore into the live database: %v", err)
	}
	foreign := newDatabase(t, "foreign")
	exec(t, connect(t, foreign), "CREATE TABLE precious (n int)")
	o.Side = foreign.Database
	if err := Restore(t.Context(), host.Local{}, o); !errors.Is(err, ErrSideTaken) {
		t.Errorf("Restore into somebody's database: %v", err)
	}
}

// Each statement changes the schema and so the fingerprint; what is no matter
// of the schema does not.
func TestFingerprintSeesEveryChange(t *testing.T) {
	u := newDatabase(t, "fingerprint")
	fill(t, u, 10)
	conn := connect(t, u)
	_, last := schemaOf(t, u)
	for _, sql := range []string{
		"INSERT INTO etfs (id) VALUES ('new'); SELECT nextval('etf_prices_id_seq'); ANALYZE",
		"ALTER TABLE empty OWNER TO etf_owner; COMMENT ON TABLE empty IS 'x'; VACUUM FULL empty",
		"DROP TABLE empty; CREATE TABLE empty (a int)",
		"ALTER TABLE empty ADD COLUMN z int; ALTER TABLE empty ADD COLUMN b int; ALTER TABLE empty DROP COLUMN z, DROP COLUMN b",
	} {
		for part := range strings.SplitSeq(sql, ";") {
			exec(t, conn, part)
		}
		if _, now := schemaOf(t, u); now != last {
			t.Errorf("after %q the fingerprint differs", sql)
		}
	}
	for _, sql := range []string{
		"ALTER TABLE empty ADD COLUMN b int", "ALTER TABLE empty ALTER COLUMN b TYPE bigint", "ALTER TABLE empty ALTER COLUMN b SET DEFAULT 1",
		"ALTER TABLE empty ALTER COLUMN b SET NOT NULL", "ALTER TABLE empty RENAME COLUMN b TO c", "CREATE INDEX ON empty (c)", "DROP INDEX empty_c_idx",
		"ALTER TABLE etf_updates DROP CONSTRAINT etf_updates_status_check", "ALTER TABLE etf_updates ADD CONSTRAINT etf_updates_status_check CHECK (status IN ('pending', 'completed'))",
		"ALTER TYPE quality ADD VALUE 'ugly'", "ALTER SEQUENCE etf_prices_id_seq INCREMENT 2", "CREATE OR REPLACE VIEW latest AS SELECT e.id, NULL::date AS date FROM etfs e",
		"ALTER TABLE etf_updates DISABLE TRIGGER touched", "CREATE OR REPLACE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.error := 'a b'; RETURN NEW; END $$",
		"DROP MATERIALIZED VIEW counts", "ALTER TABLE etf_prices ALTER COLUMN currency DROP DEFAULT", "ALTER TABLE empty ALTER COLUMN c SET DEFAULT 2", "CREATE TABLE more ()",
	} {
		exec(t, conn, sql)
		_, now := schemaOf(t, u)
		if now == last {
			t.Errorf("%q does not change the fingerprint", sql)
		}
		last = now
	}
}
