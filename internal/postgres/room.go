package postgres

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ErrRoomNotSeen says that the disk of the server could not be looked at: how
// much is free there is not known.
var ErrRoomNotSeen = errors.New("the room on the server's disk was not seen")

// minWAL is how much of the write-ahead log even a small restore may need, in
// bytes: a few segments of 16 MiB.
const minWAL = 64 << 20

// Room says how many bytes a restore of the dump beside the live database will
// take, and how many are free on the file system that it goes to: see Beside.
func Room(ctx context.Context, h host.Host, u URL, info DumpInfo, applicationName string) (need, free int64, err error) {
	s, err := Beside(ctx, h, u, info.DatabaseSize, applicationName)
	return s.Need, s.Free, err
}

// A Space is room on the server's disk, in bytes.
type Space struct {
	Need, Free int64
	Folder     string // on the host; the live database's tablespace or data directory
}

// Beside says what a database of this size will take beside the live one, its
// log included, and what is free there. A disk that cannot be seen from h,
// because the server runs elsewhere or does not say where its data lie, gives
// ErrRoomNotSeen, with the need all the same. Errors of connecting: see
// Connect.
func Beside(ctx context.Context, h host.Host, u URL, size int64, applicationName string) (s Space, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	defer func() { err = wrap("looking for room beside "+u.Database, err) }()
	conn, err := Connect(ctx, h, u, applicationName)
	if err != nil {
		return s, err
	}
	defer closeConn(ctx, conn)
	var maxWAL int64
	var tablespace, pid string
	err = conn.QueryRow(ctx, `SELECT pg_size_bytes(current_setting('max_wal_size')), pg_tablespace_location(dattablespace), pg_backend_pid()::text
		FROM pg_database WHERE datname = current_database()`).Scan(&maxWAL, &tablespace, &pid)
	if err != nil {
		return s, err
	}
	// Whatever is restored is logged too, until a checkpoint lets the log go.
	s.Need = size + min(maxWAL, size+minWAL)
	process := path.Join("/proc", pid)
	err = onThisMachine(ctx, h, process, u)
	if err == nil {
		s.Folder, err = dataFolder(ctx, h, conn, process, tablespace)
	}
	if err == nil {
		s.Free, err = h.FreeBytes(ctx, s.Folder)
	}
	if err != nil {
		return s, fmt.Errorf("%w: %w", ErrRoomNotSeen, err)
	}
	return s, nil
}

// dataFolder is where new files of the live database come to lie.
func dataFolder(ctx context.Context, h host.Host, conn *pgx.Conn, process, tablespace string) (string, error) {
	if tablespace != "" {
		return tablespace, nil
	}
	var folder string
	err := conn.QueryRow(ctx, "SHOW data_directory").Scan(&folder)
	if !hasCode(err, codePrivilege) {
		return folder, err
	}
	// A server process works in the folder of the data, and says so to its own
	// user and to root.
	link, linkErr := h.Readlink(ctx, path.Join(process, "cwd"))
	if linkErr != nil {
		return "", fmt.Errorf("%w; a superuser can let the role: GRANT pg_read_all_settings TO %s", err, quote(conn.Config().User))
	}
	return link, nil
}

// onThisMachine makes sure that the server runs on h, by its process there: an
// address proves nothing, it may be a tunnel's.
func onThisMachine(ctx context.Context, h host.Host, process string, u URL) error {
	title, err := h.ReadFile(ctx, path.Join(process, "cmdline"))
	// "postgres: etf_owner goldfinch 127.0.0.1(40446) SELECT"
	if err != nil || !strings.HasPrefix(string(title), "postgres: ") || !strings.Contains(string(title), " "+u.User+" "+u.Database+" ") {
		return fmt.Errorf("the server of %s does not run on %s, or hides its processes", u.Database, h)
	}
	return nil
}
