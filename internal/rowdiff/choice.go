package rowdiff

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// doneFor is what is done with rows of a kind.
var doneFor = map[string]string{Changed: DoneRestored, Added: DoneQuarantined, Deleted: DoneBroughtBack}

func (a *applier) byHand() bool { return a.Choice.Table != "" }

// choose finds the rows, in order, without those that are done.
func (a *applier) choose(ctx context.Context) (map[group][]int64, error) {
	c := a.Choice
	switch {
	case c.CSV != nil && (c.Table != "" || c.Where != ""):
		return nil, fmt.Errorf("%w: either by a reviewed file or by a condition, not by both", ErrChoice)
	case (c.Table == "") != (c.Where == ""):
		return nil, fmt.Errorf(`%w: name the table and give a condition; "true" is all rows of the table that differ`, ErrChoice)
	case c.CSV != nil:
		return a.chooseReviewed(ctx)
	case c.Table != "":
		return a.chooseWhere(ctx)
	}
	return a.chosen(ctx, a.conn, `FROM etf_ops.work_rows w WHERE (class = 'restore' AND kind = 'changed' OR class = 'quarantine' AND kind = 'added' OR $1 AND class = 'missing' AND kind = 'deleted')`, c.BringBack)
}

// chosen collects the rows of a query over etf_ops.work_rows w.
func (a *applier) chosen(ctx context.Context, q querier, from string, args ...any) (map[group][]int64, error) {
	rows, err := q.Query(ctx, "SELECT w.n, w.tbl, w.kind "+from+" AND (w.done IS NULL OR w.done = 'left') ORDER BY w.n", args...)
	if err != nil {
		return nil, err
	}
	todo := map[group][]int64{}
	var n int64
	var table, kind string
	_, err = pgx.ForEachRow(rows, []any{&n, &table, &kind}, func() error {
		g := group{table, doneFor[kind]}
		todo[g] = append(todo[g], n)
		return nil
	})
	return todo, err
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// chooseWhere evaluates a person's condition, in a transaction that cannot
// write. The condition sees the table's columns and nothing of ours: a name
// that is not one of them is an error.
func (a *applier) chooseWhere(ctx context.Context) (todo map[group][]int64, err error) {
	t, ok := a.targets[a.Choice.Table]
	switch {
	case !ok:
		return nil, fmt.Errorf("%w: table %s was not compared: name it with its schema, such as public.etf_prices", ErrChoice, a.Choice.Table)
	case t.gone != "":
		return nil, fmt.Errorf("table %s: %s", a.Choice.Table, t.gone)
	case len(t.key) == 0:
		return nil, fmt.Errorf("table %s has no key by which rows could be chosen", a.Choice.Table)
	}
	was := each(t.columns, ", ", func(c column) string {
		for _, s := range t.shared {
			if s.name == c.name {
				return value("b.", c) + " AS " + quote(c.name)
			}
		}
		return "NULL::" + c.typ + " AS " + quote(c.name)
	})
	hit := func(rows string) string {
		return "SELECT " + document(quote(t.base)+".", t.key) + " AS key FROM (SELECT " + rows + ") AS " + quote(t.base) + " WHERE (" + a.Choice.Where + "\n)"
	}
	live := hit("t.* FROM " + t.workFrom() + " JOIN " + t.ident() + " t ON " + t.workKey() + " WHERE w.tbl = $1 AND w.kind <> 'deleted'")
	gone := hit(was + " FROM etf_ops.work_rows w CROSS JOIN LATERAL " + record("w.backup", "b", t.shared) + " WHERE w.tbl = $1 AND w.kind = 'deleted'")
	err = pgx.BeginTxFunc(ctx, a.conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		todo, err = a.chosen(ctx, tx, "FROM etf_ops.work_rows w JOIN ("+live+" UNION ALL "+gone+") hit USING (key) WHERE w.tbl = $1", t.name)
		return err
	})
	return todo, wrap("choosing rows of "+t.name+" where "+a.Choice.Where, err)
}
