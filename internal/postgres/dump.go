package postgres

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// What of etf_ops does not go into a dump.
//
// The schema itself does: quarantined rows belong to the service and must
// survive a restore. The fence's row does not: a token from the time of the
// dump, come back by a restore, would let in an operation that has been fenced
// off since. Restore takes the fence of the present operation in the new
// database instead. Working tables (etf_ops.work_…) are never worth keeping.
const (
	excludeFence = OpsSchema + ".fence"
	excludeWork  = OpsSchema + ".work_*"
)

// DumpOptions say what is dumped and where to.
type DumpOptions struct {
	URL             URL
	File            string // on the host; must not exist yet; its folder must
	BinDir          string // of pg_dump; empty: looked for
	ApplicationName string
	Progress        func(done, total int64) // rows; nil: not reported
}

// DumpInfo is what a dump's manifest says about it.
type DumpInfo struct {
	File             string           `json:"file"`   // name without its folder
	Size             int64            `json:"size"`   // bytes
	SHA256           string           `json:"sha256"` // of the file, hexadecimal
	Database         string           `json:"database"`
	DatabaseOID      uint32           `json:"database_oid"`
	DatabaseSize     int64            `json:"database_size"` // bytes on the server's disk
	SystemIdentifier string           `json:"system_identifier"`
	ServerVersion    string           `json:"server_version"`
	ToolVersion      string           `json:"tool_version"` // of pg_dump
	Encoding         string           `json:"encoding"`
	Snapshot         string           `json:"snapshot"` // pg_current_snapshot(): xmin:xmax:xip
	AlembicHeads     []string         `json:"alembic_heads"`
	Rows             map[string]int64 `json:"rows"` // by schema.table, as of the snapshot
	Started          time.Time        `json:"started"`
	Finished         time.Time        `json:"finished"`
}

// ServerMajor is the major version of the server, such as 15.
func (i DumpInfo) ServerMajor() int { return majorOf(i.ServerVersion) }

// Total is the number of rows in all tables.
func (i DumpInfo) Total() (n int64) {
	for _, rows := range i.Rows {
		n += rows
	}
	return n
}

// Dump writes the database as of one moment into o.File (pg_dump's custom
// format, mode 0600) and says what is in it, counted under the same snapshot.
// The file has its name only once it is complete; what an interrupted dump
// leaves is File.part, which the next one replaces. A taken name gives
// fs.ErrExist. Errors of connecting: see Connect; ErrTool.
func Dump(ctx context.Context, h host.Host, o DumpOptions) (info DumpInfo, err error) {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	defer func() { err = wrap("dumping "+o.URL.String(), err) }()
	if _, err := h.Stat(ctx, o.File); err == nil {
		return info, fmt.Errorf("%s: %w: a finished dump is never overwritten", o.File, fs.ErrExist)
	}
	s, err := beginSnapshot(ctx, h, o.URL, o.ApplicationName)
	if err != nil {
		return info, err
	}
	defer closeConn(ctx, s.conn)
	info = s.info
	program, version, err := tool(ctx, h, "pg_dump", o.BinDir, info.ServerMajor())
	if err != nil {
		return info, err
	}
	info.ToolVersion = version

	part := o.File + ".part"
	defer func() {
		if err != nil {
			h.Remove(context.WithoutCancel(ctx), part)
		}
	}()
	// An orphan of a killed run may still write into the file of that name:
	// removing leaves it its own, and ours is closed to others from the start.
	if err := h.Remove(ctx, part); err != nil {
		return info, err
	}
	if err := h.Create(ctx, part, nil, 0o600); err != nil {
		return info, err
	}
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return runDump(gctx, h, o, program, part, s, info.Encoding) })
	group.Go(func() (err error) { info.Rows, err = s.count(gctx, h, o); return err })
	if err := group.Wait(); err != nil {
		return info, err
	}
	if info.SHA256, info.Size, err = checksum(ctx, h, part); err != nil {
		return info, err
	}
	info.Finished = time.Now().UTC()
	if err := h.Rename(ctx, part, o.File); err != nil {
		return info, err
	}
	info.File = o.File[strings.LastIndexByte(o.File, '/')+1:]
	return info, nil
}

func runDump(ctx context.Context, h host.Host, o DumpOptions, program, part string, s *snapshot, encoding string) error {
	stop := watchCopy(ctx, h, o.URL, o.ApplicationName, "COPY TO", s.estimate, o.Progress)
	defer stop()
	_, err := h.Run(ctx, host.Command{
		Argv: []string{program, "--format=custom", "--compress=1", "--snapshot=" + s.exported, "--encoding=" + encoding,
			"--exclude-table-data=" + excludeFence, "--exclude-table-data=" + excludeWork, "--no-password", "--file=" + part},
		Env: o.URL.Env(o.ApplicationName), Timeout: remaining(ctx),
	})
	return err
}

// checksum has the host read the file once, where it lies.
func checksum(ctx context.Context, h host.Host, file string) (sum string, size int64, err error) {
	st, err := h.Stat(ctx, file)
	if err != nil {
		return "", 0, err
	}
	res, err := h.Run(ctx, host.Command{Argv: []string{"sha256sum", "--", file}, Timeout: remaining(ctx)})
	if err != nil {
		return "", 0, err
	}
	// A name with a backslash or a line end has a backslash put before the sum.
	sum, _, _ = strings.Cut(strings.TrimPrefix(string(res.Stdout), `\`), " ")
	if len(sum) != 64 {
		return "", 0, fmt.Errorf("sha256sum of %s: printed no checksum", file)
	}
	return sum, st.Size, nil
}

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
