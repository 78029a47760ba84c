package alembic

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// gate is a migration that waits in its transaction until the test lets it on.
var gate = migration("0004", "0003", `
def upgrade():
    op.execute("CREATE TABLE gated (id int)")
    op.execute("SELECT pg_advisory_xact_lock(77)")
def downgrade():
    op.execute("DROP TABLE gated")`)

// twoConnections has its lock first in a session that then does nothing.
const twoConnections = `
import os
from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
with engine.connect() as idle, engine.connect() as connection:
    idle.execute(text("SELECT 1"))
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
`

const atGate = `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`

func wantHeads(t *testing.T, conn *pgx.Conn, want ...string) {
	t.Helper()
	if heads, err := CurrentSQL(t.Context(), conn); err != nil || !slices.Equal(heads, want) {
		t.Errorf("the database is at %v, %v, want %v", heads, err, want)
	}
}

func wantBusy(t *testing.T, err error, application string, pid uint32) {
	t.Helper()
	if holder := fmt.Sprintf("%s (%d)", application, pid); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), holder+" still has") ||
		!strings.Contains(err.Error(), "nothing was changed") || strings.Contains(err.Error(), "Traceback") {
		t.Errorf("not busy with %s: %v", holder, err)
	}
}

func pidOf(t *testing.T, conn *pgx.Conn) (pid uint32) {
	t.Helper()
	err := conn.QueryRow(t.Context(), `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND objid = 77 AND NOT granted
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`).Scan(&pid)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// Of two migrations the second waits, names the first when it gives up, and
// goes on when the first ends in time.
func TestOneMigrationAtATime(t *testing.T) {
	t.Parallel()
	generations(t, func(t *testing.T, use func(*Options)) {
		c, conn := project(t, map[string]string{"gate.py": gate}, use)
		ctx := t.Context()
		execute(t, conn, "SELECT pg_advisory_lock(77)")
		first := with(c, func(o *Options) { o.ApplicationName = "etf-deploy/first" })
		firstEnds := later(func() error { return first.Upgrade(ctx, "head", nil) })
		await(t, conn, atGate)
		hasty := with(c, func(o *Options) { o.LockTimeout = 400 * time.Millisecond })
		began := time.Now()
		wantBusy(t, hasty.Upgrade(ctx, "head", nil), "etf-deploy/first", pidOf(t, conn))
		if waited := time.Since(began); waited < 400*time.Millisecond {
			t.Errorf("it gave up after %s", waited)
		}
		wantBusy(t, hasty.Downgrade(ctx, "base", nil), "etf-deploy/first", pidOf(t, conn))
		wantHeads(t, conn, "0003")
		out := make(lines, 100)
		patient := with(c, func(o *Options) { o.LockTimeout = 20 * time.Second })
		patientEnds := later(func() error { return patient.Upgrade(ctx, "head", out) })
		out.await(t, "waiting for session etf-deploy/first")
		execute(t, conn, "SELECT pg_advisory_unlock(77)")
		if err := errors.Join(firstEnds(t), patientEnds(t)); err != nil {
			t.Error(err)
		}
		wantHeads(t, conn, "0004")
	})
}

// The server goes on for a killed alembic, and keeps others out until it ends;
// also when the session that had the lock first has ended with the process.
func TestKilledMigration(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"one": "", "two": twoConnections} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"gate.py": gate}
			if env != "" {
				files["../env.py"] = env
			}
			c, conn := project(t, files, nil)
			execute(t, conn, "SELECT pg_advisory_lock(77)")
			pids := make(chan int, 1)
			ctx := host.WithOperation(t.Context(), host.Operation{Started: func(p host.Process, _ string) error { pids <- p.PID; return nil }})
			first := with(c, func(o *Options) { o.ApplicationName = "etf-deploy/killed" })
			ends := later(func() error { return first.Upgrade(ctx, "head", nil) })
			await(t, conn, atGate)
			if err := syscall.Kill(<-pids, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			if err := ends(t); err == nil || !strings.Contains(err.Error(), "ended by killed") {
				t.Errorf("the killed one: %v", err)
			}
			next := with(c, func(o *Options) { o.LockTimeout = 300 * time.Millisecond })
			wantBusy(t, next.Upgrade(t.Context(), "head", nil), "etf-deploy/killed", pidOf(t, conn))
			execute(t, conn, "SELECT pg_advisory_unlock(77)")
			await(t, conn, "SELECT count(*) = 0 FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'etf-deploy/killed'")
			wantHeads(t, conn, "0003")
			if err := next.Upgrade(t.Context(), "head", io.Discard); err != nil {
				t.Error(err)
			}
			wantHeads(t, conn, "0004")
		})
	}
}

// onlyConnects begins no transaction that SQLAlchemy knows of.
const onlyConnects = `
import os
from sqlalchemy import create_engine

connection = create_engine(os.environ["DATABASE_URL"]).connect()
connection.connection.cursor().execute("CREATE TABLE past (id int)")
connection.connection.commit()
`

// Whoever else takes the documented key keeps migrations out, from their
// connection on; their lock is let go with the session.
func TestLockKey(t *testing.T) {
	t.Parallel()
	c, conn := project(t, map[string]string{"../env.py": onlyConnects}, func(o *Options) { o.LockTimeout = 100 * time.Millisecond })
	execute(t, conn, "SELECT pg_advisory_lock("+LockKey+")")
	wantBusy(t, c.Upgrade(t.Context(), "head", nil), "test", conn.PgConn().PID())
	wantTable(t, conn, "past", false)
	execute(t, conn, "SELECT pg_advisory_unlock("+LockKey+")")
	if err := c.Upgrade(t.Context(), "head", nil); err != nil {
		t.Error(err)
	}
	wantTable(t, conn, "past", true)
	await(t, conn, "SELECT pg_try_advisory_lock("+LockKey+")")
}

// While a migration waits behind a long query, those who come later wait
// behind the migration, but no longer than its lock_timeout.
func TestBehindALongQuery(t *testing.T) {
	t.Parallel()
	c, conn := project(t, nil, func(o *Options) { o.LockTimeout = 700 * time.Millisecond })
	ctx := t.Context()
	if err := c.Upgrade(ctx, "0001", nil); err != nil {
		t.Fatal(err)
	}
	execute(t, conn, "BEGIN; SELECT * FROM etfs")
	ends := later(func() error { return c.Upgrade(ctx, "0002", nil) })
	other := connect(t, conn.Config().Database)
	await(t, other, "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'etfs'::regclass AND NOT granted)")
	began := time.Now()
	execute(t, other, "SELECT * FROM etfs")
	if waited := time.Since(began); waited > 1200*time.Millisecond {
		t.Errorf("a new query waited %s", waited)
	}
	if err := ends(t); !errors.Is(err, ErrLockTimeout) {
		t.Errorf("Upgrade behind a query: %v", err)
	}
	execute(t, conn, "ROLLBACK")
	wantHeads(t, conn, "0001")
}

// A database of another kind is left alone.
func TestSQLite(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "db")
	c, _ := project(t, nil, func(o *Options) { o.Env, o.Fence = append(o.Env, "DATABASE_URL=sqlite:///"+file), 4 })
	if err := c.Upgrade(context.WithoutCancel(t.Context()), "0002", nil); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}
