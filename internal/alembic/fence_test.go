package alembic

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

func takeFence(t *testing.T, conn *pgx.Conn, token int64, operation string) {
	t.Helper()
	if err := errors.Join(postgres.EnsureOps(t.Context(), conn), postgres.TakeFence(t.Context(), conn, token, operation)); err != nil {
		t.Fatal(err)
	}
}

func wantFenced(t *testing.T, err error, says string) {
	t.Helper()
	if !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "Traceback") {
		t.Errorf("not fenced off with %q: %v", says, err)
	}
}

func wantTable(t *testing.T, conn *pgx.Conn, name string, want bool) {
	t.Helper()
	var there bool
	if err := conn.QueryRow(t.Context(), "SELECT to_regclass($1) IS NOT NULL", name).Scan(&there); err != nil || there != want {
		t.Errorf("%s is there: %v, %v, want %v", name, there, err, want)
	}
}

// An env.py with an asynchronous engine.
const asynchronous = `
import asyncio, os
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine

def migrate(connection):
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()

async def main():
    engine = create_async_engine(os.environ["DATABASE_URL"])
    async with engine.connect() as connection:
        await connection.run_sync(migrate)
    await engine.dispose()

asyncio.run(main())
`

// An env.py as Alembic's template for several databases has it.
const twoPhase = `
import os
from alembic import context
from sqlalchemy import create_engine, pool

engine = create_engine(os.environ["DATABASE_URL"], poolclass=pool.NullPool)
connection = engine.connect()
transaction = connection.begin_twophase()
context.configure(connection=connection)
context.run_migrations()
transaction.prepare()
transaction.commit()
`

// An env.py that goes on after every failure.
const careless = `
import os
from alembic import context
from sqlalchemy import create_engine

engine = create_engine(os.environ["DATABASE_URL"])
with engine.connect() as connection:
    for _ in range(2):
        try:
            context.configure(connection=connection)
            with context.begin_transaction():
                context.run_migrations()
        except BaseException:
            pass
`

// Without the fence's present token nothing is changed; with it, or where no
// fence is asked for, all is done.
func TestFence(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{"plain": "", "two": twoConnections, "async": asynchronous, "twophase": twoPhase, "careless": careless} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			generations(t, func(t *testing.T, use func(*Options)) {
				files := map[string]string{}
				if env != "" {
					files["../env.py"] = env
				}
				c, conn := project(t, files, use)
				if name == "async" && len(c.o.Env) > 2 {
					return // psycopg2 has no asynchronous sessions
				}
				upgrade := func(token int64) error {
					return with(c, func(o *Options) { o.Fence, o.LockTimeout = token, 5*time.Second }).Upgrade(t.Context(), "head", nil)
				}
				wantFenced(t, upgrade(4), "no etf_ops.fence")
				if name == "plain" {
					if err := postgres.EnsureOps(t.Context(), conn); err != nil {
						t.Fatal(err)
					}
					wantFenced(t, upgrade(4), "never taken")
				}
				takeFence(t, conn, 4, "op-a")
				wantFenced(t, upgrade(3), "operation op-a has held the fence since ")
				if name == "plain" {
					wantFenced(t, upgrade(5), "still has token 4 of operation op-a, not 5")
				}
				wantTable(t, conn, "alembic_version", false)
				wantTable(t, conn, "etfs", false)
				if err := upgrade(4); err != nil {
					t.Error(err)
				}
				wantHeads(t, conn, "0003")
				wantFenced(t, with(c, func(o *Options) { o.Fence = 3 }).Downgrade(t.Context(), "base", nil), "op-a")
				wantHeads(t, conn, "0003")
			})
		})
	}
}

// Nobody can take the fence from a transaction of a migration.
func TestFenceIsHeld(t *testing.T) {
	t.Parallel()
	c, conn := project(t, map[string]string{"gate.py": gate}, func(o *Options) { o.Fence, o.ApplicationName = 4, "etf-deploy/op-a" })
	takeFence(t, conn, 4, "op-a")
	execute(t, conn, "SELECT pg_advisory_lock(77)")
	ends := later(func() error { return c.Upgrade(t.Context(), "head", nil) })
	await(t, conn, atGate)
	err := postgres.TakeFence(t.Context(), connect(t, conn.Config().Database), 5, "op-b")
	if !errors.Is(err, postgres.ErrFenceBusy) || !strings.Contains(err.Error(), "etf-deploy/op-a") {
		t.Errorf("TakeFence during a migration: %v", err)
	}
	execute(t, conn, "SELECT pg_advisory_unlock(77)")
	if err := ends(t); err != nil {
		t.Error(err)
	}
	wantHeads(t, conn, "0004")
}

// A fence that is moved between two migrations keeps the second out.
func TestFenceMovesBetweenMigrations(t *testing.T) {
	t.Parallel()
	generations(t, func(t *testing.T, use func(*Options)) {
		// The pause is before the next transaction begins.
		pausing := migration("0004", "0003", `
import os, time
from sqlalchemy.engine import Connection
begin = Connection._begin_impl
def pause(conn, transaction):
    while not os.path.exists("go-on"):
        time.sleep(0.02)
    return begin(conn, transaction)
def upgrade():
    op.execute("CREATE TABLE fourth (id int)")
    Connection._begin_impl = pause`)
		fifth := migration("0005", "0004", "def upgrade(): op.execute('CREATE TABLE fifth (id int)')")
		c, conn := project(t, map[string]string{"a.py": pausing, "b.py": fifth}, use)
		takeFence(t, conn, 4, "op-a")
		c = with(c, func(o *Options) { o.Fence = 4 })
		if err := c.Upgrade(t.Context(), "0003", nil); err != nil {
			t.Fatal(err)
		}
		ends := later(func() error { return c.Upgrade(t.Context(), "head", nil) })
		await(t, conn, "SELECT version_num = '0004' FROM alembic_version")
		takeFence(t, conn, 5, "op-b")
		if err := os.WriteFile(filepath.Join(c.o.Dir, "go-on"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantFenced(t, ends(t), "op-b")
		wantHeads(t, conn, "0004")
		wantTable(t, conn, "fourth", true)
		wantTable(t, conn, "fifth", false)
	})
}

// In an autocommit block each statement is checked by itself.
func TestAutocommitBlock(t *testing.T) {
	t.Parallel()
	generations(t, func(t *testing.T, use func(*Options)) {
		block := migration("0004", "0003", `
def upgrade():
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY ix_a ON etfs (note)")
        op.execute("SELECT pg_advisory_lock(77), pg_advisory_unlock(77)")
        op.execute("CREATE INDEX CONCURRENTLY IF NOT EXISTS ix_b ON etfs (note)")
    op.execute("CREATE TABLE fourth (id int)")
def downgrade():
    op.execute("DROP TABLE fourth")
    with op.get_context().autocommit_block():
        op.execute("DROP INDEX CONCURRENTLY ix_a")`)
		c, conn := project(t, map[string]string{"a.py": block}, use)
		takeFence(t, conn, 4, "op-a")
		c = with(c, func(o *Options) { o.Fence = 4 })
		if err := c.Upgrade(t.Context(), "head", nil); err != nil {
			t.Fatal(err)
		}
		wantTable(t, conn, "ix_b", true)
		if err := c.Downgrade(t.Context(), "0003", nil); err != nil {
			t.Fatal(err)
		}
		execute(t, conn, "DROP INDEX ix_b")
		execute(t, conn, "SELECT pg_advisory_lock(77)")
		ends := later(func() error { return c.Upgrade(t.Context(), "head", nil) })
		await(t, conn, atGate)
		takeFence(t, conn, 5, "op-b")
		execute(t, conn, "SELECT pg_advisory_unlock(77)")
		wantFenced(t, ends(t), "op-b")
		wantTable(t, conn, "ix_a", true)
		wantTable(t, conn, "ix_b", false)
		wantTable(t, conn, "fourth", false)
		wantHeads(t, conn, "0003")
	})
}
