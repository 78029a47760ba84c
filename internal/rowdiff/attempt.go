package rowdiff

import (
	"context"
	"errors"
	"slices"

	"golang.org/x/sync/errgroup"
)

// Why an attempt was given up for a slower one.
var (
	errManyCandidates = errors.New("most rows were written since the backup")
	errCounts         = errors.New("the counts do not add up")
)

// An attempt compares one table: the rows that were written since, or every
// row.
type attempt struct {
	*comparison
	t      table
	why    string // why every row is compared; empty: those written since
	asText bool   // the backup's values are loaded as text and their types tried
	d      TableDiff

	shared  []column
	source  string // FROM item of the live rows that are compared, as c
	xid     string // expression for their xmin
	wholeIn bool   // all rows of the backup are in backupTable
	found   int64  // rows in backupTable, where it does not hold all
	missing bool   // missingTable is filled
}

func (a *attempt) run(ctx context.Context) error {
	rows, ok, err := a.src.has(ctx, a.t)
	if err != nil {
		return err
	}
	a.d.BackupRows = rows
	if len(a.t.key) == 0 {
		a.d, err = a.countOnly(ctx, a.d, "no primary key: only counted")
		return err
	}
	if !ok {
		a.why = "the backup has no such table"
	}
	if err := a.look(ctx); err != nil {
		return err
	}
	if ok {
		err = a.readBackup(ctx)
	} else {
		a.shared, a.wholeIn = a.t.columns, true
		r := &reading{conn: a.conn, table: a.t}
		err = r.remake(ctx, backupTable, a.t.columns)
	}
	if err != nil {
		return err
	}
	return a.list(ctx)
}

// look finds the candidates. One scan counts the rows and finds where they are.
func (a *attempt) look(ctx context.Context) error {
	a.d.How, a.source, a.xid = "every row: "+a.why, a.t.ident()+" c", "c.xmin::text::bigint"
	if a.why != "" {
		err := a.tx.QueryRow(ctx, "SELECT count(*) FROM "+a.t.ident()).Scan(&a.d.Rows)
		a.d.Candidates = a.d.Rows
		return err
	}
	err := execAll(ctx, a.conn, "DROP TABLE IF EXISTS "+scanTable+", "+liveTable+
		"; CREATE TEMP TABLE rowdiff_scan AS SELECT count(*) AS rows, array_agg(t.ctid) FILTER (WHERE "+a.since.written("t.")+") AS at FROM "+a.t.ident()+" t")
	if err != nil {
		return err
	}
	if err := a.tx.QueryRow(ctx, "SELECT rows, coalesce(cardinality(at), 0) FROM "+scanTable).Scan(&a.d.Rows, &a.d.Candidates); err != nil {
		return err
	}
	if a.d.Candidates > 1000 && a.d.Candidates > a.d.Rows/2 {
		return errManyCandidates
	}
	a.d.How, a.source, a.xid = "rows written since (xmin)", liveTable+" c", `c."rowdiff xid"`
	return execAll(ctx, a.conn, "CREATE TEMP TABLE rowdiff_live AS SELECT "+names("t.", a.t.columns)+`, t.xmin::text::bigint AS "rowdiff xid" FROM `+
		a.t.ident()+" t WHERE t.ctid = ANY ((SELECT at FROM "+scanTable+")::tid[]); ANALYZE "+liveTable)
}

// readBackup loads the backup's rows with the candidates' keys, and those whose
// keys the live table no longer has.
func (a *attempt) readBackup(ctx context.Context) error {
	a.shared = a.t.columns
	a.wholeIn = a.why != "" || a.src.whole(a.d.Candidates)
	first := a.reading(backupTable)
	switch {
	case a.wholeIn:
	case a.d.Candidates == 0 && a.d.BackupRows == a.d.Rows:
		// as in the backup: neither written nor deleted
		return first.remake(ctx, backupTable, a.t.columns)
	default:
		first.wanted = "SELECT " + names("", a.t.keyColumns()) + " FROM " + liveTable
	}
	if err := a.read(ctx, first); err != nil {
		return err
	}
	if a.wholeIn {
		return nil
	}
	if err := a.tx.QueryRow(ctx, "SELECT count(*) FROM "+backupTable).Scan(&a.found); err != nil {
		return err
	}
	// What is no candidate is in the backup, and so is what was found.
	deleted := a.d.BackupRows - (a.d.Rows - a.d.Candidates + a.found)
	if deleted < 0 {
		return errCounts
	}
	if deleted == 0 {
		return nil
	}
	return a.readMissing(ctx)
}

// readMissing finds rows that were deleted. What the live table has, but for
// the rows added since, is among what the backup has: where they are as many,
// in some bucket of keys, they are the same, and only other buckets are read.
func (a *attempt) readMissing(ctx context.Context) error {
	var backup, live buckets
	var ok, liveOK bool
	var group errgroup.Group // two databases, two processors
	group.Go(func() (err error) { backup, ok, err = a.src.count(ctx, a.t, a.d.Rows); return err })
	group.Go(func() (err error) { live, liveOK, err = a.countLive(ctx); return err })
	if err := group.Wait(); err != nil {
		return err
	}
	if !ok || !liveOK {
		a.wholeIn = true
		return a.read(ctx, a.reading(backupTable))
	}
	r := a.reading(missingTable)
	if r.within = backup.unlike(live); len(r.within) > len(backup)/4 {
		r.within = nil // picking is not worth it
	}
	a.missing = true
	if err := a.read(ctx, r); err != nil {
		return err
	}
	return execAll(ctx, a.conn, "DELETE FROM "+missingTable+" b WHERE EXISTS (SELECT FROM "+a.t.ident()+" t WHERE "+sameKey("t.", "b.", a.t.keyColumns())+")")
}

// countLive counts the live rows, without those added since.
func (a *attempt) countLive(ctx context.Context) (buckets, bool, error) {
	live, ok, err := countBuckets(ctx, a.tx, a.t, a.d.Rows)
	if err != nil || !ok {
		return nil, false, err
	}
	added, err := queryBuckets(ctx, a.tx, "SELECT "+bucketSQL("c.", a.t)+", count(*) FROM "+liveTable+" c WHERE NOT EXISTS (SELECT FROM "+backupTable+" b WHERE "+
		sameKey("b.", "c.", a.t.keyColumns())+") GROUP BY 1")
	for bucket, n := range added {
		live[bucket] -= n
	}
	return live, true, err
}

func (a *attempt) reading(into string) *reading {
	return &reading{conn: a.conn, table: a.t, into: into, asText: a.asText, seen: func(rows int64) { a.say(a.t, rows, "reading the backup of") }}
}

// read loads, and learns which columns both have.
func (a *attempt) read(ctx context.Context, r *reading) error {
	err := a.src.read(ctx, r)
	if r.pump != nil && err != nil {
		r.pump.close()
		return err
	}
	if err != nil {
		return err
	}
	unfit, err := r.finish(ctx)
	if err != nil {
		return err
	}
	for _, name := range append(a.t.leftOut(r.columns), unfit...) {
		if slices.Contains(a.d.LeftOut, name) {
			continue
		}
		if a.t.isKey(name) {
			return errNoBackupKey
		}
		a.d.LeftOut = append(a.d.LeftOut, name)
		a.shared = slices.DeleteFunc(slices.Clone(a.shared), func(c column) bool { return c.name == name })
	}
	return nil
}
