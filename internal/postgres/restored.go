package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// finishSide analyses the restored database, at the same time checks that it
// is what the manifest says, and gives it the fence of the present operation.
func finishSide(ctx context.Context, h host.Host, o RestoreOptions, side URL) error {
	conn, err := Connect(ctx, h, side, o.ApplicationName)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		conn, err := Connect(gctx, h, side, o.ApplicationName)
		if err != nil {
			return err
		}
		defer closeConn(ctx, conn)
		_, err = conn.PgConn().Exec(gctx, "SET statement_timeout = 0; ANALYZE").ReadAll()
		return wrap("analysing", err)
	})
	group.Go(func() error { return checkRestored(gctx, h, o, conn) })
	if err := group.Wait(); err != nil {
		return err
	}
	if err := EnsureOps(ctx, conn); err != nil {
		return err
	}
	return TakeFence(ctx, conn, o.Token, o.Operation)
}

// checkRestored holds the restored database against the manifest.
func checkRestored(ctx context.Context, h host.Host, o RestoreOptions, conn *pgx.Conn) error {
	mismatch := func(what string, detail ...string) error {
		return &MismatchError{File: o.File, What: what, Detail: detail}
	}
	if _, err := conn.Exec(ctx, "SET statement_timeout = 0"); err != nil {
		return err
	}
	heads, err := Heads(ctx, conn)
	if err != nil {
		return err
	}
	if !slices.Equal(heads, o.Info.AlembicHeads) {
		return mismatch("contents", fmt.Sprintf("alembic heads %v, not %v", heads, o.Info.AlembicHeads))
	}
	lines, err := Schema(ctx, conn)
	if err != nil {
		return err
	}
	lines = dumped(lines)
	if got := fingerprintOf(lines); o.Info.Schema != "" && got != o.Info.Schema {
		return mismatch("schema", schemaDifference(ctx, h, o, lines, got)...)
	}
	rows, _ := conn.Query(ctx, tablesSQL)
	var discard int64
	tables, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		return t, row.Scan(&t.schema, &t.name, &discard)
	})
	if err != nil {
		return err
	}
	counts, err := countRows(ctx, []*pgx.Conn{conn}, tables)
	if err != nil {
		return err
	}
	if diff := DiffRows(o.Info.Rows, counts); len(diff) > 0 {
		return mismatch("rows", diff...)
	}
	return nil
}

// maxDifferences is how many differing lines an error names.
const maxDifferences = 10

// schemaDifference names the objects in which the restored schema is not that
// of the dump. The manifest has only the fingerprint of that: where the live
// database still has the same schema, its lines are known.
func schemaDifference(ctx context.Context, h host.Host, o RestoreOptions, got []string, print string) []string {
	unknown := fmt.Sprintf("fingerprint %.12s, not %.12s; which objects differ cannot be said, the live database has another schema too", print, o.Info.Schema)
	conn, err := Connect(ctx, h, o.URL, o.ApplicationName)
	if err != nil {
		return []string{unknown + " or cannot be asked: " + err.Error()}
	}
	defer closeConn(ctx, conn)
	want, err := Schema(ctx, conn)
	if want = dumped(want); err != nil || fingerprintOf(want) != o.Info.Schema {
		return []string{unknown}
	}
	diff := DiffSchema(want, got)
	if more := len(diff) - maxDifferences; more > 0 {
		diff = append(diff[:maxDifferences], fmt.Sprintf("and %d more", more))
	}
	return diff
}
