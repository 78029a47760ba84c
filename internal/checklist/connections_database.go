package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// suiteSessions is how many sessions an operation may have beside those of
// pg_restore's jobs: the exported snapshot, the row counts, the migration, the
// fence, and the one that watches.
const suiteSessions = 5

// lookPostgres is the login of the owning role, what it may do, and whether
// there are connections enough for it.
func lookPostgres(ctx context.Context, t *Target) []report.Finding {
	looked := "PostgreSQL, database " + t.Config.Database.Name
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return []report.Finding{marked(noLogin(t, looked, err), "postgres", nil)}
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var version string
	var size int64
	err = conn.QueryRow(ctx, "select current_setting('server_version'), pg_database_size(current_database())").Scan(&version, &size)
	if err != nil {
		return []report.Finding{marked(fault(looked, "it lets us in and does not answer: "+err.Error(), "see the server's log"), "postgres", nil)}
	}
	return []report.Finding{
		marked(found(looked, "PostgreSQL %s, %s", version, report.Bytes(size)), "postgres", map[string]int64{"bytes": size}),
		lookRights(ctx, conn),
		t.lookSeats(ctx, conn),
	}
}

// noLogin says why there is no session, by its kind.
func noLogin(t *Target, looked string, err error) report.Finding {
	do := "see database.url in " + t.Config.File
	switch {
	case errors.Is(err, postgres.ErrFull):
		do = "every connection is taken: see pg_stat_activity as a superuser, end what is idle, or raise max_connections"
	case errors.Is(err, postgres.ErrNoDatabase):
		do = "create it, or correct database.url in " + t.Config.File
	case errors.Is(err, postgres.ErrNotAccepting):
		do = "an interrupted swap may have closed it: see status and resume"
	}
	return fault(looked, err.Error(), do)
}

// lookRights holds the owning role's rights against what a restore needs.
func lookRights(ctx context.Context, conn *pgx.Conn) report.Finding {
	looked := "rights of role " + conn.Config().User
	r, err := postgres.MissingRights(ctx, conn)
	if err != nil {
		return marked(unseen(looked, err, ""), "postgres-rights", nil)
	}
	var said, do, samples []string
	for _, l := range append(r.Missing, r.Later...) {
		text := l.What
		if len(l.Of) > 0 {
			text += " (" + join(l.Of) + ")"
		}
		said, do, samples = append(said, text), append(do, l.Do), append(samples, l.Of...)
	}
	f := found(looked, "all that a backup and a rollback need")
	if len(r.Missing) > 0 {
		f = fault(looked, "not all that a rollback needs: "+strings.Join(said, "; "), strings.Join(do, "; "))
	} else if len(r.Later) > 0 {
		f = warn(looked, strings.Join(said, "; "), strings.Join(do, "; "))
	}
	return marked(f, "postgres-rights", map[string]int64{"missing": int64(len(r.Missing)), "later": int64(len(r.Later))}, samples...)
}

func (t *Target) lookSeats(ctx context.Context, conn *pgx.Conn) report.Finding {
	const looked = "connections of PostgreSQL"
	s, err := postgres.FreeSeats(ctx, conn)
	if err != nil {
		return marked(unseen(looked, err, ""), "postgres-connections", nil)
	}
	needed := int64(t.Config.Database.Jobs + suiteSessions)
	counts := map[string]int64{"most": s.Max, "free": s.Free, "needed": needed}
	if s.Free < needed {
		return marked(fault(looked, fmt.Sprintf("%d of %d are free by %s, backup and restore may need %d", s.Free, s.Max, s.By, needed),
			"end idle sessions (pg_stat_activity), raise that limit, or lower database.jobs in "+t.Config.File), "postgres-connections", counts)
	}
	return marked(found(looked, "%d of %d free by %s, %d needed", s.Free, s.Max, s.By, needed), "postgres-connections", counts)
}

// lookTools asks pg_dump and pg_restore for their version: none may be older
// than the server.
func lookTools(ctx context.Context, t *Target) report.Finding {
	const looked = "pg_dump and pg_restore"
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return unseen(looked, fmt.Errorf("the server's version is not known: %w", err), "mend the connection to PostgreSQL first")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var server int
	if err := conn.QueryRow(ctx, "select current_setting('server_version_num')::int / 10000").Scan(&server); err != nil {
		return unseen(looked, err, "")
	}
	var have []string
	for _, name := range []string{"pg_dump", "pg_restore"} {
		program, version, err := postgres.Tool(ctx, t.Host, name, t.Config.Database.Tools, server)
		if errors.Is(err, postgres.ErrTool) {
			return fault(looked, err.Error(), "see database.tools in "+t.Config.File)
		}
		if err != nil {
			return unseen(looked, err, "")
		}
		have = append(have, program+" "+version)
	}
	return marked(found(looked, "%s, for a server of version %d", join(have), server), "", map[string]int64{"server": int64(server)})
}

// lookDisks looks at the disk that backups and releases go to, and at that of
// the server, which has to hold a restored database beside the live one. Where
// they are one and the same, it has to hold all of it.
func lookDisks(ctx context.Context, t *Target) []report.Finding {
	looked := "disk of " + t.Config.Root
	free, err := t.Host.FreeBytes(ctx, t.Config.Root)
	if err != nil {
		return []report.Finding{marked(unseen(looked, err, ""), "disk", nil)}
	}
	var size int64
	u, err := t.databaseURL()
	if err == nil {
		var conn *pgx.Conn
		if conn, err = postgres.Connect(ctx, t.Host, u, "etf-deploy"); err == nil {
			err = conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size)
			conn.Close(context.WithoutCancel(ctx))
		}
	}
	if err != nil {
		return []report.Finding{marked(unseen(looked, fmt.Errorf("%s free; how much a backup takes is not known: %w", report.Bytes(free), err), "mend the connection to PostgreSQL first"), "disk", map[string]int64{"free": free})}
	}
	needed := roomNeeded(size) + int64(t.Config.Thresholds.DiskReserve)
	what := "backup and release"
	server := "disk of the database server"
	space, err := postgres.Beside(ctx, t.Host, u, size, "etf-deploy")
	var side report.Finding
	switch {
	case errors.Is(err, postgres.ErrRoomNotSeen):
		side = warn(server, fmt.Sprintf("a restore takes about %s there, and whether they are free is not known: %v", report.Bytes(space.Need), err), "look at it on the server")
	case err != nil:
		side = unseen(server, err, "see PostgreSQL above")
	case t.sameDisk(ctx, t.Config.Root, space.Folder):
		needed, what = needed+space.Need, "backup, release and a restored database"
		side = found(server, "it is the disk of %s, too", t.Config.Root)
	case space.Free < space.Need:
		side = fault(server, fmt.Sprintf("%s free at %s, a database restored beside the live one needs %s", report.Bytes(space.Free), space.Folder, report.Bytes(space.Need)),
			"make room there, or drop kept databases (backup:list)")
	default:
		side = found(server, "%s free at %s, %s needed", report.Bytes(space.Free), space.Folder, report.Bytes(space.Need))
	}
	own := found(looked, "%s free, %s needed", report.Bytes(free), report.Bytes(needed))
	if free < needed {
		own = fault(looked, fmt.Sprintf("%s free, %s need %s with the reserve", report.Bytes(free), what, report.Bytes(needed)),
			"make room, or lower retention or thresholds.disk_reserve")
	}
	return []report.Finding{
		marked(own, "disk", map[string]int64{"free": free, "needed": needed}),
		marked(side, "disk-database", map[string]int64{"free": space.Free, "needed": space.Need}),
	}
}

// sameDisk reports whether two folders lie on one file system.
func (t *Target) sameDisk(ctx context.Context, a, b string) bool {
	res, err := t.Host.Run(ctx, host.Command{Argv: []string{"stat", "-L", "-c", "%d", "--", path.Clean(a), path.Clean(b)}, Timeout: t.Config.Timeouts.Connect})
	devices := strings.Fields(string(res.Stdout))
	return err == nil && len(devices) == 2 && devices[0] == devices[1]
}
