package alembic

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLosses(t *testing.T) {
	for sql, want := range map[string][]string{
		"BEGIN; UPDATE alembic_version SET version_num='0002' WHERE alembic_version.version_num = '0003'; COMMIT;": nil,
		"DROP INDEX a; ALTER TABLE t DROP CONSTRAINT c, ADD CONSTRAINT d UNIQUE (x);":                              nil,
		"ALTER TABLE t ALTER COLUMN x SET NOT NULL; ALTER TABLE t ALTER x DROP DEFAULT;":                           nil,
		"ALTER TABLE etfs DROP COLUMN replication_method;":                                                         {"column etfs.replication_method"},
		`ALTER TABLE public."Etfs" DROP COLUMN IF EXISTS "Has Case" CASCADE, DROP other;`:                          {"column Etfs.Has Case", "column Etfs.other"},
		"DROP TABLE IF EXISTS a, other.b CASCADE;":                                                                 {"table a", "table other.b"},
		"CREATE TABLE tmp (x int); DROP TABLE tmp;":                                                                nil,
		"ALTER TABLE t RENAME TO u; DROP TABLE u;":                                                                 {"table t"},
		"ALTER TABLE t RENAME a TO b; ALTER TABLE t RENAME COLUMN b TO c; ALTER TABLE t DROP COLUMN c;":            {"column t.a"},
		"ALTER TABLE s.t RENAME a TO b; ALTER TABLE s.t RENAME TO u; ALTER TABLE s.u DROP b;":                      {"column s.t.a"},
		"CREATE TABLE n (x int); ALTER TABLE t RENAME TO o; ALTER TABLE n RENAME TO t; DROP TABLE o; DROP TABLE t": {"table t"},
		"CREATE TABLE IF NOT EXISTS t (x int); DROP TABLE t;":                                                      {"table t"},
		"ALTER TABLE t RENAME CONSTRAINT a TO b; ALTER TABLE t DROP b;":                                            {"column t.b"},
		"-- DROP TABLE a;\nCOMMENT ON TABLE a IS 'DROP TABLE b; DELETE FROM c';":                                   nil,
		"UPDATE etfs SET x = 1;":                               {"? UPDATE etfs SET x = 1"},
		"ALTER TABLE t ALTER COLUMN x TYPE int USING x::int;":  {"? ALTER TABLE t ALTER COLUMN x TYPE int USING x::int"},
		"DELETE FROM alembic_version_old;":                     {"? DELETE FROM alembic_version_old"},
		"DO $$ BEGIN DELETE FROM etfs; END $$;":                {"? DO $$ BEGIN DELETE FROM etfs; END $$"},
		"DROP TYPE kind; TRUNCATE etfs; DROP SCHEMA s CASCADE": {"? DROP TYPE kind", "? TRUNCATE etfs", "? DROP SCHEMA s CASCADE"},
	} {
		drops, others := Losses(sql)
		var got []string
		for _, d := range drops {
			got = append(got, fmt.Sprint(d))
		}
		for _, o := range others {
			got = append(got, "? "+o)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%s", sql, diff)
		}
	}
}
