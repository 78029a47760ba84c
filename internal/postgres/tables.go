package postgres

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// TableName quotes a name as the server folds it, with or without a schema.
func TableName(name string) string { return pgx.Identifier(strings.Split(name, ".")).Sanitize() }

// TableSize is what a table, view or index takes with its indexes, its TOAST
// and its partitions, and how many rows the planner takes it to have; -1 and -1
// where there is none of that name. An empty name is the whole database.
func TableSize(ctx context.Context, conn Querier, table string) (bytes, rows int64, err error) {
	if table == "" {
		err = conn.QueryRow(ctx, "SELECT pg_database_size(current_database())").Scan(&bytes)
		return bytes, -1, wrap("measuring the database", err)
	}
	err = conn.QueryRow(ctx, `WITH RECURSIVE t AS (SELECT to_regclass($1)::oid AS oid UNION SELECT i.inhrelid FROM pg_inherits i JOIN t ON t.oid = i.inhparent)
		SELECT coalesce(sum(pg_total_relation_size(c.oid)), -1)::bigint, coalesce(sum(greatest(c.reltuples, 0)), -1)::bigint
		FROM t JOIN pg_class c ON c.oid = t.oid`, TableName(table)).Scan(&bytes, &rows)
	return bytes, rows, wrap("measuring "+table, err)
}

// NotUnderstood reports whether the server refused a statement for what it
// says: a name that is not there, a wrong word, a right that is missing.
func NotUnderstood(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && strings.HasPrefix(answer.Code, "42")
}

// A Bookkeeping is what a database says of its own migrations.
type Bookkeeping struct {
	Heads     []string // rows of alembic_version, sorted
	Missing   bool     // there is no such table on the search path
	Elsewhere []string // schemas off the search path that have one
	Tables    []string // of the database but for that one, the suite's and those of extensions, sorted
}

// ReadBookkeeping reads Alembic's table, and what there is besides it.
func ReadBookkeeping(ctx context.Context, conn Querier) (b Bookkeeping, err error) {
	if b.Heads, err = Heads(ctx, conn); err != nil {
		return b, err
	}
	err = conn.QueryRow(ctx, `WITH t AS (SELECT c.oid, n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE c.relkind IN ('r', 'p') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'etf_ops')
			AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
		SELECT to_regclass('alembic_version') IS NULL,
			ARRAY(SELECT nspname::text FROM t WHERE relname = 'alembic_version' AND oid IS DISTINCT FROM to_regclass('alembic_version')::oid ORDER BY 1),
			ARRAY(SELECT nspname || '.' || relname FROM t WHERE relname <> 'alembic_version' ORDER BY 1)`).Scan(&b.Missing, &b.Elsewhere, &b.Tables)
	return b, wrap("looking for alembic_version", err)
}

// Identity is what two addresses of the same database have in common, however
// they are written: its cluster, the present life of the server, and its number.
func Identity(ctx context.Context, conn Querier) (id string, err error) {
	err = conn.QueryRow(ctx, `SELECT concat_ws(' ', (SELECT system_identifier FROM pg_control_system()), extract(epoch FROM pg_postmaster_start_time()), oid)
		FROM pg_database WHERE datname = current_database()`).Scan(&id)
	return id, wrap("asking which database this is", err)
}
