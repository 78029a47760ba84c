package rowdiff

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A target is a table as it was compared and as it is now: migrations may have
// run in between.
type target struct {
	table
	shared  []column // that were compared and are still there
	dropped []string // that were compared and are no more
	key     []column
	rows    int64  // when it was compared
	gone    string // why its rows cannot be found any more; empty: they can
}

// targets reads the tables of the comparison. Gives ErrNoComparison.
func targets(ctx context.Context, q postgres.Querier) (map[string]target, error) {
	if err := compared(ctx, q); err != nil {
		return nil, err
	}
	rows, _ := q.Query(ctx, "SELECT tbl, rows, coalesce(key, '{}'), columns FROM etf_ops.work_tables")
	type was struct {
		name         string
		rows         int64
		key, columns []string
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (w was, err error) {
		return w, row.Scan(&w.name, &w.rows, &w.key, &w.columns)
	})
	if err != nil {
		return nil, err
	}
	now, err := tables(ctx, q)
	if err != nil {
		return nil, err
	}
	list := map[string]target{}
	for _, w := range all {
		t := target{rows: w.rows}
		own, ok := find(now, w.name)
		if t.table = own; !ok {
			t.gone = "the table is no longer there"
		}
		t.shared = own.only(w.columns)
		for _, name := range w.columns {
			if !slices.ContainsFunc(t.shared, func(c column) bool { return c.name == name }) {
				t.dropped = append(t.dropped, name)
			}
		}
		for _, name := range w.key {
			if at := slices.IndexFunc(t.shared, func(c column) bool { return c.name == name }); at >= 0 {
				t.key = append(t.key, t.shared[at])
			} else if ok {
				t.gone = fmt.Sprintf("the column %s of its key is no longer there", name)
			}
		}
		list[w.name] = t
	}
	return list, nil
}

// compared gives ErrNoComparison where there is none.
func compared(ctx context.Context, q postgres.Querier) error {
	var there bool
	err := q.QueryRow(ctx, "SELECT to_regclass('etf_ops.work_comparison') IS NOT NULL").Scan(&there)
	if err == nil && there {
		err = q.QueryRow(ctx, "SELECT EXISTS (SELECT FROM etf_ops.work_comparison)").Scan(&there)
	}
	if err == nil && !there {
		err = ErrNoComparison
	}
	return err
}

// isKey reports whether a column is part of the key by which rows were compared.
func (t target) isKey(name string) bool {
	return slices.ContainsFunc(t.key, func(k column) bool { return k.name == name })
}

// workFrom is the FROM items of compared rows, w, with their keys, k.
func (t target) workFrom() string {
	return "etf_ops.work_rows w CROSS JOIN LATERAL " + record("w.key", "k", t.key)
}

// workKey is the condition that a row of the table, t, is that of w.
func (t target) workKey() string { return sameKey("t.", "k.", t.key) }

// was is the expression for a compared document without the columns that are
// no more.
func (t target) was(doc string) string {
	if len(t.dropped) == 0 {
		return doc
	}
	return "(" + doc + " - " + namesArray(columnsNamed(t.dropped)) + ")"
}

func columnsNamed(names []string) (list []column) {
	for _, name := range names {
		list = append(list, column{name: name})
	}
	return list
}

const foreignKeysSQL = `SELECT DISTINCT c.relname::text, p.relname::text FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class p ON p.oid = f.confrelid
	WHERE f.contype = 'f' AND c.relnamespace = 'public'::regnamespace AND p.relnamespace = 'public'::regnamespace AND c.oid <> p.oid ORDER BY 1, 2`

// parentsFirst lists the tables so that each comes after those that it refers
// to. Tables that refer to each other in a circle stand in any order.
func parentsFirst(ctx context.Context, q postgres.Querier) ([]string, error) {
	list, err := tables(ctx, q)
	if err != nil {
		return nil, err
	}
	parents := map[string][]string{}
	rows, _ := q.Query(ctx, foreignKeysSQL)
	var child, parent string
	_, err = pgx.ForEachRow(rows, []any{&child, &parent}, func() error {
		parents["public."+child] = append(parents["public."+child], "public."+parent)
		return nil
	})
	if err != nil {
		return nil, wrap("reading the foreign keys", err)
	}
	var order []string
	seen := map[string]bool{}
	var add func(name string)
	add = func(name string) {
		if seen[name] {
			return
		}
		seen[name] = true
		for _, p := range parents[name] {
			add(p)
		}
		order = append(order, name)
	}
	for _, t := range list {
		add(t.name)
	}
	return order, nil
}
