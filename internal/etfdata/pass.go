package etfdata

import (
	"context"
	"fmt"
	"strings"
	"time"

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

// list is the statement that shows the rows of v for which where holds.
func (v view) list(where string) string {
	return fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s", v.row, v.from, where, v.order)
}

// A pass counts for all rules of a view at once.
type pass struct {
	view    view
	wheres  []string
	results []*Result
}

func (p *pass) run(ctx context.Context, connect Connect) {
	start := time.Now()
	err := p.count(ctx, connect)
	for _, r := range p.results {
		r.Took = time.Since(start)
		if err != nil {
			r.Err = fmt.Errorf("looking at %s: %w", p.view.looks, err)
		}
	}
}

func (p *pass) count(ctx context.Context, connect Connect) error {
	q, release, err := connect(ctx)
	if err != nil {
		return err
	}
	defer release()
	var sql strings.Builder
	sql.WriteString("SELECT count(*)")
	for _, where := range p.wheres {
		fmt.Fprintf(&sql, ", count(*) FILTER (WHERE %s)", where)
	}
	sql.WriteString(" FROM " + p.view.from)
	rows, err := q.Query(ctx, sql.String())
	if err != nil {
		return err
	}
	var looked int64
	into := []any{&looked}
	for _, r := range p.results {
		into = append(into, &r.Violations)
	}
	if _, err := pgx.ForEachRow(rows, into, func() error { return nil }); err != nil {
		return err
	}
	for i, r := range p.results {
		r.Looked = looked
		if r.Violations > 0 {
			if r.Samples, err = p.samples(ctx, q, p.wheres[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *pass) samples(ctx context.Context, q Querier, where string) ([]string, error) {
	rows, err := q.Query(ctx, fmt.Sprintf("SELECT %s FROM %s WHERE %s ORDER BY %s LIMIT %d",
		p.view.key, p.view.from, where, p.view.order, maxSamples))
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}
