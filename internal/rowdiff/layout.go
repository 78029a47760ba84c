package rowdiff

import (
	"context"
	"encoding/json"
)

// layoutSQL makes the tables that hold a comparison. Those named work_ are not
// in dumps; what is in quarantine belongs to the service and is.
const layoutSQL = `
SET LOCAL lock_timeout = '20s';
DROP TABLE IF EXISTS etf_ops.work_comparison, etf_ops.work_tables, etf_ops.work_rows, etf_ops.work_batches;
CREATE TABLE etf_ops.work_comparison (operation text NOT NULL, backup text NOT NULL, at timestamptz NOT NULL, snapshot pg_snapshot NOT NULL);
CREATE TABLE etf_ops.work_tables (tbl text PRIMARY KEY, rows bigint NOT NULL, key text[], columns text[] NOT NULL, diff jsonb NOT NULL);
CREATE TABLE etf_ops.work_rows (
	n bigint PRIMARY KEY,
	tbl text NOT NULL,
	key jsonb NOT NULL,
	kind text NOT NULL CHECK (kind IN ('added', 'changed', 'deleted')),
	backup jsonb,
	live jsonb,
	xid bigint,
	changed text[],
	class text CHECK (class IN ('restore', 'quarantine', 'keep', 'missing')),
	columns text[],
	sure text,
	why text,
	writer text,
	done text CHECK (done IN ('restored', 'quarantined', 'brought back', 'left')),
	note text
);
CREATE TABLE etf_ops.work_batches (xid xid8 NOT NULL, operation text NOT NULL, tbl text NOT NULL, done text NOT NULL, n bigint[] NOT NULL);
` + quarantineSQL

const quarantineSQL = `
CREATE TABLE IF NOT EXISTS etf_ops.quarantine (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at timestamptz NOT NULL DEFAULT now(),
	operation text NOT NULL,
	tbl text NOT NULL,
	key jsonb NOT NULL,
	row jsonb NOT NULL,
	why text
);
`

// store keeps the comparison. The tables are made last, so that nobody who
// reads the earlier comparison waits for longer than that takes.
func (c *comparison) store(ctx context.Context) error {
	if err := execAll(ctx, c.conn, layoutSQL); err != nil {
		return wrap("making the tables of etf_ops", err)
	}
	_, err := c.tx.Exec(ctx, "INSERT INTO etf_ops.work_comparison VALUES ($1, $2, now(), pg_current_snapshot())", c.Operation, c.Backup.ID)
	if err != nil {
		return err
	}
	for _, d := range c.diff.Tables {
		encoded, err := json.Marshal(d)
		if err != nil {
			return err
		}
		if _, err := c.tx.Exec(ctx, "INSERT INTO etf_ops.work_tables VALUES ($1, $2, $3, $4, $5)", d.Table, d.Rows, c.keys[d.Table], append([]string{}, c.columns[d.Table]...), string(encoded)); err != nil {
			return err
		}
	}
	if err := execAll(ctx, c.conn, "INSERT INTO etf_ops.work_rows (n, tbl, key, kind, backup, live, xid, changed) SELECT n, tbl, key, kind, backup, live, xid, changed FROM "+
		rowsTable+" ORDER BY n; ANALYZE etf_ops.work_rows"); err != nil {
		return wrap("storing the rows that differ", err)
	}
	return nil
}
