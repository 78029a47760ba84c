package rowdiff

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// CarryOptions are those of Carry.
type CarryOptions struct {
	Host            host.Host
	Live            postgres.URL // compared with the backup before
	Side            string       // database on the same server, restored from that backup
	ApplicationName string
	Token           int64                                // of the present operation, in both databases
	Operation       string                               // its id
	SkipWrong       bool                                 // do not carry what was judged to be wrong: rows of class quarantine, the columns to restore of class restore
	Progress        func(done, total int64, text string) // rows; nil: not reported
}

// Carried counts what Carry wrote into the side database.
type Carried struct {
	Added     int64    `json:"added"`
	Changed   int64    `json:"changed"`
	Deleted   int64    `json:"deleted"`
	Skipped   int64    `json:"skipped"`           // judged to be wrong
	Left      int64    `json:"left"`              // could not be carried
	Samples   []string `json:"samples,omitempty"` // of the rows that were left, with the reason
	Sequences int64    `json:"sequences"`         // that were moved forward
}

// Carry writes the rows that differ into the side database, on the columns that
// it has, so that a restore keeps what was written since the backup: added and
// changed rows as they are in the live database, deleted ones go. All in one
// transaction under the side database's fence; to repeat it is harmless. Rows
// that a constraint does not admit are left, counted and noted in the live
// database's etf_ops.work_rows. Sequences of the side database then stand at
// least where those of the live one do.
func Carry(ctx context.Context, o CarryOptions) (*Carried, error) {
	return carrying(ctx, o, (*carrier).run)
}

// MoveSequences is Carry without the rows: those that stay in the live database
// keep their numbers to themselves, and can be carried over by hand later.
func MoveSequences(ctx context.Context, o CarryOptions) error {
	_, err := carrying(ctx, o, (*carrier).sequences)
	return err
}

func carrying(ctx context.Context, o CarryOptions, do func(*carrier, context.Context) error) (*Carried, error) {
	live, err := open(ctx, o.Host, o.Live, o.ApplicationName, present)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, live)
	side, err := open(ctx, o.Host, o.Live.WithDatabase(o.Side), o.ApplicationName, present)
	if err != nil {
		return nil, err
	}
	defer closeConn(ctx, side)
	var c *carrier
	err = postgres.WithFence(ctx, side, o.Token, func(tx pgx.Tx) error {
		c = &carrier{CarryOptions: o, live: live, side: side, tx: tx, notes: map[int64]string{}}
		return do(c, ctx)
	})
	if err == nil {
		err = c.note(ctx)
	}
	if err != nil {
		return nil, wrap("carrying rows over into "+o.Side, err)
	}
	return &c.Carried, nil
}

// A carrier writes into the side database.
type carrier struct {
	CarryOptions
	Carried
	live, side *pgx.Conn
	tx         pgx.Tx // of side
	targets    map[string]target
	order      []string
	notes      map[int64]string // why rows were left

	done, total int64
}

// carrySQL is the rows to carry as the side database gets them: set is the
// columns that are written of a row that both have. $1 cannot be used in COPY.
const carrySQL = `SELECT n, tbl, kind, key, live, CASE kind WHEN 'changed' THEN ARRAY(SELECT c FROM unnest(changed) c
	WHERE NOT (%[1]t AND class IS NOT DISTINCT FROM 'restore' AND c = ANY (coalesce(columns, changed)))) END
	FROM etf_ops.work_rows WHERE NOT (%[1]t AND class IS NOT DISTINCT FROM 'quarantine') ORDER BY n`

func (c *carrier) run(ctx context.Context) (err error) {
	if err := provable(ctx, c.side); err != nil {
		return err
	}
	if c.targets, err = c.meet(ctx); err != nil {
		return err
	}
	if c.order, err = parentsFirst(ctx, c.tx); err != nil {
		return err
	}
	if err := execAll(ctx, c.side, "CREATE TEMP TABLE rowdiff_carry (n bigint PRIMARY KEY, tbl text, kind text, key jsonb, live jsonb, set text[])"); err != nil {
		return err
	}
	p := startPump(ctx, c.side.PgConn())
	_, err = c.live.PgConn().CopyTo(ctx, p.into("COPY pg_temp.rowdiff_carry FROM STDIN (ENCODING 'UTF8')"), "COPY ("+fmt.Sprintf(carrySQL, c.SkipWrong)+") TO STDOUT (ENCODING 'UTF8')")
	if failure := p.close(); failure != nil {
		err = failure
	}
	if err != nil {
		return err
	}
	if err := execAll(ctx, c.side, "ANALYZE pg_temp.rowdiff_carry"); err != nil {
		return err
	}
	todo, err := c.todo(ctx)
	if err != nil {
		return err
	}
	// What could not be written because of another row may be after it.
	for left := int64(-1); c.total-c.done != left && c.total > c.done; {
		left = c.total - c.done
		if todo, err = c.pass(ctx, todo); err != nil {
			return err
		}
	}
	return c.sequences(ctx)
}

// meet is the compared tables as they are in the side database.
func (c *carrier) meet(ctx context.Context) (map[string]target, error) {
	compared, err := targets(ctx, c.live)
	if err != nil {
		return nil, err
	}
	there, err := tables(ctx, c.tx)
	if err != nil {
		return nil, err
	}
	list := map[string]target{}
	for name, was := range compared {
		own, ok := find(there, name)
		t := target{table: own}
		if !ok {
			t.gone = "the backup has no such table"
		}
		t.shared = own.only(append(columnNames(was.shared), was.dropped...))
		for _, k := range was.key {
			if at := slices.IndexFunc(t.shared, func(c column) bool { return c.name == k.name }); at >= 0 {
				t.key = append(t.key, t.shared[at])
			} else if ok {
				t.gone = fmt.Sprintf("the backup has no column %s, which is of the key", k.name)
			}
		}
		if len(t.key) == 0 && t.gone == "" {
			t.gone = "its key is no longer known"
		}
		list[name] = t
	}
	return list, nil
}

// todo groups the rows by table and kind, and by the columns to write.
func (c *carrier) todo(ctx context.Context) (map[carryGroup][]int64, error) {
	if err := c.live.QueryRow(ctx, "SELECT count(*) FROM etf_ops.work_rows").Scan(&c.Skipped); err != nil {
		return nil, err
	}
	rows, err := c.tx.Query(ctx, "SELECT n, tbl, kind, coalesce(array_to_json(set)::text, '') FROM pg_temp.rowdiff_carry ORDER BY n")
	if err != nil {
		return nil, err
	}
	todo := map[carryGroup][]int64{}
	var n int64
	var g carryGroup
	_, err = pgx.ForEachRow(rows, []any{&n, &g.table, &g.kind, &g.set}, func() error {
		if g.set != "[]" {
			c.total++
			todo[g] = append(todo[g], n)
		}
		return nil
	})
	c.Skipped -= c.total
	return todo, err
}

// A carryGroup is rows of one table that are written alike.
type carryGroup struct {
	table, kind string
	set         string // JSON array of columns; of changed rows
}

// groups is the order: what comes, parents first; what changed; what goes,
// children first, and after the children that have changed to another parent.
func (c *carrier) groups(todo map[carryGroup][]int64) []carryGroup {
	var list []carryGroup
	rank := map[carryGroup]int{}
	for g := range todo {
		list = append(list, g)
		at := slices.Index(c.order, g.table)
		if g.kind == Deleted {
			at = -at
		}
		rank[g] = at
	}
	slices.SortFunc(list, func(a, b carryGroup) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(rank[a], rank[b]), cmp.Compare(a.table, b.table), cmp.Compare(a.set, b.set))
	})
	return list
}

func (c *carrier) pass(ctx context.Context, todo map[carryGroup][]int64) (map[carryGroup][]int64, error) {
	left := map[carryGroup][]int64{}
	for _, g := range c.groups(todo) {
		for ns := range slices.Chunk(todo[g], 10_000) {
			not, err := c.batch(ctx, g, ns)
			if err != nil {
				return nil, fmt.Errorf("table %s: %w", g.table, err)
			}
			if len(not) > 0 {
				left[g] = append(left[g], not...)
			}
			c.done += int64(len(ns) - len(not))
			report(c.Progress).say(c.done, c.total, "carried over: "+g.table)
		}
	}
	return left, nil
}
