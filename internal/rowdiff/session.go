package rowdiff

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// sessionSQL makes a session write values as pg_dump does, whatever the role
// or the database has set, and has nothing end it in the midst of its work.
// Rows hidden by row level security would be taken for deleted: that is an
// error instead.
const sessionSQL = `SET DateStyle = ISO; SET IntervalStyle = postgres; SET TimeZone = 'UTC'; SET extra_float_digits = 3; SET bytea_output = hex; SET xmlbinary = base64;
SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0; SET default_transaction_read_only = off; SET default_transaction_deferrable = off;
SET row_security = off; SET client_min_messages = warning; SET standard_conforming_strings = on; SET jit = off; SET work_mem = '64MB';
SET default_transaction_isolation = `

// Isolation levels of a session's transactions.
const (
	oneMoment = "'repeatable read'" // a whole transaction sees the database as at its beginning
	present   = "'read committed'"  // each statement sees what is committed
)

// open logs in and prepares the session.
func open(ctx context.Context, h host.Host, u postgres.URL, applicationName, isolation string) (*pgx.Conn, error) {
	conn, err := postgres.Connect(ctx, h, u, applicationName)
	if err != nil {
		return nil, err
	}
	if err := execAll(ctx, conn, sessionSQL+isolation); err != nil {
		closeConn(ctx, conn)
		return nil, wrap("preparing a session in "+u.Database, err)
	}
	return conn, nil
}

// closeConn says goodbye even when the caller's time is up.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	conn.Close(ctx)
}

// execAll runs statements that take no parameters.
func execAll(ctx context.Context, conn *pgx.Conn, sql string) error {
	_, err := conn.PgConn().Exec(ctx, sql).ReadAll()
	return err
}

// Codes of PostgreSQL's errors.
const (
	codeSerialization   = "40001"
	codeDeadlock        = "40P01"
	codeLockUnavailable = "55P03"
	codeUndefinedTable  = "42P01"
	codeInvalidSchema   = "3F000"
)

// code is that of PostgreSQL's error, empty for any other.
func code(err error) string {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}

// ofValues reports whether the values of single rows are what the server will
// not have: constraints, types, what a trigger raises. Anything else would
// concern every row.
func ofValues(err error) bool {
	c := code(err)
	return strings.HasPrefix(c, "23") || strings.HasPrefix(c, "22") || strings.HasPrefix(c, "P0") ||
		c == "428C9" || c == "42804" || c == "42846" || c == "44000" || c == codeLockUnavailable || c == codeDeadlock
}

// message is PostgreSQL's own words about an error, on one line.
func message(err error) string {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		return oneLine(err.Error())
	}
	if answer.Detail != "" {
		return oneLine(answer.Message + ": " + answer.Detail)
	}
	return oneLine(answer.Message)
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// wrap adds what was being done to an error, and leaves nil alone.
func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// literal quotes a string for statements that take no parameters; the session
// has standard_conforming_strings on.
func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// report is a Progress that may be nil.
type report func(done, total int64, text string)

func (r report) say(done, total int64, text string) {
	if r != nil {
		r(min(done, total), total, text)
	}
}
