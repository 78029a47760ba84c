package rowdiff

import (
	"context"
	"fmt"
	"slices"
)

// list stores what differs and holds it against the counts.
func (a *attempt) list(ctx context.Context) error {
	rows, err := a.tx.Query(ctx, fmt.Sprintf("WITH stored AS (INSERT INTO %s %s RETURNING kind) SELECT kind, count(*) FROM stored GROUP BY kind", rowsTable, a.differing()))
	if err != nil {
		return err
	}
	for rows.Next() {
		var kind string
		var n int64
		if err := rows.Scan(&kind, &n); err != nil {
			return err
		}
		*map[string]*int64{Added: &a.d.Added, Changed: &a.d.Changed, Deleted: &a.d.Deleted}[kind] = n
	}
	if err := rows.Err(); err != nil {
		return err
	}
	if a.d.BackupRows != a.d.Rows-a.d.Added+a.d.Deleted {
		return fmt.Errorf("%w: %d rows in the backup, %d in the live database, of which %d were added and %d deleted: verify the backup",
			errCounts, a.d.BackupRows, a.d.Rows, a.d.Added, a.d.Deleted)
	}
	return nil
}

// differing is the query of the rows that differ, numbered in the order of
// their keys.
func (a *attempt) differing() string {
	key := a.t.keyColumns()
	values := slices.DeleteFunc(slices.Clone(a.shared), func(c column) bool { return a.t.isKey(c.name) })
	first := quote(a.t.key[0])
	added, deleted := "b."+first+" IS NULL", "c."+first+" IS NULL"
	changed, array := "false", "'{}'::text[]"
	if len(values) > 0 {
		changed = each(values, " OR ", func(c column) string { return differs("c.", "b.", c) })
		array = "array_remove(ARRAY[" + each(values, ", ", func(c column) string {
			return "CASE WHEN " + differs("c.", "b.", c) + " THEN " + literal(c.name) + " END"
		}) + "], NULL)"
	}
	order := func(f func(c column) string) string {
		i := 0
		return each(key, ", ", func(c column) string { i++; return fmt.Sprintf("%s AS k%d", f(c), i) })
	}
	i := 0
	by := each(key, ", ", func(column) string { i++; return fmt.Sprintf("k%d", i) })
	join := " LEFT JOIN "
	if a.why != "" {
		join = " FULL JOIN " // both sides are whole
	}
	sql := "SELECT " + order(func(c column) string { return "coalesce(c." + quote(c.name) + ", b." + quote(c.name) + ")" }) +
		", CASE WHEN " + deleted + " THEN " + document("b.", key) + " ELSE " + document("c.", key) + " END AS key" +
		", CASE WHEN " + added + " THEN 'added' WHEN " + deleted + " THEN 'deleted' ELSE 'changed' END AS kind" +
		", CASE WHEN NOT (" + added + ") THEN " + document("b.", a.shared) + " END AS backup, CASE WHEN NOT (" + deleted + ") THEN " + document("c.", a.shared) + " END AS live, " +
		a.xid + " AS xid, CASE WHEN NOT (" + added + " OR " + deleted + ") THEN " + array + " END AS changed FROM " +
		a.source + join + backupTable + " b ON " + sameKey("c.", "b.", key) + " WHERE " + added + " OR " + deleted + " OR " + changed
	gone := ""
	switch {
	case a.missing:
		gone = missingTable + " b"
	case a.wholeIn && a.why == "":
		gone = backupTable + " b WHERE NOT EXISTS (SELECT FROM " + a.t.ident() + " t WHERE " + sameKey("t.", "b.", key) + ")"
	}
	if gone != "" {
		sql += " UNION ALL SELECT " + order(func(c column) string { return "b." + quote(c.name) }) + ", " + document("b.", key) + ", 'deleted', " + document("b.", a.shared) + ", NULL, NULL, NULL FROM " + gone
	}
	return fmt.Sprintf("SELECT %d + row_number() OVER (ORDER BY %s), %s, key, kind, backup, live, xid, changed FROM (%s) d", a.n, by, literal(a.t.name), sql)
}
