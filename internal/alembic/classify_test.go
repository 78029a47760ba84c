package alembic

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var compatible = []string{
	"", "BEGIN;\n\nCOMMIT;", "-- DROP TABLE etfs;\nCREATE TABLE x (a text DEFAULT ';DROP TABLE y')",
	"CREATE TABLE x (id serial NOT NULL, n numeric(20,2) UNIQUE CHECK (n > 0), FOREIGN KEY (id) REFERENCES etfs (id));",
	"ALTER TABLE etfs ADD COLUMN note VARCHAR;",
	"ALTER TABLE etfs ADD COLUMN n NUMERIC(20, 2), ADD m timestamp with time zone",
	"alter table only public.etfs\n add column flag boolean DEFAULT false NOT NULL;",
	"ALTER TABLE etfs ADD COLUMN a varchar(3) DEFAULT 'E''U(R'::character varying NOT NULL",
	"ALTER TABLE etfs ADD COLUMN a numeric DEFAULT -1.5 NOT NULL", "ALTER TABLE etfs ADD a timestamptz NOT NULL DEFAULT now()",
	"ALTER TABLE etfs ADD COLUMN a text DEFAULT NULL", "ALTER TABLE etfs ADD COLUMN a jsonb DEFAULT '{}'::jsonb NOT NULL", "ALTER TABLE etfs ADD COLUMN a date[] DEFAULT '{}'",
	"CREATE INDEX CONCURRENTLY i ON etfs (isin);", "CREATE SEQUENCE s", "CREATE TYPE t AS ENUM ('a;', 'b')", "CREATE VIEW v AS SELECT 1",
	"DROP INDEX CONCURRENTLY IF EXISTS ix_a; CREATE INDEX CONCURRENTLY ix_a ON etf_updates (status, created_at)",
	"COMMENT ON TABLE a IS E'it\\'; '", "SET lock_timeout = '5s'",
	"UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num='0002'; INSERT INTO alembic_version (version_num) VALUES ('1') RETURNING alembic_version.version_num",
	"ALTER TABLE etfs ADD COLUMN a int; UPDATE etfs SET a = coalesce(1, 2) FROM x WHERE name = 'y'", `ALTER TABLE "etfs" ADD COLUMN a int; UPDATE public.etfs AS e SET "a" = 1`,
	"CREATE TABLE x (a int); CREATE UNIQUE INDEX i ON x (a); ALTER TABLE x ADD CONSTRAINT c CHECK (a > 0), DROP COLUMN a; INSERT INTO x VALUES (1); DELETE FROM x; DROP TABLE x",
	"/* a /* nested; */ DROP TABLE x; */ CREATE TABLE y ()",
}

var incompatible = []string{
	"DROP TABLE etfs", "TRUNCATE etfs", "DROP INDEX i", "DROP INDEX i, j; CREATE INDEX i ON etfs (a)", "GRANT ALL ON etfs TO x", "SELECT setval('s', 1)", "LOCK TABLE etfs",
	"ALTER TABLE etfs ADD COLUMN note VARCHAR NOT NULL", "ALTER TABLE etfs ADD COLUMN a INT, DROP COLUMN b", "ALTER TABLE etfs DROP COLUMN note",
	"ALTER TABLE etfs RENAME COLUMN a TO b", "ALTER TABLE etfs RENAME TO x", "ALTER TABLE etfs ALTER COLUMN a TYPE bigint", "ALTER TABLE etfs ALTER a SET NOT NULL",
	"ALTER TABLE etfs ADD CONSTRAINT c UNIQUE (a)", "ALTER TABLE etfs ADD CONSTRAINT c CHECK (a > 0) NOT VALID", "ALTER TABLE etfs ADD CHECK (a > 0)",
	"ALTER TABLE etfs ADD COLUMN a varchar DEFAULT '(', DROP COLUMN b", "ALTER TABLE etfs ADD COLUMN a uuid DEFAULT gen_random_uuid()", "ALTER TABLE etfs ADD COLUMN a int DEFAULT nextval('s')",
	"ALTER TABLE etfs ADD COLUMN a int DEFAULT 1 + random()", "ALTER TABLE etfs ADD COLUMN a int UNIQUE", "ALTER TABLE etfs ADD COLUMN a serial", "ALTER TABLE etfs ADD COLUMN a int NOT NULL DEFAULT NULL",
	"ALTER TABLE etfs ADD COLUMN a int GENERATED ALWAYS AS (1) STORED", "ALTER TABLE etfs ADD COLUMN a int REFERENCES x", "ALTER TABLE etfs ADD COLUMN a int CHECK (a > 0)",
	"ALTER TABLE etfs ADD COLUMN a timestamptz DEFAULT clock_timestamp()", "ALTER TABLE etfs ADD COLUMN a int DEFAULT (random())",
	"CREATE UNIQUE INDEX i ON etfs (isin)", "CREATE OR REPLACE VIEW v AS SELECT 1", "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE TRIGGER t BEFORE INSERT ON etfs EXECUTE FUNCTION f()",
	"CREATE TABLE IF NOT EXISTS etfs (a int); DELETE FROM etfs", "ALTER TYPE q ADD VALUE 'x'", "ALTER SEQUENCE s RESTART",
	"UPDATE etfs SET name = 'x'", "INSERT INTO etfs (id) VALUES ('x')", "DELETE FROM etfs", "ALTER TABLE etfs ADD COLUMN a int; UPDATE etfs SET a = 1, name = 'x'",
	"ALTER TABLE etfs ADD COLUMN a int; UPDATE etf_prices SET a = 1", "ALTER TABLE etfs ADD COLUMN a int; UPDATE etfs SET (a, name) = (1, 'x')",
	"DO $$ BEGIN DROP TABLE etfs; END $$", "COMMENT ON TABLE a IS $x$ $$ ; $x$; DROP TABLE etfs", "CREATE TABLE x (a int DEFAULT 1); /* ; */ DROP TABLE etfs -- CREATE",
	`CREATE TABLE "X" (a int); DROP TABLE x`, "DROP TABLE x, etfs; CREATE TABLE x ()", "CREATE TABLE x (); DROP TABLE x, etfs", "WITH d AS (DELETE FROM etfs) INSERT INTO x SELECT 1",
	"garbage", "COMMENT ON TABLE a IS 'x'; garbage 'never closed; DROP TABLE etfs",
}

func TestClassify(t *testing.T) {
	for _, sql := range compatible {
		if ok, reasons := Classify(sql); !ok {
			t.Errorf("%s: not compatible: %v", sql, reasons)
		}
	}
	for _, sql := range incompatible {
		if ok, reasons := Classify(sql); ok || len(reasons) != 1 && !strings.Contains(sql, "x, etfs") {
			t.Errorf("%s: compatible, or not for one reason: %q", sql, reasons)
		}
	}
}

func TestSplit(t *testing.T) {
	var got []string
	for _, s := range split("a 'x;''y'  /* ; */ b; -- c;\n d $t$ e; $$ $t$ \"f;\" ;; E'\\';' x$1;2;g$a$;h") {
		got = append(got, s.text)
	}
	want := []string{"a 'x;''y' b", `d $t$ e; $$ $t$ "f;"`, `E'\';' x$1`, "2", "g$a$", "h"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// Whatever comes in, nothing is lost and nothing hangs.
func TestChangesData(t *testing.T) {
	for sql, want := range map[string]bool{
		"BEGIN; ALTER TABLE a ADD COLUMN b int; UPDATE alembic_version SET version_num='2'; COMMIT;": false,
		"INSERT INTO alembic_version (version_num) VALUES ('1');":                                    false,
		"UPDATE etfs SET name = upper(name);":                                                        true,
		"-- UPDATE etfs\nCREATE INDEX i ON etfs (isin);":                                             false,
		"DO $$ BEGIN DELETE FROM etfs; END $$;":                                                      true,
		"DELETE FROM etf_prices WHERE price < 0":                                                     true,
		"SELECT setval('x', 1);":                                                                     true,
		"DROP TABLE x;":                                                                              false,
	} {
		if got := ChangesData(sql); got != want {
			t.Errorf("%s: %v", sql, got)
		}
	}
}

func FuzzSplit(f *testing.F) {
	for _, sql := range append(compatible, incompatible...) {
		f.Add(sql)
	}
	f.Fuzz(func(t *testing.T, sql string) {
		Classify(sql)
		if ok, _ := Classify(sql + "\n;*/;\nDROP TABLE etfs;"); ok && !strings.ContainsAny(sql, `'"$/-`) {
			t.Errorf("%q hides a statement behind it", sql)
		}
	})
}

func TestCheckDeclaredNamesTheMigration(t *testing.T) {
	sql := "BEGIN;\n-- Running upgrade  -> 0001\nCREATE TABLE x (a int);\n-- Running upgrade 0001 -> 0002\nCREATE UNIQUE INDEX i ON x (a);\nDROP TABLE etfs;\nCOMMIT;\n-- Running upgrade 0002 -> 0003\nCREATE TABLE y ();"
	migrations := func(words ...string) (all []Migration) {
		for i, w := range words {
			all = append(all, Migration{Revision: "000" + string(rune('1'+i)), Compatibility: w})
		}
		return all
	}
	if err := CheckDeclared(migrations(Expand, Contract, Expand), sql); err != nil {
		t.Error(err)
	}
	var wrong *DeclarationError
	if err := CheckDeclared(migrations(Expand, Expand, Expand), sql); !errors.As(err, &wrong) || wrong.Migration.Revision != "0002" || len(wrong.Reasons) != 1 {
		t.Errorf("a migration that drops a table as expand: %v", err)
	}
	if err := CheckDeclared(migrations("", "", "", Expand), sql); !errors.As(err, &wrong) || wrong.Migration.Revision != "0004" {
		t.Errorf("a migration without SQL as expand: %v", err)
	}
}
