package rowdiff

import (
	"fmt"
	"testing"
)

// Deleted rows that as many new ones hide from the counts are found.
func TestDeletedBehindAdded(t *testing.T) {
	bothWays(t, service, func(w *world) {
		w.exec(`DELETE FROM etf_prices WHERE id IN (1, 3000); INSERT INTO etf_prices (etf_id, date, price) SELECT 'E1', date '2040-01-01' + i, 1 FROM generate_series(1, 3) i`)
		d := tableOf(t, w.compare(), "public.etf_prices")
		if d.Added != 3 || d.Deleted != 2 {
			t.Errorf("%+v", d)
		}
	})
}

// Deleted rows are found whatever their keys.
func TestDeletedRows(t *testing.T) {
	bothWays(t, `
		CREATE TABLE dense (id int PRIMARY KEY, a text); INSERT INTO dense SELECT i, i FROM generate_series(-3000, 3000) i;
		CREATE TABLE sparse (a text, id bigint PRIMARY KEY); INSERT INTO sparse SELECT i, 9223372036854775807 - i * 1234567890123 FROM generate_series(0, 2000) i;
		INSERT INTO sparse VALUES ('least', -9223372036854775808), ('greatest but one', 9223372036854775806);
		CREATE TABLE gappy (id int PRIMARY KEY); INSERT INTO gappy SELECT 2 * i FROM generate_series(1, 1000) i;
		CREATE TABLE highest (id bigint PRIMARY KEY); INSERT INTO highest SELECT 9223372036854775807 - i FROM generate_series(0, 600) i;
		CREATE TABLE named (b int, a text, PRIMARY KEY (a, b)); INSERT INTO named SELECT i % 7, E'tab\t' || i FROM generate_series(1, 2000) i;
		CREATE TABLE emptied (id int PRIMARY KEY); INSERT INTO emptied SELECT generate_series(1, 2000);
		CREATE TABLE halved (id smallint PRIMARY KEY, a int); INSERT INTO halved SELECT i, i FROM generate_series(1, 3000) i`,
		func(w *world) {
			w.exec(`DELETE FROM dense WHERE id IN (-3000, -257, -256, -1, 0, 255, 256, 3000); INSERT INTO dense SELECT i, i FROM generate_series(3001, 3010) i;
				DELETE FROM sparse WHERE id IN (9223372036854775807, -9223372036854775808) OR a = '1000'; INSERT INTO sparse VALUES ('new', 5), ('new', 6), ('new', 7), ('new', 9223372036854775805);
				DELETE FROM gappy WHERE id = 4; INSERT INTO gappy VALUES (5);
				DELETE FROM highest WHERE id = 9223372036854775807; DELETE FROM named WHERE a IN (E'tab\t7', E'tab\t1999'); INSERT INTO named VALUES (1, 'x'), (1, 'y'), (1, 'z');
				DELETE FROM emptied; DELETE FROM halved WHERE id % 2 = 0`)
			d := w.compare()
			got := map[string]string{}
			for _, table := range d.Tables {
				got[table.Table] = fmt.Sprint(table.Added, table.Deleted, " ", table.How)
			}
			const written = " rows written since (xmin)"
			same(t, "tables", got, map[string]string{"public.dense": "10 8" + written, "public.sparse": "4 3" + written, "public.gappy": "1 1" + written, "public.highest": "0 1" + written, "public.named": "3 2" + written, "public.emptied": "0 2000" + written, "public.halved": "0 1500" + written})
			same(t, "keys", w.lines("SELECT key::text FROM etf_ops.work_rows WHERE kind = 'deleted' AND tbl IN ('public.dense', 'public.sparse', 'public.highest', 'public.named') ORDER BY n"), []string{
				`{"id": -3000}`, `{"id": -257}`, `{"id": -256}`, `{"id": -1}`, `{"id": 0}`, `{"id": 255}`, `{"id": 256}`, `{"id": 3000}`, `{"id": 9223372036854775807}`,
				`{"a": "tab\t1999", "b": 4}`, `{"a": "tab\t7", "b": 0}`, `{"id": -9223372036854775808}`, `{"id": 9222137468964652807}`, `{"id": 9223372036854775807}`,
			})
		})
}
