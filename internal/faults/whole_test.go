package faults

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// whole fails the cell unless the service runs whole on this commit, nothing
// of any operation is left, and every acknowledged row is there.
func (r *rig) whole(t *testing.T, commit string) {
	t.Helper()
	r.nothingRuns(t)
	acked := r.writer.rows()
	st := r.Status(t)
	if o := st.Operation; o == nil || slices.Contains([]string{"running", "interrupted", "stuck"}, o.Outcome) {
		t.Errorf("an operation is not finished: %+v, next: %s", o, st.Next)
	}
	if st.Live == nil || st.Live.Commit != commit {
		t.Errorf("live is %+v, want commit %s", st.Live, commit)
	}
	if st.Paused != "" {
		t.Errorf("updates are paused: %s", st.Paused)
	}
	r.Serves(t)
	r.noPauseFlag(t)
	r.leaseFree(t)
	if left, _ := filepath.Glob(filepath.Join(r.Env["ETF_ROOT"], "backups", ".partial-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	r.databaseWhole(t, acked)
	if err := r.dropKept(t.Context()); err != nil {
		t.Error(err)
	}
}

// nothingRuns waits until the last process of the program is gone, and wants
// none of its children then.
func (r *rig) nothingRuns(t *testing.T) {
	t.Helper()
	r.Await(t, 20*time.Second, "the program's processes to end", func() bool { return len(r.programs()) == 0 })
	for _, p := range r.children() {
		t.Errorf("left behind: process %d: %s", p.pid, p.command)
	}
}

func (r *rig) noPauseFlag(t *testing.T) {
	t.Helper()
	o, err := redis.ParseURL(r.Env["ETF_REDIS_URL"])
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(o)
	defer client.Close()
	if n, err := client.Exists(t.Context(), "etf_updates_paused").Result(); err != nil || n != 0 {
		t.Errorf("the pause flag is there %d times (%v)", n, err)
	}
}

// leaseFree wants a lease that anybody may take.
func (r *rig) leaseFree(t *testing.T) {
	t.Helper()
	if state := r.leaseState(t); state == "held" || state == "parked" {
		t.Errorf("the lease is %s", state)
	}
}

func (r *rig) leaseState(t testing.TB) string {
	t.Helper()
	var shown struct{ Lease struct{ State string } }
	if err := json.Unmarshal([]byte(r.Mage(t, 0, "lease:show", "-json").Stdout), &shown); err != nil {
		t.Fatal(err)
	}
	if shown.Lease.State == "" {
		t.Error("lease:show tells no state")
	}
	return shown.Lease.State
}

// databaseWhole looks for sessions and databases that an operation left, and
// for every acknowledged row, in the live database or in one that was kept.
func (r *rig) databaseWhole(t *testing.T, acked map[string]time.Time) {
	t.Helper()
	conn := r.connect(t.Context(), t, "")
	defer conn.Close(context.Background())
	for _, name := range texts(t, conn, `select application_name || ': ' || coalesce(query, '') from pg_stat_activity where application_name like 'etf-deploy/%'`) {
		t.Errorf("a session is left behind: %s", name)
	}
	for _, name := range texts(t, conn, `select datname from pg_database where datname like 'goldfinch\_side\_%'`) {
		t.Errorf("a side database is left behind: %s", name)
	}
	for _, row := range rowsIn(t, conn) {
		delete(acked, row)
	}
	if len(acked) == 0 {
		return
	}
	for _, name := range r.kept(t, conn) {
		there := r.rowsOf(t, name)
		found := 0
		for _, row := range there {
			if _, missing := acked[row]; missing {
				delete(acked, row)
				found++
			}
		}
		t.Logf("%d acknowledged rows are in %s, and not in the live database", found, name)
		r.writer.accounted(there)
	}
	for row, at := range acked {
		t.Errorf("lost: %s, acknowledged at %s", row, at.UTC().Format("15:04:05.000"))
	}
}

// kept lists the databases that a restore replaced and that were kept.
func (r *rig) kept(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	return texts(t, conn, `select datname from pg_database where shobj_description(oid, 'pg_database') like 'etf-deploy kept database: %'`)
}

func (r *rig) rowsOf(t testing.TB, database string) []string {
	t.Helper()
	conn := r.connect(context.Background(), t, database)
	defer conn.Close(context.Background())
	return rowsIn(t, conn)
}

// rowsIn names the writer's rows in one database.
func rowsIn(t testing.TB, conn *pgx.Conn) []string {
	t.Helper()
	return texts(t, conn, `select error_type from etf_errors where error_type like 'row %'
		union all select notes from etf_updates where notes like 'update %'`)
}

// texts runs a query for one column.
func texts(t testing.TB, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(context.Background(), query)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// connect opens a session of the owner, in another database where one is named.
func (r *rig) connect(ctx context.Context, t testing.TB, database string) *pgx.Conn {
	t.Helper()
	conn, err := open(ctx, r.Stack, database)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

func open(ctx context.Context, s *stack.Stack, database string) (*pgx.Conn, error) {
	c, err := pgx.ParseConfig(s.Env["ETF_DATABASE_URL"])
	if err != nil {
		return nil, err
	}
	if database != "" {
		c.Database = database
	}
	return pgx.ConnectConfig(ctx, c)
}

// dropKept drops the databases that restores have kept: what was in them is
// accounted for.
func (r *rig) dropKept(ctx context.Context) error {
	conn, err := open(ctx, r.Stack, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, `select datname from pg_database where datname ~ '^goldfinch_(kept|left)_'`)
	if err != nil {
		return err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for _, name := range names {
		if _, err := conn.Exec(ctx, "drop database "+pgx.Identifier{name}.Sanitize()+" with (force)"); err != nil {
			return fmt.Errorf("dropping %s: %w", name, err)
		}
	}
	return nil
}
