package rowdiff

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// A since tells rows that were written since the backup from those that cannot
// have been.
type since struct {
	age int64  // a row whose xmin is older than this many transactions is as in the backup
	why string // why that cannot be said, and every row is to be compared
}

// written is the condition for rows that may have been written since: a
// superset, for transactions that ended just before the snapshot are in it.
// PostgreSQL keeps a row's xmin when it freezes or moves it.
func (s since) written(alias string) string {
	return fmt.Sprintf("age(%sxmin) <= %d", alias, s.age)
}

// xidReach is how many transactions back a row's xmin, which has 32 bits, can
// be told from a later one. Some are left for those that begin meanwhile.
var xidReach uint64 = 1<<31 - 1<<24 // less in a test

// guard asks whether xmin can be trusted: only in the database that the backup
// is of, and not after too many transactions.
func (c *comparison) guard(ctx context.Context) (since, error) {
	info := c.Backup.Info
	if c.Full {
		return since{why: "asked for"}, nil
	}
	var system, next string
	var oid uint32
	err := c.tx.QueryRow(ctx, `SELECT (SELECT system_identifier::text FROM pg_control_system()), pg_snapshot_xmax(pg_current_snapshot())::text,
		(SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&system, &next, &oid)
	if err != nil {
		return since{}, wrap("looking whether the backup is of this database", err)
	}
	xmin, _, _ := strings.Cut(info.Snapshot, ":")
	from, err := strconv.ParseUint(xmin, 10, 64)
	now, nowErr := strconv.ParseUint(next, 10, 64)
	switch {
	case err != nil || nowErr != nil:
		return since{why: "the backup does not say its snapshot"}, nil
	case info.SystemIdentifier != system:
		return since{why: "the backup was made on another server"}, nil
	case info.DatabaseOID != oid:
		return since{why: "the backup was made of another database, or this one was restored since"}, nil
	case from > now:
		return since{why: "the backup's snapshot is newer than the server"}, nil
	case now-from >= xidReach:
		return since{why: "the backup is too many transactions old"}, nil
	}
	// age() counts from the transaction that this one would be or is.
	var s since
	err = c.tx.QueryRow(ctx, "SELECT age('"+strconv.FormatUint(uint64(uint32(from)), 10)+"'::xid)").Scan(&s.age)
	return s, err
}
