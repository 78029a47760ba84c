package etfdata

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// released are the schemas of the sandbox's releases; 0.9 is the service
// before it knew currencies and sources.
var released = map[string]string{
	"1.0": "",
	"1.1": `ALTER TABLE etf_prices ADD COLUMN source varchar NOT NULL DEFAULT 'yfinance', ADD COLUMN is_adjusted boolean NOT NULL DEFAULT false,
		ADD CONSTRAINT uq_etf_prices_etf_id_date_source UNIQUE (etf_id, date, source), DROP CONSTRAINT uq_etf_prices_etf_id_date`,
	"0.9": `ALTER TABLE etf_prices DROP COLUMN original_currency, DROP COLUMN stock_splits`,
}

// A judged is a database with a backup beside it, in the schema "backup".
type judged struct {
	*pgx.Conn
	t testing.TB
}

// open connects to a database that is made as a copy of another one.
func open(t testing.TB, name, template string) *judged {
	t.Helper()
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(context.WithoutCancel(t.Context()))
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), server.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return &judged{conn, t}
}

// newJudged makes a database in the form of a release.
func newJudged(t testing.TB, name, form string) *judged {
	t.Helper()
	d := open(t, "judge_"+name, "template1")
	base, err := os.ReadFile("../sandbox/etfservice/releases/1.0/src/backend/alembic/sql/0001_base.sql")
	if err != nil {
		t.Fatal(err)
	}
	d.exec(string(base))
	d.exec(released[form])
	d.exec(`CREATE SCHEMA etf_ops; CREATE TABLE etf_ops.work_rows (n bigint PRIMARY KEY, tbl text NOT NULL, key jsonb NOT NULL, kind text NOT NULL,
		backup jsonb, live jsonb, xid bigint, changed text[], class text, columns text[], sure text, why text, writer text, done text, note text)`)
	return d
}

func (d *judged) exec(sql string) {
	d.t.Helper()
	if _, err := d.PgConn().Exec(d.t.Context(), sql).ReadAll(); err != nil {
		d.t.Fatalf("%v in %.300s", err, sql)
	}
}

func (d *judged) one(sql string, into ...any) {
	d.t.Helper()
	if err := d.QueryRow(d.t.Context(), sql).Scan(into...); err != nil {
		d.t.Fatalf("%v in %.300s", err, sql)
	}
}

// keys are the primary keys of the tables that are compared.
var keys = map[string][]string{"etfs": {"id"}, "etf_prices": {"id"}, "etf_updates": {"id"}, "exchange_rates": {"id"}, "exchange_rate_updates": {"id"},
	"daily_update_tracking": {"date", "update_type"}, "households": {"id"}, "pension_etfs": {"id"}, "pension_contributions": {"id"}}

// tables are those of keys that there are.
func (d *judged) tables() (list []string) {
	for _, table := range slices.Sorted(maps.Keys(keys)) {
		var there bool
		if d.one("SELECT to_regclass('public."+table+"') IS NOT NULL", &there); there {
			list = append(list, table)
		}
	}
	return list
}

// backUp copies every table as it is now.
func (d *judged) backUp() {
	d.t.Helper()
	d.exec("DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup")
	for _, table := range d.tables() {
		d.exec(fmt.Sprintf("CREATE TABLE backup.%[1]s AS TABLE public.%[1]s", table))
	}
}

// compare fills work_rows with what differs from the backup.
func (d *judged) compare() {
	d.t.Helper()
	d.exec("TRUNCATE etf_ops.work_rows")
	var parts []string
	for _, table := range d.tables() {
		key := keys[table]
		var pairs, on []string
		for _, c := range key {
			pairs = append(pairs, fmt.Sprintf("'%[1]s', coalesce(l.%[1]s, b.%[1]s)", c))
			on = append(on, fmt.Sprintf("l.%[1]s = b.%[1]s", c))
		}
		var shared string // columns of only one side are left out
		d.one(fmt.Sprintf(`SELECT coalesce(string_agg(quote_literal(column_name), ','), '') FROM (SELECT column_name, count(*) FROM information_schema.columns
			WHERE table_name = '%s' AND table_schema IN ('public', 'backup') GROUP BY 1 HAVING count(*) = 1) c`, table), &shared)
		parts = append(parts, fmt.Sprintf(`SELECT 'public.%[1]s' AS tbl, jsonb_build_object(%[2]s) AS key, to_jsonb(b) - ARRAY[%[4]s]::text[] AS backup,
			to_jsonb(l) - ARRAY[%[4]s]::text[] AS live, l.x FROM (SELECT *, xmin::text::bigint AS x FROM public.%[1]s) l
			FULL JOIN backup.%[1]s b ON %[3]s`, table, strings.Join(pairs, ", "), strings.Join(on, " AND "), shared))
	}
	d.exec(`INSERT INTO etf_ops.work_rows (n, tbl, key, kind, backup, live, xid, changed)
		SELECT row_number() OVER (ORDER BY tbl, key), tbl, key, CASE WHEN backup IS NULL THEN 'added' WHEN live IS NULL THEN 'deleted' ELSE 'changed' END,
			backup, live, x, CASE WHEN backup IS NOT NULL AND live IS NOT NULL THEN
				ARRAY(SELECT l.key FROM jsonb_each(live) l WHERE l.value IS DISTINCT FROM backup -> l.key ORDER BY 1) END
		FROM (SELECT tbl, key, backup, live - 'x' AS live, x FROM (` + strings.Join(parts, " UNION ALL ") + `) d) d
		WHERE backup IS DISTINCT FROM live; ANALYZE etf_ops.work_rows`)
}

// judge compares and judges.
func (d *judged) judge(o JudgeOptions) {
	d.t.Helper()
	d.compare()
	if err := pgx.BeginFunc(d.t.Context(), d.Conn, func(tx pgx.Tx) error { return Judge(d.t.Context(), tx, o) }); err != nil {
		d.t.Fatal(err)
	}
	var open int
	d.one("SELECT count(*) FROM etf_ops.work_rows WHERE class IS NULL OR sure IS NULL OR why IS NULL OR writer IS NULL", &open)
	if open != 0 {
		d.t.Errorf("%d rows were not judged", open)
	}
}

// verdict is one judged row, for tests that look at few.
type verdict struct {
	Class   Class
	Sure    Sure
	Columns []string
	Why     string
	Writer  string
}

func (v verdict) String() string {
	return fmt.Sprintf("%s %s %v %q by %s", v.Class, v.Sure, v.Columns, v.Why, v.Writer)
}

// of gives the verdict on the row of a table for which a condition on its
// work row w holds; the zero one where it does not differ.
func (d *judged) of(table, where string) (v verdict) {
	d.t.Helper()
	rows, err := d.Query(d.t.Context(), "SELECT class, sure, columns, why, writer FROM etf_ops.work_rows w WHERE tbl = 'public."+table+"' AND "+where)
	if err != nil {
		d.t.Fatal(err)
	}
	v, err = pgx.CollectOneRow(rows, pgx.RowToStructByPos[verdict])
	if err != nil && err != pgx.ErrNoRows {
		d.t.Fatal(err)
	}
	return v
}

// xid is the next transaction id.
func (d *judged) xid() (x uint64) {
	d.t.Helper()
	d.one("SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint", &x)
	return x
}

func day(text string) time.Time {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		panic(err)
	}
	return t
}
