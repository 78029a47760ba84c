package etfdata

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// A view is a set of rows that rules look at. The rules of one view are
// counted in one pass over it.
type view struct {
	from  string // what follows FROM
	row   string // the columns that a person wants to see
	key   string // text that names a row
	order string
	looks string // what it is, in words
}

// list is the statement that shows the rows of v for which where holds, in one
// line.
func (v view) list(where string) string {
	sql := fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", v.row, v.from, where, v.order)
	return strings.Join(strings.Fields(sql), " ")
}

// A pass counts for all rules of a view at once.
type pass struct {
	schema  *schema
	options Options
	view    view
	rules   []Rule
	results []*Result
}

func (p *pass) filled() []*Result { return p.results }

func (p *pass) look(ctx context.Context, conn *pgx.Conn) error {
	var sql strings.Builder
	sql.WriteString("SELECT count(*)")
	var looked int64
	into := []any{&looked}
	for i, rule := range p.rules {
		if rule.narrow(p.schema) == "" {
			fmt.Fprintf(&sql, ", count(*) FILTER (WHERE %s)", rule.where(p.schema, p.options))
			into = append(into, &p.results[i].Violations)
		}
	}
	sql.WriteString(" FROM " + p.view.from)
	if err := one(ctx, conn, into, sql.String()); err != nil {
		return err
	}
	for i, rule := range p.rules {
		r, v, where := p.results[i], p.view, rule.where(p.schema, p.options)
		r.Looked = looked
		if v.from = rule.narrow(p.schema); v.from != "" {
			if err := count(ctx, conn, r, v, where); err != nil {
				return err
			}
		} else if r.Violations > 0 {
			if err := sample(ctx, conn, r, p.view, where); err != nil {
				return err
			}
		}
	}
	return nil
}

// count fills in how many rows of v break a rule, and which.
func count(ctx context.Context, q Querier, r *Result, v view, where string, args ...any) error {
	if err := one(ctx, q, []any{&r.Violations}, fmt.Sprintf("SELECT count(*) FROM %s WHERE %s", v.from, where), args...); err != nil || r.Violations == 0 {
		return err
	}
	return sample(ctx, q, r, v, where, args...)
}

func sample(ctx context.Context, q Querier, r *Result, v view, where string, args ...any) error {
	rows, err := q.Query(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d", v.key, v.from, where, v.order, maxSamples), args...)
	if err != nil {
		return err
	}
	r.Samples, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

// one reads the single row of a statement.
func one(ctx context.Context, q Querier, into []any, sql string, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	_, err = pgx.ForEachRow(rows, into, func() error { return nil })
	return err
}
