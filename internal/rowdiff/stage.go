package rowdiff

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// Temporary tables of the comparing session.
const (
	scanTable    = "pg_temp.rowdiff_scan"    // rows of the live table, and where the candidates are
	liveTable    = "pg_temp.rowdiff_live"    // the candidates
	backupTable  = "pg_temp.rowdiff_backup"  // rows of the backup with the same keys, or all
	missingTable = "pg_temp.rowdiff_missing" // rows of the backup that the live table has not
	rowsTable    = "pg_temp.rowdiff_rows"    // what differs, as in etf_ops.work_rows
)

// A reading is what is wanted of one table of the backup, and where it goes.
type reading struct {
	conn   *pgx.Conn // the comparing session
	table  table
	into   string  // temporary table for the rows
	asText bool    // every column of it a text
	wanted string  // query of the keys of the rows that are wanted
	within buckets // the rows of these buckets are wanted; with neither, every row
	seen   func(rows int64)

	columns []string // that the backup has
	pump    *pump
	rows    *spout
}

// begin makes the temporary table and opens the way into it.
func (r *reading) begin(ctx context.Context, columns []string, encoding string) error {
	r.columns = columns
	if err := r.remake(ctx, r.into, r.stageColumns()); err != nil {
		return err
	}
	r.pump = startPump(ctx, r.conn.PgConn())
	r.rows = r.pump.into("COPY " + r.into + " FROM STDIN (ENCODING " + literal(encoding) + ")")
	return nil
}

func (r *reading) remake(ctx context.Context, name string, columns []column) error {
	return execAll(ctx, r.conn, "DROP TABLE IF EXISTS "+name+"; CREATE TEMP TABLE "+name[len("pg_temp."):]+" ("+
		each(columns, ", ", func(c column) string { return quote(c.name) + " " + c.typ })+")")
}

// stageColumns is the backup's columns in its order, those that the live table
// has with its types.
func (r *reading) stageColumns() []column {
	var list []column
	for _, name := range r.columns {
		c := column{name: name, typ: "text"}
		if at := slices.IndexFunc(r.table.columns, func(c column) bool { return c.name == name }); at >= 0 && !r.asText {
			c = r.table.columns[at]
		}
		list = append(list, c)
	}
	return list
}

// finish waits until all is loaded and, where it came as text, gives the
// columns their types; unfit are those whose values have none.
func (r *reading) finish(ctx context.Context) (unfit []string, err error) {
	if r.pump != nil {
		pump := r.pump
		r.pump = nil
		if err := pump.close(); err != nil {
			return nil, err
		}
	}
	if r.asText {
		if unfit, err = r.convert(ctx); err != nil {
			return nil, err
		}
	}
	return unfit, execAll(ctx, r.conn, "ANALYZE "+r.into)
}

// convert tries the type of each shared column on all its values.
func (r *reading) convert(ctx context.Context) (unfit []string, err error) {
	alter := ""
	for _, c := range r.table.only(r.columns) {
		cast := quote(c.name) + "::" + c.typ
		err := execAll(ctx, r.conn, "SAVEPOINT convert; SELECT count("+cast+") FROM "+r.into)
		if err != nil && !ofValues(err) {
			return nil, err
		}
		if err != nil {
			unfit = append(unfit, c.name)
			err = execAll(ctx, r.conn, "ROLLBACK TO convert")
		} else {
			alter += ", ALTER " + quote(c.name) + " TYPE " + c.typ + " USING " + cast
		}
		if err != nil {
			return nil, err
		}
	}
	if alter == "" {
		return unfit, nil
	}
	return unfit, execAll(ctx, r.conn, "ALTER TABLE "+r.into+alter[1:])
}
