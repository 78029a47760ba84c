package rowdiff

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// A side is the backup as a database, beside the live one.
type side struct {
	conn   *pgx.Conn
	tx     pgx.Tx
	tables []table
}

func openSide(ctx context.Context, o Options) (*side, error) {
	conn, err := open(ctx, o.Host, o.Live.WithDatabase(o.Backup.Side), o.ApplicationName, oneMoment)
	if err != nil {
		return nil, err
	}
	s := &side{conn: conn}
	if s.tx, err = conn.Begin(ctx); err == nil {
		s.tables, err = tables(ctx, s.tx)
	}
	if err != nil {
		closeConn(ctx, conn)
		return nil, wrap("reading the side database "+o.Backup.Side, err)
	}
	return s, nil
}

// close gives up the transaction, and with it the temporary table.
func (s *side) close(ctx context.Context) { closeConn(ctx, s.conn) }

func (s *side) has(ctx context.Context, t table) (n int64, ok bool, err error) {
	own, ok := find(s.tables, t.name)
	if !ok {
		return 0, false, nil
	}
	err = s.tx.QueryRow(ctx, "SELECT count(*) FROM "+own.ident()).Scan(&n)
	return n, true, wrap("counting the rows of "+t.name+" in the side database", err)
}

func (s *side) whole(int64) bool { return false }

func (s *side) read(ctx context.Context, r *reading) error {
	own, _ := find(s.tables, r.table.name)
	r.columns = nil
	for _, c := range own.columns {
		r.columns = append(r.columns, c.name)
	}
	if slices.ContainsFunc(r.table.key, func(k string) bool { return !slices.Contains(r.columns, k) }) {
		return errNoBackupKey
	}
	which := ""
	switch {
	case r.wanted != "":
		if err := s.send(ctx, r, own); err != nil {
			return wrap("looking for rows of "+own.name+" in the side database", err)
		}
		which = " JOIN pg_temp.rowdiff_wanted w ON " + sameKey("t.", "w.", r.table.keyColumns())
	case r.within != nil && bucketed(r.table):
		which = " JOIN unnest(" + r.within.literal() + ") w (b) ON " + inBucket("t."+quote(r.table.key[0]), "w.b")
	case r.within != nil:
		which = " WHERE " + bucketSQL("t.", r.table) + " = ANY (" + r.within.literal() + ")"
	}
	if err := r.begin(ctx, r.columns, "UTF8"); err != nil {
		return err
	}
	_, err := s.conn.PgConn().CopyTo(ctx, r.rows, "COPY (SELECT "+names("t.", own.columns)+" FROM "+own.ident()+" t"+which+") TO STDOUT (ENCODING 'UTF8')")
	if failure := r.pump.failure(); failure != nil {
		return failure
	}
	return wrap("reading "+own.name+" from the side database", err)
}

func (s *side) count(ctx context.Context, t table, rows int64) (buckets, bool, error) {
	own, _ := find(s.tables, t.name)
	own.key = t.key
	if bucketed(own) != bucketed(t) {
		return nil, false, nil
	}
	counts, ok, err := countBuckets(ctx, s.tx, own, rows)
	return counts, ok, wrap("counting the rows of "+t.name+" in the side database", err)
}

// send makes the wanted keys known to the side database, with its own types.
func (s *side) send(ctx context.Context, r *reading, own table) error {
	own.key = r.table.key
	there := reading{conn: s.conn, table: own}
	if err := there.remake(ctx, "pg_temp.rowdiff_wanted", own.keyColumns()); err != nil {
		return err
	}
	p := startPump(ctx, s.conn.PgConn())
	_, err := r.conn.PgConn().CopyTo(ctx, p.into("COPY pg_temp.rowdiff_wanted FROM STDIN (ENCODING 'UTF8')"), "COPY ("+r.wanted+") TO STDOUT (ENCODING 'UTF8')")
	if failure := p.close(); failure != nil {
		return failure
	}
	if err != nil {
		return err
	}
	return execAll(ctx, s.conn, "ANALYZE pg_temp.rowdiff_wanted")
}
