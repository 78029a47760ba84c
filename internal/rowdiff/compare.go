package rowdiff

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// Compare stores every row that differs in etf_ops.work_rows of the live
// database, replacing an earlier comparison, in one transaction under the
// fence: a killed one leaves the earlier comparison as it was. No reader or
// writer of the service waits for it.
func Compare(ctx context.Context, o Options) (*Diff, error) {
	diff, err := compare(ctx, o, func(conn *pgx.Conn, run func(tx pgx.Tx) (*comparison, error)) error {
		if err := postgres.EnsureOps(ctx, conn); err != nil {
			return err
		}
		stored := func() error {
			return postgres.WithFence(ctx, conn, o.Token, func(tx pgx.Tx) error {
				c, err := run(tx)
				if err != nil {
					return err
				}
				return c.store(ctx)
			})
		}
		err := stored()
		if code(err) == codeSerialization { // the fence was moved as we began: now it says by whom
			err = stored()
		}
		return err
	})
	return diff, wrap("comparing the live database with backup "+o.Backup.ID, err)
}

// Count counts what Compare would store, in temporary tables, and changes
// nothing; it needs no token.
func Count(ctx context.Context, o Options) (*Diff, error) {
	diff, err := compare(ctx, o, func(conn *pgx.Conn, run func(tx pgx.Tx) (*comparison, error)) error {
		tx, err := conn.Begin(ctx)
		if err != nil {
			return err
		}
		defer tx.Rollback(context.WithoutCancel(ctx))
		_, err = run(tx)
		return err
	})
	return diff, wrap("counting what differs from backup "+o.Backup.ID, err)
}

// compare opens both sides; within gives the transaction.
func compare(ctx context.Context, o Options, within func(conn *pgx.Conn, run func(tx pgx.Tx) (*comparison, error)) error) (diff *Diff, err error) {
	start := time.Now()
	conn, err := open(ctx, o.Host, o.Live, o.ApplicationName, oneMoment)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	src, err := newSource(ctx, o)
	if err != nil {
		return nil, err
	}
	defer src.close(ctx)
	err = within(conn, func(tx pgx.Tx) (*comparison, error) {
		c := &comparison{Options: o, conn: conn, tx: tx, src: src, diff: Diff{Backup: o.Backup.ID}, columns: map[string][]string{}, keys: map[string][]string{}}
		diff = &c.diff
		return c, c.run(ctx)
	})
	if err != nil {
		return nil, err
	}
	diff.Took = time.Since(start)
	return diff, nil
}

// A comparison sees the live database at one moment.
type comparison struct {
	Options
	conn  *pgx.Conn
	tx    pgx.Tx // of conn
	src   source
	since since
	diff  Diff

	columns map[string][]string // of each table, that were compared
	keys    map[string][]string // of each table, the columns of the key

	n           int64 // rows that differ, so far
	done, total int64 // rows of the backup
}

// rowsSQL is the table that becomes etf_ops.work_rows.
const rowsSQL = `DROP TABLE IF EXISTS ` + rowsTable + `; CREATE TEMP TABLE rowdiff_rows
	(n bigint, tbl text, key jsonb, kind text, backup jsonb, live jsonb, xid bigint, changed text[])`

func (c *comparison) run(ctx context.Context) error {
	live, err := tables(ctx, c.tx)
	if err != nil {
		return err
	}
	list, err := chosen(live, c.Tables)
	if err != nil {
		return err
	}
	if c.since, err = c.guard(ctx); err != nil {
		return err
	}
	for _, t := range list {
		c.total += c.Backup.Info.Rows[t.name]
	}
	if err := execAll(ctx, c.conn, rowsSQL); err != nil {
		return err
	}
	for _, t := range list {
		c.say(t, 0, "comparing")
		d, err := c.table(ctx, t)
		if err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
		c.diff.Tables = append(c.diff.Tables, d)
		c.n += d.Added + d.Changed + d.Deleted
		c.done += c.Backup.Info.Rows[t.name]
		c.say(t, 0, "compared")
	}
	if len(c.Tables) == 0 {
		c.dropped(live)
	}
	return nil
}

func (c *comparison) say(t table, rows int64, what string) {
	report(c.Progress).say(c.done+min(rows, c.Backup.Info.Rows[t.name]), c.total, what+" "+t.name)
}

// dropped adds the tables that only the backup has.
func (c *comparison) dropped(live []table) {
	for _, name := range slices.Sorted(maps.Keys(c.Backup.Info.Rows)) {
		rows := c.Backup.Info.Rows[name]
		if _, ok := find(live, name); !ok && strings.HasPrefix(name, "public.") && name != "public.alembic_version" {
			c.diff.Tables = append(c.diff.Tables, TableDiff{Table: name, BackupRows: rows, Deleted: rows,
				How: "the live database has no such table: its rows are only counted"})
		}
	}
}

// errNoBackupKey: the rows of the two cannot be told apart by the same columns.
var errNoBackupKey = errors.New("the backup has not all columns of the key")

// table compares one table. Where the quick way meets something unexpected
// there is a slower one.
func (c *comparison) table(ctx context.Context, t table) (TableDiff, error) {
	why, asText := c.since.why, false
	for {
		a := &attempt{comparison: c, t: t, why: why, asText: asText, d: TableDiff{Table: t.name}}
		sub, err := c.tx.Begin(ctx)
		if err != nil {
			return a.d, err
		}
		if err = a.run(ctx); err == nil {
			c.keys[t.name], c.columns[t.name] = t.key, columnNames(a.shared)
			return a.d, sub.Commit(ctx)
		}
		if undo := sub.Rollback(ctx); undo != nil {
			return a.d, errors.Join(err, undo)
		}
		switch {
		case errors.Is(err, errNoBackupKey):
			return c.countOnly(ctx, a.d, errNoBackupKey.Error()+": only counted")
		case errors.Is(err, errManyCandidates) && why == "":
			why = "most were written since"
		case errors.Is(err, errCounts) && why == "":
			why = "the counts of those written since do not add up"
		case ofValues(err) && !asText:
			asText = true // a column may have changed its type
		default:
			return a.d, err
		}
	}
}

// countOnly is all that can be done with a table whose rows have no names.
func (c *comparison) countOnly(ctx context.Context, d TableDiff, how string) (TableDiff, error) {
	d = TableDiff{Table: d.Table, BackupRows: d.BackupRows, How: how}
	c.diff.NoKey = append(c.diff.NoKey, d.Table)
	schema, base, _ := strings.Cut(d.Table, ".")
	return d, c.tx.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{schema, base}.Sanitize()).Scan(&d.Rows)
}
