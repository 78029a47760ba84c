package etfdata

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schema is what the tables of the present schema look like.
type schema struct {
	columns map[string]bool // table.column
	indexes []index
}

type index struct {
	table, name string
	columns     []string
	unique      bool
}

// inspect reads the tables of the schema that comes first in the search path.
func inspect(ctx context.Context, connect Connect) (*schema, error) {
	q, release, err := connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("looking at the data: %w", err)
	}
	defer release()
	s := &schema{columns: map[string]bool{}}
	if err := errors.Join(s.readColumns(ctx, q), s.readIndexes(ctx, q)); err != nil {
		return nil, fmt.Errorf("reading the tables' columns: %w", err)
	}
	return s, nil
}

func (s *schema) readColumns(ctx context.Context, q Querier) error {
	rows, err := q.Query(ctx, `SELECT table_name || '.' || column_name
		FROM information_schema.columns WHERE table_schema = current_schema()`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for _, name := range names {
		s.columns[name] = true
	}
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

// lacks is the error of a rule whose columns are not all there.
func (s *schema) lacks(needs []string) error {
	var missing []string
	for _, name := range needs {
		if !s.has(name) {
			missing = append(missing, name)
		}
	}
	if missing != nil {
		return fmt.Errorf("the schema has no %s", strings.Join(missing, ", "))
	}
	return nil
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
