package postgres

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Session is one client's connection to the server.
type Session struct {
	PID         int
	Application string
	User        string
	Database    string
	State       string        // active, idle, "idle in transaction", …; empty: not ours to see
	Transaction time.Duration // since its transaction began; 0: none open
	Query       time.Duration // since its present statement began; 0: none runs
	Wait        string        // what it waits for, such as Lock:transactionid
	BlockedBy   []int         // sessions that hold the lock that it waits for
	Statement   string        // the first 200 characters of its last statement
}

// Sessions lists the clients' sessions whose application name begins with
// prefix, on the whole server, those with the longest transaction first. The
// own one is left out.
func Sessions(ctx context.Context, conn Querier, prefix string) ([]Session, error) {
	return sessions(ctx, conn, "starts_with(application_name, $1)", prefix)
}

// Of a session that is not ours to see, PostgreSQL does not tell even that it
// is a client's.
func sessions(ctx context.Context, conn Querier, where string, arg any) ([]Session, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	rows, _ := conn.Query(ctx, `SELECT pid, application_name, coalesce(usename, ''), coalesce(datname, ''), coalesce(state, ''),
		coalesce(extract(epoch FROM clock_timestamp() - xact_start)::float8, 0),
		CASE WHEN state = 'active' THEN coalesce(extract(epoch FROM clock_timestamp() - query_start)::float8, 0) ELSE 0 END,
		CASE WHEN state = 'active' THEN coalesce(wait_event_type || ':' || wait_event, '') ELSE '' END,
		pg_blocking_pids(pid), left(query, 200)
		FROM pg_stat_activity
		WHERE (backend_type = 'client backend' OR backend_type IS NULL AND usesysid IS NOT NULL AND datid IS NOT NULL) AND pid <> pg_backend_pid() AND `+where+` ORDER BY xact_start NULLS LAST, pid`, arg)
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (s Session, err error) {
		var transaction, query float64
		err = row.Scan(&s.PID, &s.Application, &s.User, &s.Database, &s.State, &transaction, &query, &s.Wait, &s.BlockedBy, &s.Statement)
		s.Transaction, s.Query = seconds(transaction), seconds(query)
		return s, err
	})
	return all, wrap("listing sessions", err)
}

func seconds(s float64) time.Duration { return time.Duration(max(0, s) * float64(time.Second)) }

// EndSessions ends the sessions whose application name begins with prefix, on
// the whole server, waits until they are gone, and returns how many there
// were. Sessions of superusers can be ended by superusers only.
func EndSessions(ctx context.Context, conn *pgx.Conn, prefix string) (int, error) {
	if prefix == "" {
		return 0, fmt.Errorf("ending sessions: an empty application name would end everybody's")
	}
	return endSessions(ctx, conn, "starts_with(application_name, $1)", prefix)
}

func endSessions(ctx context.Context, conn *pgx.Conn, where string, arg any) (int, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	ended := map[int]bool{}
	for {
		left, err := sessions(ctx, conn, where, arg)
		if err != nil || len(left) == 0 {
			return len(ended), wrap("ending sessions", err)
		}
		// Those that wait for a lock first: ended after the one that holds
		// it, they would get the lock and might finish their statement.
		slices.SortStableFunc(left, func(a, b Session) int { return len(b.BlockedBy) - len(a.BlockedBy) })
		for _, s := range left {
			if ended[s.PID] {
				continue
			}
			// false: it has ended by itself.
			if _, err := conn.Exec(ctx, "SELECT pg_terminate_backend($1)", s.PID); err != nil {
				return len(ended), fmt.Errorf("ending session %d of %s (%s): %w", s.PID, s.User, s.Application, err)
			}
			ended[s.PID] = true
		}
		select {
		case <-ctx.Done():
			return len(ended), fmt.Errorf("ending sessions: still there: %s: %w", describe(left), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func describe(all []Session) string {
	names := make([]string, len(all))
	for i, s := range all {
		names[i] = fmt.Sprintf("%d of %s (%s)", s.PID, s.User, s.Application)
	}
	return strings.Join(names, ", ")
}

// SessionLimits are how many sessions there are and may be.
type SessionLimits struct {
	Sessions int // of clients, on the whole server
	Server   int // max_connections without those that are reserved for superusers
	Role     int // of the role that was asked for; 0: not limited
	Database int // of the present database; 0: not limited
}

// LimitsOfSessions counts the sessions of the server against its limits, and names
// those of a role and of the present database.
func LimitsOfSessions(ctx context.Context, conn Querier, role string) (l SessionLimits, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	err = conn.QueryRow(ctx, `SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
		current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
		coalesce((SELECT greatest(rolconnlimit, 0) FROM pg_roles WHERE rolname = $1), 0),
		(SELECT greatest(datconnlimit, 0) FROM pg_database WHERE datname = current_database())`, role).Scan(&l.Sessions, &l.Server, &l.Role, &l.Database)
	return l, wrap("counting sessions", err)
}
