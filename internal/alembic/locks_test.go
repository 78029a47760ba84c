package alembic

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
)

// The tables that the statements below work on.
const lockSchema = `
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN anyint AS int;
CREATE TABLE etfs (id varchar PRIMARY KEY, isin varchar(12), name text, ter numeric(10,4), last timestamp, seen timestamp(3), n int, code char(5), flags bit(4),
	checked varchar(9) CHECK (checked <> ''), partial varchar(9), short varchar(5) UNIQUE, never int, tags varchar(9)[], CONSTRAINT never_null CHECK (never IS NOT NULL));
CREATE INDEX etfs_partial ON etfs (id) WHERE partial = 'x';
CREATE INDEX etfs_name ON etfs (name);
CREATE UNIQUE INDEX etfs_never ON etfs (never);
CREATE UNIQUE INDEX etfs_n ON etfs (n);
CREATE TABLE etf_prices (id serial PRIMARY KEY, etf_id varchar, price numeric(20,2) NOT NULL, date date);
CREATE TABLE parts (d date NOT NULL, n int) PARTITION BY RANGE (d);
CREATE TABLE parts_26 (d date NOT NULL, n int);
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM etf_prices;
CREATE FUNCTION dice() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 4; END';
CREATE FUNCTION four() RETURNS int LANGUAGE sql STABLE AS 'SELECT 4';
INSERT INTO etfs (id, isin, name, ter, n, never) SELECT 'E' || i, 'I' || i, 'n' || i, 0.2, i, i FROM generate_series(1, 300) i;
INSERT INTO etf_prices (etf_id, price, date) SELECT 'E' || 1 + i % 300, i, date '2026-01-01' + i FROM generate_series(1, 300) i;
INSERT INTO parts_26 SELECT date '2026-01-01' + i, i FROM generate_series(1, 300) i;
ANALYZE`

// lockCases are statements with what they do, one after the other where there
// are several: kind and mode, or nothing. The server is asked whether it is so.
var lockCases = []struct{ sql, table, want string }{
	// Types.
	{"ALTER TABLE etfs ALTER COLUMN isin TYPE varchar(20)", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin SET DATA TYPE varchar", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin TYPE text", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin TYPE text USING isin::text", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin TYPE text USING CAST(isin AS text)", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin TYPE varchar(6)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER isin TYPE text USING upper(isin)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER name TYPE varchar", "etfs", ""},
	{"ALTER TABLE etfs ALTER name TYPE varchar(90)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER ter TYPE numeric(12,4)", "etfs", ""},
	{"ALTER TABLE etfs ALTER ter TYPE NUMERIC", "etfs", ""},
	{"ALTER TABLE etfs ALTER ter TYPE numeric(12,6)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER ter TYPE numeric(8,4)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER n TYPE bigint", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER n TYPE anyint", "etfs", ""},
	{"ALTER TABLE etfs ALTER n TYPE positive", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER code TYPE char(8)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER flags TYPE varbit", "etfs", ""},
	{"ALTER TABLE etfs ALTER last TYPE timestamp(6) without time zone", "etfs", ""},
	{"ALTER TABLE etfs ALTER last TYPE timestamp(3)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER seen TYPE TIMESTAMP WITHOUT TIME ZONE", "etfs", ""},
	{"ALTER TABLE etfs ALTER tags TYPE text[]", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER checked TYPE text", "etfs", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER partial TYPE text", "etfs", "index ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER short TYPE varchar(9)", "etfs", ""},
	{`ALTER TABLE etfs ALTER name TYPE text COLLATE "C"`, "etfs", "index ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER last TYPE timestamptz", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"SET timezone = 'UTC'; ALTER TABLE etfs ALTER last TYPE timestamptz", "etfs", ""},
	{"ALTER TABLE etfs ALTER isin TYPE text; ALTER TABLE etfs ALTER isin TYPE varchar(40)", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs RENAME isin TO number; ALTER TABLE etfs ALTER number TYPE varchar(40)", "etfs", ""},
	// New columns.
	{"ALTER TABLE etfs ADD COLUMN a int", "etfs", ""},
	{"ALTER TABLE etfs ADD COLUMN a timestamp with time zone DEFAULT now() NOT NULL", "etfs", ""},
	{"ALTER TABLE etfs ADD COLUMN a timestamptz DEFAULT CURRENT_TIMESTAMP", "etfs", ""},
	{"ALTER TABLE etfs ADD COLUMN a numeric(10,2) DEFAULT '0'::numeric(10,2) NOT NULL", "etfs", ""},
	{"ALTER TABLE etfs ADD COLUMN a int DEFAULT four()", "etfs", ""},
	{"ALTER TABLE etfs ADD COLUMN a int DEFAULT public.dice()", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a uuid DEFAULT gen_random_uuid() NOT NULL", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a timestamptz DEFAULT clock_timestamp()", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a float DEFAULT (1 + random())", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a serial", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a int GENERATED ALWAYS AS (n + 1) STORED", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD a int GENERATED BY DEFAULT AS IDENTITY", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD a positive", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD a anyint DEFAULT 3", "etfs", ""},
	{"ALTER TABLE etfs ADD a int CHECK (a > 0)", "etfs", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD a int UNIQUE", "etfs", "index ACCESS EXCLUSIVE"},
	{"ALTER TABLE etf_prices ADD a varchar REFERENCES etfs", "etf_prices", ""},
	{"ALTER TABLE etf_prices ADD a varchar DEFAULT 'E1' REFERENCES etfs (id)", "etf_prices", "scan ACCESS EXCLUSIVE"},
	// Nulls.
	{"ALTER TABLE etfs ALTER isin SET NOT NULL", "etfs", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ALTER COLUMN id SET NOT NULL", "etfs", ""},
	{"ALTER TABLE etfs ALTER never SET NOT NULL", "etfs", ""},
	{"ALTER TABLE etfs ADD CONSTRAINT c CHECK (isin IS NOT NULL) NOT VALID; ALTER TABLE etfs VALIDATE CONSTRAINT c; ALTER TABLE etfs ALTER isin SET NOT NULL", "etfs", ""},
	{"ALTER TABLE etfs ADD CONSTRAINT c CHECK (isin IS NOT NULL) NOT VALID; ALTER TABLE etfs ALTER isin SET NOT NULL", "etfs", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD COLUMN a int DEFAULT 1; ALTER TABLE etfs ALTER a SET NOT NULL", "etfs", "scan ACCESS EXCLUSIVE"},
	// Constraints and indexes.
	{"ALTER TABLE etfs ADD CONSTRAINT c CHECK (n > 0)", "etfs", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD CHECK (n > 0) NOT VALID", "etfs", ""},
	{"ALTER TABLE etf_prices ADD CONSTRAINT f FOREIGN KEY(etf_id) REFERENCES etfs (id)", "etf_prices", "scan SHARE ROW EXCLUSIVE"},
	{"ALTER TABLE etf_prices ADD FOREIGN KEY (etf_id) REFERENCES etfs, ADD a int", "etf_prices", "scan ACCESS EXCLUSIVE"},
	{"ALTER TABLE etf_prices ADD FOREIGN KEY (etf_id) REFERENCES etfs ON DELETE CASCADE DEFERRABLE NOT VALID", "etf_prices", ""},
	{"ALTER TABLE etfs ADD CONSTRAINT u UNIQUE (isin)", "etfs", "index ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs DROP CONSTRAINT etfs_pkey; ALTER TABLE etfs ADD PRIMARY KEY (id)", "etfs", "index ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs ADD CONSTRAINT u UNIQUE USING INDEX etfs_n", "etfs", ""},
	{"ALTER TABLE etfs DROP CONSTRAINT etfs_pkey; ALTER TABLE etfs ADD CONSTRAINT p PRIMARY KEY USING INDEX etfs_n", "etfs", "scan ACCESS EXCLUSIVE"},
	{"CREATE INDEX i ON etfs (isin)", "etfs", "index SHARE"},
	{`CREATE UNIQUE INDEX IF NOT EXISTS i ON public."etfs" USING btree (isin)`, "etfs", "index SHARE"},
	{"CREATE INDEX i ON ONLY parts (d)", "parts", ""},
	{"REINDEX TABLE etfs", "etfs", "index SHARE"},
	{"REINDEX INDEX etfs_name", "etfs", "index SHARE"},
	{"DROP INDEX etfs_name", "etfs", ""},
	{"ALTER TABLE parts ATTACH PARTITION parts_26 FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')", "parts_26", "scan ACCESS EXCLUSIVE"},
	// The whole table.
	{"ALTER TABLE etfs SET UNLOGGED", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"ALTER TABLE etfs SET TABLESPACE other", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"CLUSTER etfs USING etfs_pkey", "etfs", "rewrite ACCESS EXCLUSIVE"},
	{"REFRESH MATERIALIZED VIEW counts", "counts", "rewrite ACCESS EXCLUSIVE"},
	{"LOCK TABLE etfs", "etfs", "lock ACCESS EXCLUSIVE"},
	{"LOCK TABLE etf_prices, etfs IN SHARE ROW EXCLUSIVE MODE", "etf_prices", "lock SHARE ROW EXCLUSIVE"},
	{"LOCK etfs IN ROW EXCLUSIVE MODE", "etfs", ""},
	// Rows.
	{"UPDATE etfs SET n = n + 1000", "etfs", "rows ROW EXCLUSIVE"},
	{"UPDATE etfs SET n = 5000 WHERE id = 'E1'", "etfs", "rows ROW EXCLUSIVE"},
	{"DELETE FROM etf_prices", "etf_prices", "rows ROW EXCLUSIVE"},
	{"WITH x AS (SELECT 1) UPDATE etfs SET name = '' WHERE n < 9", "etfs", "rows ROW EXCLUSIVE"},
	{"DELETE FROM etf_prices WHERE id IN (SELECT id FROM etf_prices LIMIT 10)", "etf_prices", ""},
	{"INSERT INTO etfs (id, never) VALUES ('x', 999) ON CONFLICT (id) DO UPDATE SET n = 1", "etfs", ""},
	// Others.
	{"CREATE TABLE x (a int); ALTER TABLE x ADD COLUMN b serial; CREATE INDEX ON x (a); ALTER TABLE x RENAME TO y; ALTER TABLE y ALTER a TYPE text", "etfs", ""},
	{"COMMENT ON TABLE etfs IS 'ALTER TABLE etfs ALTER n TYPE text'; DROP TABLE etf_prices CASCADE; GRANT SELECT ON etfs TO public", "etfs", ""},
	{"DO $$ BEGIN UPDATE etfs SET n = 1; END $$", "", "unknown "},
}

// Every verdict is held against what the server does: the mode of its lock,
// whether it reads the table, whether the table is written anew.
func TestLocks(t *testing.T) {
	conn := connect(t, "postgres")
	execute(t, conn, "CREATE DATABASE locks")
	conn = connect(t, "locks")
	execute(t, conn, "SET timezone = 'Europe/Berlin'")
	if _, err := conn.PgConn().Exec(t.Context(), lockSchema).ReadAll(); err != nil {
		t.Fatal(err)
	}
	tablespace(t, conn)
	for _, c := range lockCases {
		if set, _, ok := strings.Cut(c.sql, "; "); ok && strings.HasPrefix(set, "SET ") {
			execute(t, conn, set)
		}
		weighed, err := Weigh(t.Context(), conn, Locks(c.sql))
		if err != nil {
			t.Errorf("%s: %v", c.sql, err)
			continue
		}
		got := ""
		for _, l := range weighed {
			if l.Table != c.table || l.Why == "" || l.Do == "" || l.Bytes <= 0 {
				t.Errorf("%s: %+v", c.sql, l)
			}
			got = l.Kind + " " + l.Mode
			if c.table == "etf_prices" && l.Kind == Holds {
				break
			}
		}
		if got != c.want {
			t.Errorf("%s: judged %q, want %q", c.sql, got, c.want)
		}
		if kind, _, _ := strings.Cut(c.want, " "); kind != Unknown && !strings.Contains(c.sql, "x (a int)") && !strings.Contains(c.sql, "DROP TABLE") {
			if diff := cmp.Diff(c.want, observe(t, conn, c.sql, c.table, kind)); diff != "" {
				t.Errorf("%s: the server does otherwise %s", c.sql, diff)
			}
		}
	}
}

// What cannot run in a transaction is judged all the same.
func TestLocksOutsideOfTransactions(t *testing.T) {
	for sql, want := range map[string]string{
		"CREATE INDEX CONCURRENTLY i ON etfs (isin)":      "",
		"CREATE UNIQUE INDEX CONCURRENTLY ON etfs (isin)": "",
		"REINDEX TABLE CONCURRENTLY etfs":                 "",
		"REINDEX (CONCURRENTLY) TABLE etfs":               "",
		"REFRESH MATERIALIZED VIEW CONCURRENTLY counts":   "",
		"VACUUM ANALYZE etfs":                             "",
		"VACUUM (FULL, ANALYZE) etfs":                     "etfs rewrite",
		"VACUUM FULL VERBOSE etfs, public.etf_prices":     "etfs rewrite, etf_prices rewrite",
		"VACUUM FULL":               " rewrite",
		"CLUSTER VERBOSE i ON etfs": "etfs rewrite",
		`ALTER TABLE other."Odd Name" SET TABLESPACE x`:           "other.Odd Name rewrite",
		"ALTER TABLE etfs RENAME TO old; CREATE INDEX ON old (a)": "etfs index",
		"ALTER DOMAIN d ADD CHECK (VALUE > 0)":                    " unknown",
		"SELECT * FROM etfs FOR UPDATE":                           "",
		"ALTER TABLE etfs":                                        "", "CREATE INDEX": "", "LOCK": " lock", "ALTER TABLE etfs ADD": "", "UPDATE": " rows", "VACUUM (FULL": " rewrite", "WITH": "",
		"ALTER TABLE etfs ALTER a TYPE": "etfs rewrite", "ALTER TABLE etfs ADD CONSTRAINT": "", "CREATE": "", "ALTER TABLE etfs ADD a int DEFAULT": "",
	} {
		var got []string
		for _, l := range Locks(sql) {
			if !l.plain {
				got = append(got, l.Table+" "+l.Kind)
			}
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("%s: %q, want %q", sql, text, want)
		}
	}
}

// Statements cut short anywhere are no reason to crash.
func TestLocksOfWhatIsCutShort(t *testing.T) {
	for _, c := range lockCases {
		w := words(c.sql)
		for i := range w {
			Locks(text(&cursor{w: w[:i]}))
			Locks(text(&cursor{w: w[i:]}))
		}
	}
}

// tablespace makes one that files of the test's server can go to.
func tablespace(t *testing.T, conn *pgx.Conn) {
	t.Helper()
	execute(t, conn, "SET allow_in_place_tablespaces = on")
	execute(t, conn, "CREATE TABLESPACE other LOCATION ''")
}

// observe runs the statements in a transaction that is taken back, and says
// what the last of them did to the table, in the words of a Lock.
func observe(t *testing.T, conn *pgx.Conn, sql, table, kind string) string {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(t.Context())
	type state struct {
		file, scans int64
		files       string
	}
	look := func() (s state) {
		err := tx.QueryRow(t.Context(), `SELECT coalesce(pg_relation_filenode($1::regclass), 0)::bigint, pg_stat_get_xact_numscans($1::regclass),
			(SELECT coalesce(string_agg(indexrelid || ':' || pg_relation_filenode(indexrelid), ' ' ORDER BY indexrelid), '') FROM pg_index WHERE indrelid = $1::regclass)`, table).
			Scan(&s.file, &s.scans, &s.files)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		return s
	}
	statements := split(sql)
	for _, s := range statements[:len(statements)-1] {
		if _, err := tx.Exec(t.Context(), s.text); err != nil {
			t.Fatalf("%s: %v", s.text, err)
		}
	}
	before := look()
	if _, err := tx.Exec(t.Context(), statements[len(statements)-1].text); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	var modes []string
	rows, _ := tx.Query(t.Context(), "SELECT mode FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation = $1::regclass", table)
	if modes, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
		t.Fatal(err)
	}
	after := look()
	switch {
	case after.file != before.file:
		kind = Rewrites
	case after.scans != before.scans && kind == Indexes && after.files != before.files, after.files != before.files && kind == Indexes:
	case kind == Changes || kind == Holds:
	case after.scans != before.scans && strings.HasPrefix(sql, "DELETE FROM etf_prices WHERE"): // a batch reads too
		return ""
	case after.scans != before.scans:
		kind = Scans
	default:
		return ""
	}
	return fmt.Sprintf("%s %s", kind, strongest(modes))
}

// strongest is the mode of those that a transaction has which shuts out most.
func strongest(modes []string) string {
	for _, mode := range []string{"AccessExclusiveLock", "ExclusiveLock", "ShareRowExclusiveLock", "ShareLock", "ShareUpdateExclusiveLock", "RowExclusiveLock"} {
		if slices.Contains(modes, mode) {
			return map[string]string{"AccessExclusiveLock": AccessExclusive, "ShareRowExclusiveLock": ShareRowExclusive, "ShareLock": Share, "RowExclusiveLock": RowExclusive}[mode]
		}
	}
	return strings.Join(modes, " ")
}
