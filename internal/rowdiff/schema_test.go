package rowdiff

import (
	"fmt"
	"strings"
	"testing"
)

func TestSchemaThatChanged(t *testing.T) {
	sql := service + `CREATE TABLE old (id int PRIMARY KEY); INSERT INTO old VALUES (1), (2); CREATE TABLE keyless (a int); INSERT INTO keyless VALUES (1), (1);
		CREATE TABLE other_key (a int PRIMARY KEY, b int); INSERT INTO other_key VALUES (1, 1);
		CREATE TABLE retyped (id int PRIMARY KEY, a varchar, b varchar, c numeric(10,4)); INSERT INTO retyped VALUES (1, '7', '8', 1.23456), (2, 'seven', '9', 2), (3, '1', '1', 3);
		CREATE TABLE rekeyed (a text PRIMARY KEY, b int NOT NULL); INSERT INTO rekeyed SELECT 'a' || i, i FROM generate_series(1, 3000) i;
		CREATE TYPE quality AS ENUM ('good', 'bad'); CREATE TABLE rated (id text PRIMARY KEY, q quality); INSERT INTO rated VALUES ('a', 'good'), ('b', 'bad')`
	bothWays(t, sql, func(w *world) {
		w.exec(`ALTER TABLE etf_prices ADD COLUMN is_adjusted boolean NOT NULL DEFAULT false; ALTER TABLE etf_prices DROP COLUMN volume; ALTER TABLE etfs RENAME name TO title;
			UPDATE etf_prices SET price = 2, is_adjusted = true WHERE id = 8; UPDATE etfs SET title = 'x', last_price = 7 WHERE id = 'E1';
			UPDATE etfs SET title = 'y' WHERE id = 'E2';
			DROP TABLE old; CREATE TABLE young (id int PRIMARY KEY, a text); INSERT INTO young VALUES (1, 'one'), (2, NULL);
			INSERT INTO keyless VALUES (2);
			ALTER TABLE other_key DROP CONSTRAINT other_key_pkey, ADD COLUMN c serial PRIMARY KEY;
			ALTER TABLE rekeyed DROP CONSTRAINT rekeyed_pkey, ADD PRIMARY KEY (b); UPDATE rekeyed SET a = 'x' WHERE b = 7; DELETE FROM rekeyed WHERE b = 8; INSERT INTO rekeyed VALUES ('a8', 4000);
			DELETE FROM retyped WHERE id = 3; ALTER TABLE retyped ALTER a TYPE int USING length(a), ALTER b TYPE int USING b::int, ALTER c TYPE numeric(10,2); UPDATE retyped SET b = 10 WHERE id = 2;
			CREATE TYPE grade AS ENUM ('good', 'poor'); ALTER TABLE rated ALTER q TYPE grade USING replace(q::text, 'bad', 'poor')::grade`)
		d := w.compare()
		same(t, "rows", w.found(), []string{
			`1 public.etf_prices changed {"id": 8} price`,
			`2 public.etfs changed {"id": "E1"} last_price`,
			`3 public.rekeyed changed {"b": 7} a`,
			`4 public.rekeyed deleted {"b": 8}`,
			`5 public.rekeyed added {"b": 4000}`,
			`6 public.retyped changed {"id": 2} b`,
			`7 public.retyped deleted {"id": 3}`,
			`8 public.young added {"id": 1}`,
			`9 public.young added {"id": 2}`,
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
			"public.rekeyed":               "[] 3000 3000 1 1 rows written since (xmin)",
			"public.rated":                 "[q] 2 2 0 0 rows written since (xmin)",
			"public.retyped":               "[a] 2 3 0 1 rows written since (xmin)",
			"public.young":                 "[] 2 0 2 0 every row: the backup has no such table",
		})
		same(t, "without a key", d.NoKey, []string{"public.keyless", "public.other_key"})
	})
}
