package rowdiff

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A Choice says which of the compared rows are dealt with. The zero value: all
// of class restore and quarantine.
type Choice struct {
	// BringBack adds those of class missing.
	BringBack bool

	// Table and Where choose by hand, whatever the class: the rows of this
	// table (the live row; the backup's where that is deleted) for which the
	// SQL condition holds. Changed ones are restored whole, added ones
	// quarantined, deleted ones brought back.
	Table, Where string

	// CSV chooses the lines of a reviewed WriteCSV, by its class column:
	// restore (of a deleted row: bring it back), quarantine, keep; missing is
	// brought back only with BringBack. A line whose n, table, key, backup or
	// live is not as compared is an error, all of them at once, before
	// anything is changed.
	CSV io.Reader
}

// ApplyOptions are those of Apply.
type ApplyOptions struct {
	Host            host.Host
	Live            postgres.URL
	ApplicationName string
	Token           int64  // of the present operation
	Operation       string // its id
	Choice          Choice
	Batch           int                                  // rows in a transaction; 0: 1000
	Progress        func(done, total int64, text string) // rows; nil: not reported
	Between         func(ctx context.Context) error      // called in the first batch, its rows written and not committed
}

// Applied counts what has been done with the rows of the present comparison,
// by this call and earlier ones.
type Applied struct {
	Restored    int64    `json:"restored"`
	Quarantined int64    `json:"quarantined"`
	BroughtBack int64    `json:"brought_back"`
	Left        int64    `json:"left"`
	Samples     []string `json:"samples,omitempty"` // of the rows that were left, with the reason
}

// Apply restores, quarantines and brings back exactly the chosen rows, in one
// transaction under the fence for each batch: rows that go, children before
// parents; rows that come, parents before children. Each row is locked and held
// against what was compared: one that was changed meanwhile is left, and so is
// one that others refer to or whose parent is missing; the row's note says why.
// A row whose change would change other rows (ON DELETE CASCADE, a trigger) is
// left too. Sequences are not touched.
//
// It may be called again after a kill: rows that are done are passed over,
// those that were left are tried again.
func Apply(ctx context.Context, o ApplyOptions) (*Applied, error) {
	conn, err := open(ctx, o.Host, o.Live, o.ApplicationName, present)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, conn)
	a := &applier{ApplyOptions: o, conn: conn}
	result, err := a.run(ctx)
	return result, wrap("restoring the chosen rows", err)
}

// An applier deals with the chosen rows.
type applier struct {
	ApplyOptions
	conn    *pgx.Conn
	targets map[string]target
	order   []string // tables, parents before children
	begun   bool     // Between was called

	done, total int64
}

func (a *applier) run(ctx context.Context) (*Applied, error) {
	var err error
	if a.targets, err = targets(ctx, a.conn); err != nil {
		return nil, err
	}
	if a.order, err = parentsFirst(ctx, a.conn); err != nil {
		return nil, err
	}
	if err := provable(ctx, a.conn); err != nil {
		return nil, err
	}
	todo, err := a.choose(ctx)
	if err != nil {
		return nil, err
	}
	err = postgres.WithFence(ctx, a.conn, a.Token, func(pgx.Tx) error { return execAll(ctx, a.conn, quarantineSQL) })
	if err != nil {
		return nil, err
	}
	for g, rows := range todo {
		a.total += int64(len(rows))
		if !slices.Contains(a.order, g.table) { // no longer there: its rows are left, and say so
			a.order = append(a.order, g.table)
		}
	}
	// What had to be left because of another row may go once that is done.
	for left := int64(-1); ; {
		begin := a.done
		if todo, err = a.pass(ctx, todo); err != nil {
			return nil, err
		}
		n := int64(0)
		for _, rows := range todo {
			n += int64(len(rows))
		}
		if n == 0 || n == left || a.done == begin {
			break
		}
		left = n
	}
	return a.result(ctx)
}

// A group is rows of one table with which the same is done.
type group struct{ table, done string }

// pass deals with the rows in the order that foreign keys ask for, and gives
// back those that were left.
func (a *applier) pass(ctx context.Context, todo map[group][]int64) (map[group][]int64, error) {
	left := map[group][]int64{}
	for _, g := range a.groups(todo) {
		for batch := range slices.Chunk(todo[g], cmp.Or(a.Batch, 1000)) {
			not, err := a.batch(ctx, g, batch)
			if err != nil {
				return nil, fmt.Errorf("table %s: %w", g.table, err)
			}
			left[g] = append(left[g], not...)
			a.done += int64(len(batch) - len(not))
			report(a.Progress).say(a.done, a.total, g.done+": "+g.table)
		}
	}
	return left, nil
}

// groups is the order: what goes, children first; what comes, parents first;
// what is set back.
func (a *applier) groups(todo map[group][]int64) (order []group) {
	for _, table := range slices.Backward(a.order) {
		order = append(order, group{table, DoneQuarantined})
	}
	for _, done := range []string{DoneBroughtBack, DoneRestored} {
		for _, table := range a.order {
			order = append(order, group{table, done})
		}
	}
	return slices.DeleteFunc(order, func(g group) bool { return len(todo[g]) == 0 })
}

// result counts what was done since the comparison.
func (a *applier) result(ctx context.Context) (*Applied, error) {
	r := &Applied{}
	err := a.conn.QueryRow(ctx, `SELECT count(*) FILTER (WHERE done = 'restored'), count(*) FILTER (WHERE done = 'quarantined'),
		count(*) FILTER (WHERE done = 'brought back'), count(*) FILTER (WHERE done = 'left') FROM etf_ops.work_rows`).
		Scan(&r.Restored, &r.Quarantined, &r.BroughtBack, &r.Left)
	if err != nil {
		return nil, err
	}
	rows, _ := a.conn.Query(ctx, "SELECT format('%s %s: %s', tbl, key, note) FROM etf_ops.work_rows WHERE done = 'left' ORDER BY n LIMIT $1", maxSamples)
	r.Samples, err = pgx.AppendRows(r.Samples, rows, pgx.RowTo[string])
	return r, err
}
