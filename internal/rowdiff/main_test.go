package rowdiff

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var server *testserver.Postgres

const ownerPassword = "owner-s3cret-5"

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) (err error) {
		if server, err = testserver.StartPostgres(dir); err != nil {
			return err
		}
		conn, err := pgx.Connect(context.Background(), server.URL("postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.PgConn().Exec(context.Background(), "CREATE ROLE etf_owner LOGIN CREATEDB PASSWORD '"+ownerPassword+"' IN ROLE pg_signal_backend").ReadAll()
		return err
	}))
}

// owner is the address of a database for its owning role, no superuser.
func owner(database string) postgres.URL {
	u, err := postgres.ParseURL(server.UserURL("etf_owner", ownerPassword, database))
	if err != nil {
		panic(err)
	}
	return u
}

// A world is a live database with a backup.
type world struct {
	*testing.T
	live   postgres.URL
	conn   *pgx.Conn // of the service
	backup Backup
}

var numbers struct {
	sync.Mutex
	n int
}

// newWorld makes a live database with these tables and rows.
func newWorld(t *testing.T, sql string) *world {
	t.Helper()
	numbers.Lock()
	numbers.n++
	name := fmt.Sprintf("live_%d", numbers.n)
	numbers.Unlock()
	exec(t, connect(t, owner("postgres")), "CREATE DATABASE "+name)
	w := &world{T: t, live: owner(name)}
	t.Cleanup(func() {
		if err := errors.Join(postgres.DropSide(context.Background(), host.Local{}, w.live, "cleanup"), postgres.DropSide(context.Background(), host.Local{}, owner(name+"_side"), "cleanup")); err != nil {
			t.Error(err)
		}
	})
	w.conn = connect(t, w.live)
	exec(t, w.conn, sql)
	if err := errors.Join(postgres.EnsureOps(t.Context(), w.conn), postgres.TakeFence(t.Context(), w.conn, token, operation)); err != nil {
		t.Fatal(err)
	}
	return w
}

const (
	token     = 7
	operation = "op-7"
)

// dump makes the backup.
func (w *world) dump() *world {
	w.Helper()
	file := filepath.Join(w.TempDir(), "database.dump")
	info, err := postgres.Dump(w.Context(), host.Local{}, postgres.DumpOptions{URL: w.live, File: file, ApplicationName: "test"})
	if err != nil {
		w.Fatal(err)
	}
	w.backup = Backup{ID: "backup-1", Info: info, File: file}
	return w
}

// side restores the backup into a side database, which is compared with from
// then on.
func (w *world) side() postgres.URL {
	w.Helper()
	name := w.live.Database + "_side"
	err := postgres.Restore(w.Context(), host.Local{}, postgres.RestoreOptions{
		URL: w.live, File: w.backup.File, Info: w.backup.Info, Side: name, ApplicationName: "test", Token: token, Operation: operation,
	})
	if err != nil {
		w.Fatal(err)
	}
	w.backup.Side = name
	return owner(name)
}

func (w *world) options() Options {
	return Options{Host: host.Local{}, Live: w.live, Backup: w.backup, ApplicationName: "test", Token: token, Operation: operation}
}

func (w *world) compare() *Diff {
	w.Helper()
	d, err := Compare(w.Context(), w.options())
	if err != nil {
		w.Fatal(err)
	}
	return d
}

// exec runs statements of the service.
func (w *world) exec(sql string) {
	w.Helper()
	exec(w.T, w.conn, sql)
}

// lines is what a query of the live database gives.
func (w *world) lines(sql string, args ...any) []string {
	w.Helper()
	return lines(w.T, w.conn, sql, args...)
}

// found is the rows that differ.
func (w *world) found() []string {
	w.Helper()
	return w.lines(`SELECT concat_ws(' ', n, tbl, kind, key::text, array_to_string(changed, ',')) FROM etf_ops.work_rows ORDER BY n`)
}

func lines(t *testing.T, q postgres.Querier, sql string, args ...any) []string {
	t.Helper()
	rows, _ := q.Query(t.Context(), sql, args...)
	list, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return list
}

func connect(t *testing.T, u postgres.URL) *pgx.Conn {
	t.Helper()
	conn, err := postgres.Connect(t.Context(), host.Local{}, u, "service")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(context.Background(), conn) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if err := execAll(t.Context(), conn, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func same[T any](t *testing.T, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// bothWays runs a test with the backup read from its dump, and from a side
// database.
func bothWays(t *testing.T, sql string, f func(w *world)) {
	t.Helper()
	for _, way := range []string{"dump", "side"} {
		t.Run(way, func(t *testing.T) {
			w := newWorld(t, sql).dump()
			if way == "side" {
				w.side()
			}
			f(w)
		})
	}
}

// tableOf is the counts of one table.
func tableOf(t *testing.T, d *Diff, name string) TableDiff {
	t.Helper()
	for _, table := range d.Tables {
		if table.Table == name {
			return table
		}
	}
	t.Fatalf("no table %s in %+v", name, d.Tables)
	return TableDiff{}
}

// service is a part of the ETF service's schema, with rows.
const service = `
CREATE TABLE etfs (id varchar PRIMARY KEY, name varchar, last_price numeric(20,2), last_update timestamp);
CREATE TABLE etf_prices (id serial PRIMARY KEY, etf_id varchar NOT NULL REFERENCES etfs, date date NOT NULL, price numeric(20,2) NOT NULL, volume numeric(20,2),
	source varchar NOT NULL DEFAULT 'yfinance', UNIQUE (etf_id, date, source));
CREATE TABLE etf_updates (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, etf_id varchar REFERENCES etfs ON DELETE CASCADE, status varchar(20), missing_dates date[],
	twice int GENERATED ALWAYS AS (1 + 1) STORED);
CREATE TABLE daily_update_tracking (date date, update_type varchar, attempted boolean, PRIMARY KEY (date, update_type));
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0002');
INSERT INTO etfs SELECT 'E' || i, 'ETF ' || i, 100 FROM generate_series(1, 9) i;
INSERT INTO etf_prices (etf_id, date, price) SELECT 'E' || 1 + i % 9, date '2026-01-01' + i / 9, 100 + i % 50 FROM generate_series(0, 2999) i;
INSERT INTO etf_updates (etf_id, status, missing_dates) SELECT 'E' || i, 'completed', '{2026-01-01,2026-01-02}' FROM generate_series(1, 5) i;
INSERT INTO daily_update_tracking SELECT date '2026-01-01' + i, 'prices', true FROM generate_series(0, 99) i;
`

func contains(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v does not hold %q", err, word)
		}
	}
}

func (w *world) applyOptions(c Choice) ApplyOptions {
	return ApplyOptions{Host: host.Local{}, Live: w.live, ApplicationName: "test", Token: token, Operation: operation, Choice: c}
}

func (w *world) apply(c Choice) *Applied {
	w.Helper()
	a, err := Apply(w.Context(), w.applyOptions(c))
	if err != nil {
		w.Fatal(err)
	}
	return a
}

// judge has every changed row of class restore, every added one of class
// quarantine and every deleted one missing.
func (w *world) judge() *world {
	w.Helper()
	w.exec(`UPDATE etf_ops.work_rows SET class = CASE kind WHEN 'changed' THEN 'restore' WHEN 'added' THEN 'quarantine' ELSE 'missing' END, sure = 'certain', why = 'because of "x"', writer = 'op-1'`)
	return w
}

func (w *world) verify() *Verified {
	w.Helper()
	v, err := VerifyApplied(w.Context(), VerifyOptions{Host: host.Local{}, Live: w.live, ApplicationName: "test"})
	if err != nil {
		w.Fatal(err)
	}
	return v
}

// contents is every row of some tables, as COPY writes them.
func (w *world) contents(tables ...string) (all []string) {
	w.Helper()
	for _, name := range tables {
		var out strings.Builder
		if _, err := w.conn.PgConn().CopyTo(w.Context(), &out, "COPY (SELECT * FROM "+name+" t ORDER BY (t.*)::text COLLATE \"C\") TO STDOUT"); err != nil {
			w.Fatal(err)
		}
		all = append(all, name)
		all = append(all, strings.Split(out.String(), "\n")...)
	}
	return all
}
