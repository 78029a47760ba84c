package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A snapshot is a transaction that goes on seeing one moment of the database.
type snapshot struct {
	conn     *pgx.Conn
	exported string // its name for other sessions
	tables   []table
	estimate int64 // rows in all tables, as the statistics have it
	info     DumpInfo
}

type table struct{ schema, name string }

func (t table) String() string { return t.schema + "." + t.name }

// tablesSQL lists what pg_dump takes the rows of, the largest first. Tables of
// extensions belong to those, foreign tables to somebody else.
const tablesSQL = `SELECT n.nspname, c.relname, greatest(c.reltuples, 0)::bigint
	FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
	WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
	AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
	AND NOT (n.nspname = 'etf_ops' AND (c.relname = 'fence' OR c.relname LIKE 'work\_%'))
	ORDER BY c.relpages DESC, 1, 2`

func beginSnapshot(ctx context.Context, h host.Host, u URL, applicationName string) (*snapshot, error) {
	conn, err := Connect(ctx, h, u, applicationName)
	if err != nil {
		return nil, err
	}
	s := &snapshot{conn: conn, info: DumpInfo{Started: time.Now().UTC()}}
	if err := s.begin(ctx); err != nil {
		closeConn(ctx, conn)
		return nil, err
	}
	return s, nil
}

func (s *snapshot) begin(ctx context.Context) error {
	// A timeout meant for other sessions must not end this one while pg_dump
	// works under its snapshot.
	for _, sql := range []string{
		"SET idle_in_transaction_session_timeout = 0", "SET statement_timeout = 0",
		"BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
	} {
		if _, err := s.conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	i := &s.info
	err := s.conn.QueryRow(ctx, `SELECT pg_export_snapshot(), pg_current_snapshot()::text, current_database(), d.oid,
		pg_database_size(d.oid), (SELECT system_identifier::text FROM pg_control_system()),
		current_setting('server_version'), current_setting('server_encoding')
		FROM pg_database d WHERE d.datname = current_database()`).
		Scan(&s.exported, &i.Snapshot, &i.Database, &i.DatabaseOID, &i.DatabaseSize, &i.SystemIdentifier, &i.ServerVersion, &i.Encoding)
	if err != nil {
		return err
	}
	i.ServerVersion = versionWord.FindString(i.ServerVersion)
	if i.AlembicHeads, err = Heads(ctx, s.conn); err != nil {
		return err
	}
	rows, _ := s.conn.Query(ctx, tablesSQL)
	s.tables, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (t table, err error) {
		var estimate int64
		err = row.Scan(&t.schema, &t.name, &estimate)
		s.estimate += estimate
		return t, err
	})
	return err
}

// fingerprint is the last question about names without their schema: it
// changes the search path.
func (s *snapshot) fingerprint(ctx context.Context) error {
	lines, err := schemaWithin(ctx, s.conn)
	s.info.Schema = fingerprintOf(dumped(lines))
	return wrap("reading the schema", err)
}

// counters is how many sessions count rows at once, beside pg_dump.
const counters = 2

// count counts the rows of every table under the snapshot.
func (s *snapshot) count(ctx context.Context, h host.Host, o DumpOptions) (map[string]int64, error) {
	conns := []*pgx.Conn{s.conn}
	for range min(counters, len(s.tables)) - 1 {
		conn, err := Connect(ctx, h, o.URL, o.ApplicationName)
		if err != nil {
			return nil, err
		}
		defer closeConn(ctx, conn)
		if _, err := conn.PgConn().Exec(ctx, "SET statement_timeout = 0; BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '"+s.exported+"'").ReadAll(); err != nil {
			return nil, err
		}
		conns = append(conns, conn)
	}
	return countRows(ctx, conns, s.tables)
}

// countRows shares the tables among the connections.
func countRows(ctx context.Context, conns []*pgx.Conn, tables []table) (map[string]int64, error) {
	type counted struct {
		name string
		rows int64
	}
	todo, results := make(chan table, len(tables)), make(chan counted, len(tables))
	for _, t := range tables {
		todo <- t
	}
	close(todo)
	group, ctx := errgroup.WithContext(ctx)
	for _, conn := range conns {
		group.Go(func() error {
			for t := range todo {
				c := counted{name: t.String()}
				err := conn.QueryRow(ctx, "SELECT count(*) FROM "+pgx.Identifier{t.schema, t.name}.Sanitize()).Scan(&c.rows)
				if err != nil {
					return wrap("counting the rows of "+c.name, err)
				}
				results <- c
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	close(results)
	rows := make(map[string]int64, len(tables))
	for c := range results {
		rows[c.name] = c.rows
	}
	return rows, nil
}

// CountRows counts the rows of every table of a database at one moment, by
// schema.table. Errors of connecting: see Connect.
func CountRows(ctx context.Context, h host.Host, u URL, applicationName string) (map[string]int64, error) {
	s, err := beginSnapshot(ctx, h, u, applicationName)
	if err != nil {
		return nil, fmt.Errorf("counting the rows of %s: %w", u.Database, err)
	}
	defer closeConn(ctx, s.conn)
	rows, err := s.count(ctx, h, DumpOptions{URL: u, ApplicationName: applicationName})
	return rows, wrap("counting the rows of "+u.Database, err)
}
