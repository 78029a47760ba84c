package postgres

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Deadlines of calls whose context has none.
const (
	connectTimeout = 10 * time.Second
	askTimeout     = 30 * time.Second
	longTimeout    = 2 * time.Hour // a dump, a restore, the reading of a dump
)

// Why a connection did not come about.
var (
	ErrUnreachable  = errors.New("the server is not reachable")
	ErrLogin        = errors.New("the server refused the login")
	ErrNoDatabase   = errors.New("there is no such database")
	ErrFull         = errors.New("the server has no connection left")
	ErrNotAccepting = errors.New("the database accepts no connections")
)

// Codes of PostgreSQL's errors.
const (
	codeUndefinedTable  = "42P01"
	codeInvalidSchema   = "3F000"
	codeObjectInUse     = "55006"
	codeLockUnavailable = "55P03"
	codePrivilege       = "42501"
)

func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// remaining is the time that a command may take: all that ctx leaves.
func remaining(ctx context.Context) time.Duration {
	if at, ok := ctx.Deadline(); ok {
		return max(time.Until(at), time.Millisecond)
	}
	return longTimeout
}

// Connect logs in through h. The session bears applicationName (at most 63
// bytes, the server cuts the rest), by which it is found again. Errors:
// ErrUnreachable, ErrLogin, ErrNoDatabase, ErrFull, ErrNotAccepting.
func Connect(ctx context.Context, h host.Host, u URL, applicationName string) (*pgx.Conn, error) {
	ctx, cancel := withDeadline(ctx, connectTimeout)
	defer cancel()
	config, err := pgx.ParseConfig(u.DSN())
	if err != nil {
		return nil, fmt.Errorf("connecting to %s: a parameter of its URL is not right: %s", u, host.Redact(err.Error()))
	}
	config.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) { return h.Dial(ctx, network, addr) }
	// The name is resolved where the connection is made, on the host's side.
	config.LookupFunc = func(_ context.Context, name string) ([]string, error) { return []string{name}, nil }
	config.RuntimeParams["application_name"] = applicationName
	// Migrations change tables between two uses of the same statement; plans
	// or descriptions kept from before would then be wrong.
	config.DefaultQueryExecMode = pgx.QueryExecModeDescribeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, connectError(ctx, u, err)
	}
	return conn, nil
}

func connectError(ctx context.Context, u URL, err error) error {
	var answer *pgconn.PgError
	if !errors.As(err, &answer) {
		cause := err
		for next := errors.Unwrap(cause); next != nil; next = errors.Unwrap(cause) {
			cause = next
		}
		if ctx.Err() != nil {
			cause = context.Cause(ctx)
		}
		return fmt.Errorf("connecting to %s: %w: %w", u, ErrUnreachable, cause)
	}
	kind := ErrUnreachable
	switch answer.Code {
	case "28P01", "28000":
		kind = ErrLogin
	case "3D000":
		kind = ErrNoDatabase
	case "53300":
		kind = ErrFull
	case "55000":
		kind = ErrNotAccepting
	case codePrivilege:
		kind = ErrLogin
	}
	return fmt.Errorf("connecting to %s: %w: %w", u, kind, answer)
}

func hasCode(err error, codes ...string) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		for _, code := range codes {
			if answer.Code == code {
				return true
			}
		}
	}
	return false
}

// closeConn says goodbye even when the caller's time is up.
func closeConn(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	conn.Close(ctx)
}

// maintenance connects to a database of the same server that is none of
// avoid, for statements about those.
func maintenance(ctx context.Context, h host.Host, u URL, applicationName string, avoid ...string) (*pgx.Conn, error) {
	var errs []error
	for _, name := range []string{"postgres", "template1"} {
		taken := false
		for _, a := range avoid {
			taken = taken || a == name
		}
		if taken {
			continue
		}
		conn, err := Connect(ctx, h, u.WithDatabase(name), applicationName)
		if err == nil {
			return conn, nil
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

// Heads returns the rows of alembic_version, sorted; none when the table is
// missing or empty.
func Heads(ctx context.Context, conn Querier) ([]string, error) {
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('alembic_version') IS NOT NULL").Scan(&exists); err != nil || !exists {
		return nil, wrap("reading alembic_version", err)
	}
	rows, _ := conn.Query(ctx, "SELECT version_num FROM alembic_version ORDER BY 1")
	heads, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return heads, wrap("reading alembic_version", err)
}

// A Querier is a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// wrap adds what was being done to an error, and leaves nil alone.
func wrap(doing string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
