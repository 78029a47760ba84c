package rowdiff

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A table is an ordinary table of schema public as it is now.
type table struct {
	name    string // "public.etf_prices"
	schema  string
	base    string
	oid     uint32
	columns []column // in their order, without generated ones
	key     []string // columns of the primary key; nil: it has none
}

// A column of a table.
type column struct {
	name   string
	typ    string // with its schema, so that no search path matters
	kind   kind
	always bool // an identity that an UPDATE cannot set
}

// A kind says how a column's values are compared and kept as JSON.
type kind string

const (
	natural kind = "natural" // has an equality, and JSON keeps it exactly
	array   kind = "array"   // of natural ones
	textual kind = "textual" // compared, and kept, as text: json, composites, types of extensions
)

// tablesSQL lists the tables with their columns. Equality under a
// nondeterministic collation hides differences, so that text is looked at.
// A domain counts as what it is over. Types come with their schema.
var tablesSQL = `
WITH own AS (SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE n.nspname = 'public' AND c.relkind = 'r' AND c.relpersistence <> 't' AND c.relname <> 'alembic_version'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
SELECT own.oid, own.nspname::text, own.relname::text,
	(SELECT array_agg(a.attname::text ORDER BY k.n) FROM pg_index i CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY k (attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE i.indrelid = own.oid AND i.indisprimary AND k.n <= i.indnkeyatts),
	coalesce(array_agg(a.attname::text ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}'),
	coalesce(array_agg(CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN format_type(a.atttypid, a.atttypmod)
		ELSE format('%I.%I', tn.nspname, t.typname) || CASE WHEN t.typcategory <> 'A' THEN substr(format_type(a.atttypid, a.atttypmod), length(format_type(a.atttypid, NULL)) + 1) ELSE '' END END ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}'),
	coalesce(array_agg(CASE WHEN NOT coalesce(l.collisdeterministic, true) THEN 'textual'
		WHEN b.typcategory = 'A' AND ` + naturalType("e") + ` THEN 'array' WHEN ` + naturalType("b") + ` THEN 'natural' ELSE 'textual' END ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}'),
	coalesce(array_agg(a.attidentity = 'a' ORDER BY a.attnum) FILTER (WHERE a.attnum IS NOT NULL), '{}')
FROM own LEFT JOIN pg_attribute a ON a.attrelid = own.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
LEFT JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace LEFT JOIN pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_type e ON e.oid = b.typelem LEFT JOIN pg_collation l ON l.oid = a.attcollation
GROUP BY own.oid, own.nspname, own.relname ORDER BY own.nspname, own.relname`

func naturalType(alias string) string {
	return strings.ReplaceAll(`(t.typtype IN ('e', 'r') OR t.typnamespace = 'pg_catalog'::regnamespace AND t.typtype = 'b'
		AND (t.typcategory IN ('B', 'N', 'S', 'D', 'T', 'I', 'V') OR t.oid IN ('uuid'::regtype, 'bytea'::regtype)))`, "t.", alias+".")
}

// tables reads the tables of a database, whatever its search path.
func tables(ctx context.Context, q postgres.Querier) ([]table, error) {
	rows, _ := q.Query(ctx, tablesSQL)
	list, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		var names, types, kinds []string
		var always []bool
		err = row.Scan(&t.oid, &t.schema, &t.base, &t.key, &names, &types, &kinds, &always)
		t.name = t.schema + "." + t.base
		for i := range names {
			t.columns = append(t.columns, column{names[i], types[i], kind(kinds[i]), always[i]})
		}
		return t, err
	})
	return list, wrap("reading the tables", err)
}

// ident is the table's name for a statement.
func (t table) ident() string { return pgx.Identifier{t.schema, t.base}.Sanitize() }

// isKey reports whether a column is part of the key.
func (t table) isKey(name string) bool { return slices.Contains(t.key, name) }

// only is the columns that are among names, in the table's order.
func (t table) only(names []string) (shared []column) {
	for _, c := range t.columns {
		if slices.Contains(names, c.name) {
			shared = append(shared, c)
		}
	}
	return shared
}

// keyColumns is the columns of the key, in the key's order.
func (t table) keyColumns() []column {
	columns := make([]column, len(t.key))
	for i, name := range t.key {
		at := slices.IndexFunc(t.columns, func(c column) bool { return c.name == name })
		columns[i] = t.columns[at]
	}
	return columns
}

// leftOut is the columns that only one of live and backup has.
func (t table) leftOut(backup []string) (names []string) {
	for _, c := range t.columns {
		if !slices.Contains(backup, c.name) {
			names = append(names, c.name)
		}
	}
	for _, name := range backup {
		if !slices.ContainsFunc(t.columns, func(c column) bool { return c.name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// find looks a table up by its name.
func find(list []table, name string) (table, bool) {
	i := slices.IndexFunc(list, func(t table) bool { return t.name == name })
	if i < 0 {
		return table{}, false
	}
	return list[i], true
}

// chosen is the tables with these names, in the list's order; all when there
// are none.
func chosen(list []table, names []string) ([]table, error) {
	if len(names) == 0 {
		return list, nil
	}
	for _, name := range names {
		if _, ok := find(list, name); !ok {
			return nil, fmt.Errorf("there is no table %s in the database: name it with its schema, such as public.etf_prices", name)
		}
	}
	return slices.DeleteFunc(slices.Clone(list), func(t table) bool { return !slices.Contains(names, t.name) }), nil
}
