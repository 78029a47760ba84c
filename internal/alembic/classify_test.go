package alembic

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClassify(t *testing.T) {
	for sql, want := range map[string]bool{
		"CREATE TABLE x (id serial NOT NULL, n numeric(20,2));":                                   true,
		"ALTER TABLE etfs ADD COLUMN note VARCHAR;":                                               true,
		"ALTER TABLE etfs ADD COLUMN n NUMERIC(20, 2);":                                           true,
		"alter table only public.etfs\n add column flag boolean DEFAULT false NOT NULL;":          true,
		"ALTER TABLE etfs ADD COLUMN note VARCHAR NOT NULL;":                                      false,
		"ALTER TABLE etfs ADD COLUMN a INT, DROP COLUMN b;":                                       false,
		"ALTER TABLE etfs DROP COLUMN note;":                                                      false,
		"ALTER TABLE etfs RENAME COLUMN a TO b;":                                                  false,
		"ALTER TABLE etfs ALTER COLUMN a TYPE bigint;":                                            false,
		"ALTER TABLE etfs ADD CONSTRAINT c UNIQUE (a);":                                           false,
		"ALTER TABLE etfs ADD CONSTRAINT c CHECK (a > 0) NOT VALID;":                              false,
		"CREATE INDEX CONCURRENTLY i ON etfs (isin);":                                             true,
		"CREATE UNIQUE INDEX i ON etfs (isin);":                                                   false,
		"UPDATE etfs SET name = 'x';":                                                             false,
		"UPDATE alembic_version SET version_num='0003' WHERE alembic_version.version_num='0002';": true,
		"DROP INDEX CONCURRENTLY IF EXISTS i;":                                                    true,
		"TRUNCATE etfs;":                                                                          false,
		"BEGIN;\n\nCOMMIT;":                                                                       true,
		"-- DROP TABLE etfs;\nCREATE TABLE x (a text DEFAULT ';DROP TABLE y');":                   true,
		"DO $$ BEGIN DROP TABLE etfs; END $$;":                                                    false,
		"":                                                                                        true,
	} {
		if got, reasons := Classify(sql); got != want {
			t.Errorf("%s: compatible %v, want %v (%v)", sql, got, want, reasons)
		}
	}
}

func TestStatements(t *testing.T) {
	got := Statements("a 'x;''y' /* ; */ b; -- c;\n d $t$ e; $t$ \"f;\" ;; g")
	want := []string{`a 'x;''y'   b`, `d $t$ e; $t$ "f;"`, "g"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestDeclared(t *testing.T) {
	for content, want := range map[string]string{
		"# compatibility: expand\n":                  Expand,
		"\"\"\"x\"\"\"\n\n# compatibility: contract": Contract,
		"pass # compatibility: expand":               "",
		"":                                           "",
	} {
		if got, err := declared(content); got != want || err != nil {
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if _, err := declared("# compatibility: maybe"); err == nil {
		t.Error("an unknown declaration passes")
	}
}
