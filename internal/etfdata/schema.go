package etfdata

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schema is what the tables of the present schema look like.
type schema struct {
	columns    map[string]bool // table.column
	required   map[string]bool // those of them that are never NULL
	indexes    []index
	references []reference
}

type index struct {
	table, name string
	columns     []string
	unique      bool
}

// A reference is a column that names an ETF.
type reference struct {
	table, column, to string
	bound             bool // by a foreign key, or as one of the service's own tables
}

// inspect reads the tables of the schema that comes first in the search path.
func inspect(ctx context.Context, q Querier) (*schema, error) {
	s := &schema{columns: map[string]bool{}, required: map[string]bool{}}
	for _, read := range []func(context.Context, Querier) error{s.readColumns, s.readIndexes, s.readReferences} {
		if err := read(ctx, q); err != nil {
			return nil, fmt.Errorf("reading the tables' columns: %w", err)
		}
	}
	return s, nil
}

func (s *schema) readColumns(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, `SELECT c.relname || '.' || a.attname, a.attnotnull FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped`)
	if err != nil {
		return err
	}
	var name string
	var required bool
	_, err = pgx.ForEachRow(rows, []any{&name, &required}, func() error {
		s.columns[name], s.required[name] = true, required
		return nil
	})
	return err
}

// readReferences finds columns that name an ETF, by their constraint or by
// their name. Prices have a rule of their own.
func (s *schema) readReferences(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, `SELECT t.relname, a.attname, coalesce(f.attname, 'id'), bool_or(c.oid IS NOT NULL) OR t.relname IN ('etf_updates', 'etf_errors') FROM pg_class t
		JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
		LEFT JOIN pg_constraint c ON c.conrelid = t.oid AND c.contype = 'f' AND c.conkey = ARRAY[a.attnum] AND c.confrelid = to_regclass('etfs')
		LEFT JOIN pg_attribute f ON f.attrelid = c.confrelid AND f.attnum = c.confkey[1]
		WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
			AND t.relname <> 'etf_prices' AND (c.oid IS NOT NULL OR a.attname = 'etf_id')
		GROUP BY 1, 2, 3 ORDER BY 1, 2`)
	if err != nil {
		return err
	}
	var one reference
	_, err = pgx.ForEachRow(rows, []any{&one.table, &one.column, &one.to, &one.bound}, func() error {
		s.references = append(s.references, one)
		return nil
	})
	return err
}

// readIndexes leaves out what does not hold for every row: partial indexes,
// those over expressions, and those that are not valid.
func (s *schema) readIndexes(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, `SELECT t.relname, c.relname, i.indisunique,
		array_agg(a.attname::text ORDER BY k.n)
		FROM pg_index i
		JOIN pg_class t ON t.oid = i.indrelid JOIN pg_class c ON c.oid = i.indexrelid
		CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, n)
		JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
		WHERE t.relnamespace = current_schema()::regnamespace AND k.n <= i.indnkeyatts
		AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
		GROUP BY 1, 2, 3`)
	if err != nil {
		return err
	}
	var one index
	_, err = pgx.ForEachRow(rows, []any{&one.table, &one.name, &one.unique, &one.columns}, func() error {
		one.columns = slices.Clone(one.columns)
		s.indexes = append(s.indexes, one)
		return nil
	})
	return err
}

// has reports whether table.column exists.
func (s *schema) has(name string) bool { return s.columns[name] }

// hasTable reports whether a table with columns exists.
func (s *schema) hasTable(table string) bool {
	for name := range s.columns {
		if tableOf(name) == table {
			return true
		}
	}
	return false
}

// lacks is the error of a rule whose columns are not all there.
func (s *schema) lacks(needs []string) error {
	var missing []string
	for _, name := range needs {
		switch table := tableOf(name); {
		case s.has(name):
		case s.hasTable(table):
			missing = append(missing, name)
		case !slices.Contains(missing, "table "+table):
			missing = append(missing, "table "+table)
		}
	}
	if missing != nil {
		return fmt.Errorf("the schema has no %s", strings.Join(missing, ", "))
	}
	return nil
}

// ground are the columns without which there are no ETFs and prices: releases
// differ in the others.
var ground = []string{"etfs.id", "etf_prices.id", "etf_prices.etf_id", "etf_prices.date", "etf_prices.price"}

// older reports whether the schema may lack these columns because its release
// does not know them: their tables are there, and so is the ground.
func (s *schema) older(needs []string) bool {
	return !slices.ContainsFunc(needs, func(name string) bool {
		return !s.has(name) && (!s.hasTable(tableOf(name)) || slices.Contains(ground, name))
	})
}

// present are those of the columns that there are.
func (s *schema) present(columns ...string) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool { return !s.has(name) })
}

// leads reports whether an index of the table begins with these columns.
func (s *schema) leads(table string, columns ...string) bool {
	return slices.ContainsFunc(s.indexes, func(i index) bool {
		return i.table == table && len(i.columns) >= len(columns) && slices.Equal(i.columns[:len(columns)], columns)
	})
}

// unique reports whether a constraint keeps these columns, or some of them,
// from repeating.
func (s *schema) unique(table string, columns ...string) bool {
	return slices.ContainsFunc(s.indexes, func(i index) bool {
		return i.table == table && i.unique &&
			!slices.ContainsFunc(i.columns, func(c string) bool { return !slices.Contains(columns, c) })
	})
}
