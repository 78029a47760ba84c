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
