package rowdiff

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// lockWait is how long a batch waits for a row that somebody else has locked.
const lockWait = "2s"

// batch deals with some rows in one transaction and returns those that were
// left. Rows that the server will not have are found by halving: no savepoints,
// for each would write rows under a transaction id of its own.
func (a *applier) batch(ctx context.Context, g group, ns []int64) (left []int64, err error) {
	left, err = a.try(ctx, g, ns, false)
	if c := code(err); c == codeDeadlock || c == codeLockUnavailable {
		left, err = a.try(ctx, g, ns, true)
	}
	var unfit *unfitError
	if err == nil || !ofValues(err) && !errors.As(err, &unfit) {
		return left, err
	}
	if len(ns) == 1 {
		why := message(err)
		if code(err) == codeLockUnavailable {
			why = "another transaction holds it"
		}
		return ns, postgres.WithFence(ctx, a.conn, a.Token, func(tx pgx.Tx) error { return leave(ctx, tx, ns, []string{why}) })
	}
	for _, half := range [][]int64{ns[:len(ns)/2], ns[len(ns)/2:]} {
		not, err := a.batch(ctx, g, half)
		if err != nil {
			return nil, err
		}
		left = append(left, not...)
	}
	return left, nil
}

// try deals with the rows in one transaction. The second time, rows that
// somebody else has locked are not waited for.
func (a *applier) try(ctx context.Context, g group, ns []int64, again bool) (left []int64, err error) {
	t := a.targets[g.table]
	err = postgres.WithFence(ctx, a.conn, a.Token, func(tx pgx.Tx) error {
		if t.gone != "" {
			left = ns
			return leave(ctx, tx, ns, slices.Repeat([]string{t.gone}, len(ns)))
		}
		if _, err := tx.Exec(ctx, "SET LOCAL lock_timeout = '"+lockWait+"'"); err != nil {
			return err
		}
		before, err := touched(ctx, tx)
		if err != nil {
			return err
		}
		b := &batch{applier: a, tx: tx, t: t, g: g}
		if err := b.judge(ctx, ns, again); err != nil {
			return err
		}
		left = b.left
		if err := leave(ctx, tx, b.left, b.notes); err != nil {
			return err
		}
		if err := b.act(ctx); err != nil {
			return err
		}
		if err := b.only(ctx, before); err != nil {
			return err
		}
		if !a.begun && a.Between != nil {
			a.begun = true
			return a.Between(ctx)
		}
		return nil
	})
	return left, err
}

// leave notes why rows were left.
func leave(ctx context.Context, tx pgx.Tx, ns []int64, notes []string) error {
	if len(ns) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, "UPDATE etf_ops.work_rows w SET done = 'left', note = v.note FROM unnest($1::bigint[], $2::text[]) v (n, note) WHERE w.n = v.n", ns, notes)
	return err
}

// A batch is one transaction.
type batch struct {
	*applier
	tx pgx.Tx
	t  target
	g  group

	ready   []int64            // rows that are as compared
	columns map[string][]int64 // of these, by the columns to set back
	left    []int64
	notes   []string // why
}

// judge locks the rows and looks whether they are as compared.
func (b *batch) judge(ctx context.Context, ns []int64, again bool) error {
	locked, err := b.lock(ctx, ns, again)
	if err != nil {
		return err
	}
	// The lock may have been waited for: only a new statement sees what is there now.
	there := "t." + quote(b.t.key[0].name) + " IS NOT NULL"
	columns := "w.changed"
	if !b.byHand() {
		columns = "CASE WHEN w.class = 'restore' THEN coalesce(w.columns, w.changed) ELSE w.changed END"
	}
	rows, err := b.tx.Query(ctx, "SELECT w.n, "+there+", "+document("t.", b.t.shared)+" IS NOT DISTINCT FROM "+b.t.was("w.live")+", "+columns+" FROM "+b.t.workFrom()+
		" LEFT JOIN "+b.t.ident()+" t ON "+b.t.workKey()+" WHERE w.n = ANY ($1) ORDER BY w.n", ns)
	if err != nil {
		return err
	}
	b.columns = map[string][]int64{}
	shared := columnNames(b.t.shared)
	var n int64
	var isThere, isSame bool
	var set []string
	_, err = pgx.ForEachRow(rows, []any{&n, &isThere, &isSame, &set}, func() error {
		set := slices.DeleteFunc(slices.Sorted(slices.Values(set)), func(name string) bool { return !slices.Contains(shared, name) })
		why := ""
		switch {
		case b.g.done == DoneBroughtBack && isThere:
			why = "it is there again"
		case b.g.done == DoneBroughtBack:
		case !isThere:
			why = "it was deleted meanwhile"
		case !isSame:
			why = "it was changed meanwhile"
		case !locked[n]:
			why = "another transaction holds it"
		case b.g.done == DoneRestored && len(set) == 0:
			why = "the columns to restore are no longer there"
		}
		if why != "" {
			b.left, b.notes = append(b.left, n), append(b.notes, why)
			return nil
		}
		b.ready = append(b.ready, n)
		if b.g.done == DoneRestored {
			id := strings.Join(slices.Compact(set), "\x00")
			b.columns[id] = append(b.columns[id], n)
		}
		return nil
	})
	return err
}

// lock keeps others from changing the rows, and says which it could lock. Those
// to bring back are not there to be locked.
func (b *batch) lock(ctx context.Context, ns []int64, skip bool) (map[int64]bool, error) {
	strength := map[string]string{DoneQuarantined: "UPDATE", DoneRestored: "NO KEY UPDATE"}[b.g.done]
	if strength == "" {
		return nil, nil
	}
	sql := "SELECT w.n FROM " + b.t.workFrom() + " JOIN " + b.t.ident() + " t ON " + b.t.workKey() + " WHERE w.n = ANY ($1) ORDER BY w.n FOR " + strength + " OF t"
	if skip {
		sql += " SKIP LOCKED"
	}
	rows, err := b.tx.Query(ctx, sql, ns)
	if err != nil {
		return nil, err
	}
	locked := map[int64]bool{}
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&n}, func() error { locked[n] = true; return nil })
	return locked, err
}

// act changes the rows and notes it in the same transaction.
func (b *batch) act(ctx context.Context) (err error) {
	if len(b.ready) == 0 {
		return nil
	}
	switch b.g.done {
	case DoneRestored:
		err = b.restore(ctx)
	case DoneQuarantined:
		err = b.quarantine(ctx)
	case DoneBroughtBack:
		err = b.bringBack(ctx)
	}
	if err != nil {
		return err
	}
	if _, err := b.tx.Exec(ctx, "UPDATE etf_ops.work_rows SET done = $2, note = NULL WHERE n = ANY ($1)", b.ready, b.g.done); err != nil {
		return err
	}
	_, err = b.tx.Exec(ctx, "INSERT INTO etf_ops.work_batches SELECT pg_current_xact_id(), $1, $2, $3, $4", b.Operation, b.g.table, b.g.done, b.ready)
	return err
}
