package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// OpsSchema holds everything that the suite keeps in a database. Nothing of
// it lies in public, where Alembic would take it for a difference.
const OpsSchema = "etf_ops"

// opsVersion is the layout that this program makes and understands.
const opsVersion = 1

// fenceWait is how long TakeFence waits for transactions under the old fence.
var fenceWait = 5 * time.Second // shorter in a test

// The advisory lock lets two first users of a database in one after the other.
const opsSQL = `
SELECT pg_advisory_xact_lock(hashtext('etf_ops'));
CREATE SCHEMA IF NOT EXISTS etf_ops;
CREATE TABLE IF NOT EXISTS etf_ops.layout (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	version int NOT NULL
);
CREATE TABLE IF NOT EXISTS etf_ops.fence (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	token bigint NOT NULL,
	operation text NOT NULL,
	taken_at timestamptz NOT NULL
);
INSERT INTO etf_ops.layout (version) VALUES (1) ON CONFLICT DO NOTHING;
`

// EnsureOps makes the schema etf_ops where it is missing. A layout of a newer
// version is an error.
func EnsureOps(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	var version int
	err := conn.QueryRow(ctx, "SELECT version FROM etf_ops.layout").Scan(&version)
	if err == nil && version > opsVersion {
		return fmt.Errorf("preparing schema %s: its layout is version %d, this program knows %d: use the newer program", OpsSchema, version, opsVersion)
	}
	if err == nil && version == opsVersion {
		return nil
	}
	if err != nil && !errors.Is(err, pgx.ErrNoRows) && !hasCode(err, codeUndefinedTable, codeInvalidSchema) {
		return wrap("preparing schema "+OpsSchema, err)
	}
	return wrap("preparing schema "+OpsSchema, pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Conn().PgConn().Exec(ctx, opsSQL).ReadAll()
		return err
	}))
}

// ErrFenced says that another operation holds the fence now.
var ErrFenced = errors.New("fenced off")

// A FencedError names the operation that holds the fence; it is ErrFenced.
type FencedError struct {
	Token, Present int64 // ours, and the one in the database; 0: none
	Operation      string
	TakenAt        time.Time
}

func (e *FencedError) Error() string {
	if e.Present == 0 {
		return fmt.Sprintf("%v: token %d was never taken in this database: take the fence first", ErrFenced, e.Token)
	}
	if e.Present < e.Token {
		return fmt.Sprintf("%v: the fence still has token %d of operation %s, not %d: take it first", ErrFenced, e.Present, e.Operation, e.Token)
	}
	return fmt.Sprintf("%v: operation %s has held the fence since %s (token %d, ours is %d): nothing was changed", ErrFenced, e.Operation, e.TakenAt.UTC().Format(time.RFC3339), e.Present, e.Token)
}

// Is makes it ErrFenced.
func (e *FencedError) Is(target error) bool { return target == ErrFenced }

// ErrFenceBusy says that transactions under the old fence have not ended.
var ErrFenceBusy = errors.New("transactions under the present fence are still open")

// TakeFence moves the fence to token and operation, which it holds until a
// higher token comes. It only moves forward; to take again what one holds is
// fine, also for another operation: who has a lease may tidy up after an
// earlier one under the same token. It waits at most five seconds for transactions under the old fence:
// when they do not end it gives ErrFenceBusy with their sessions, which are to
// be ended (EndSessions) before trying again. Needs EnsureOps.
func TakeFence(ctx context.Context, conn *pgx.Conn, token int64, operation string) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", fenceWait.Milliseconds())); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, `INSERT INTO etf_ops.fence AS f (token, operation, taken_at) VALUES ($1, $2, clock_timestamp())
			ON CONFLICT (one) DO UPDATE SET token = excluded.token, operation = excluded.operation, taken_at = excluded.taken_at
			WHERE f.token <= excluded.token`, token, operation)
		if err == nil && tag.RowsAffected() == 0 {
			err = fenced(ctx, tx, token, "")
		}
		return err
	})
	if hasCode(err, codeLockUnavailable) {
		err = fmt.Errorf("%w: sessions %s", ErrFenceBusy, fenceHolders(ctx, conn))
	}
	return wrap("taking the fence for "+operation, err)
}

// fenceHolders names the sessions that have the fence's row locked.
func fenceHolders(ctx context.Context, conn *pgx.Conn) string {
	rows, _ := conn.Query(ctx, `SELECT format('%s (%s)', a.application_name, a.pid) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
		WHERE l.relation = 'etf_ops.fence'::regclass AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
		AND l.pid <> pg_backend_pid() AND l.granted ORDER BY 1`)
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "unknown"
	}
	return strings.Join(names, ", ")
}

// fenced compares the token in the database with ours and gives a
// *FencedError unless they are the same.
func fenced(ctx context.Context, tx pgx.Tx, token int64, lock string) error {
	e := &FencedError{Token: token}
	err := tx.QueryRow(ctx, "SELECT token, operation, taken_at FROM etf_ops.fence "+lock).Scan(&e.Present, &e.Operation, &e.TakenAt)
	if errors.Is(err, pgx.ErrNoRows) || hasCode(err, codeUndefinedTable, codeInvalidSchema) {
		return e
	}
	if err != nil || lock != "" && e.Present == token {
		return err
	}
	return e
}

// WithFence runs f in a transaction that holds the fence: as long as it is
// open nobody can move the fence, and once it has been moved (by an operation
// that took over) no transaction of the old token begins. Gives a *FencedError
// with nothing changed when token is not the present one.
func WithFence(ctx context.Context, conn *pgx.Conn, token int64, f func(tx pgx.Tx) error) error {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := fenced(ctx, tx, token, "FOR SHARE"); err != nil {
			return err
		}
		return f(tx)
	})
}
