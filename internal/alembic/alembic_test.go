package alembic

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var (
	server *testserver.Postgres
	python string
	older  string // folder with SQLAlchemy 1.4 and what goes with it, to come before the newer ones
)

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) error {
		var wg sync.WaitGroup
		var errs [2]error
		wg.Go(func() { server, errs[0] = testserver.StartPostgres(dir, "max_prepared_transactions=5") })
		wg.Go(func() {
			python, errs[1] = testserver.Venv(dir, "alembic>=1.14,<2", "SQLAlchemy>=2,<3", "psycopg[binary]>=3,<4", "greenlet")
			if errs[1] == nil {
				older, errs[1] = installOlder(dir)
			}
		})
		wg.Wait()
		return errors.Join(errs[:]...)
	}))
}

// project copies the migrations and adds files to them; it gives a client on
// a database of its own, and a connection to that.
func project(t *testing.T, files map[string]string, change func(*Options)) (*Client, *pgx.Conn) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/project")); err != nil {
		t.Fatal(err)
	}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, "migrations/versions", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	name := "db" + strings.ToLower(strings.NewReplacer("/", "_").Replace(t.Name()))
	admin := connect(t, "postgres")
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	u, err := postgres.ParseURL(server.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: dir, Python: python, Env: []string{"DATABASE_URL=" + u.SQLAlchemy("psycopg"), "PYTHONDONTWRITEBYTECODE=1"}}
	if change != nil {
		change(&o)
	}
	return New(host.Local{}, o), connect(t, name)
}

func connect(t *testing.T, database string) *pgx.Conn {
	t.Helper()
	u, err := postgres.ParseURL(server.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := postgres.Connect(t.Context(), host.Local{}, u, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func migration(revision, down, rest string) string {
	return fmt.Sprintf("\"\"\"%s\"\"\"\nfrom alembic import op\nrevision = %q\ndown_revision = %q\n%s\n", revision, revision, down, rest)
}

func TestUpAndDown(t *testing.T) {
	c, conn := project(t, nil, func(o *Options) {
		o.ApplicationName, o.LockTimeout, o.StatementTimeout = "op-7 migrate", 3*time.Second, time.Minute
	})
	ctx := t.Context()
	heads, err := c.Heads(ctx)
	if err != nil || !slices.Equal(heads, []string{"0003"}) {
		t.Errorf("Heads = %v, %v", heads, err)
	}
	at := func(want ...string) {
		t.Helper()
		bySQL, err := CurrentSQL(ctx, conn)
		if err != nil || !slices.Equal(bySQL, want) {
			t.Errorf("CurrentSQL = %v, %v, want %v", bySQL, err, want)
		}
		byCommand, err := c.Current(ctx)
		if err != nil || !slices.Equal(byCommand, want) {
			t.Errorf("Current = %v, %v, want %v", byCommand, err, want)
		}
	}
	at()
	pending, err := c.Pending(ctx, "", "head")
	if err != nil || len(pending) != 3 {
		t.Fatalf("Pending = %+v, %v", pending, err)
	}
	second := pending[1]
	if second.Revision != "0002" || second.Down != "0001" || second.Title != "a note for each" || second.Compatibility != Expand ||
		filepath.Base(second.Path) != "z_second.py" || pending[0].Compatibility != "" || pending[2].Compatibility != "" {
		t.Errorf("Pending = %+v", pending)
	}
	if err := c.Check(ctx); !errors.Is(err, ErrNotUpToDate) {
		t.Errorf("Check before the migration: %v", err)
	}
	var out bytes.Buffer
	if err := c.Upgrade(ctx, "head", &out); err != nil {
		t.Fatal(err)
	}
	if s := out.String(); !strings.Contains(s, "Running upgrade 0001 -> 0002") || !strings.Contains(s, "session: op-7 migrate 3s 1min") {
		t.Errorf("output of the migration: %s", s)
	}
	at("0003")
	if err := c.Check(ctx); err != nil {
		t.Errorf("Check after the migration: %v", err)
	}
	if err := c.Downgrade(ctx, "0001", nil); err != nil {
		t.Fatal(err)
	}
	at("0001")
	if pending, err = c.Pending(ctx, "0001", "head"); err != nil || len(pending) != 2 {
		t.Errorf("Pending from 0001 = %+v, %v", pending, err)
	}
	if _, err := c.SQL(ctx, "0001", ""); err == nil || !strings.Contains(err.Error(), "is no revision") {
		t.Errorf("an upgrade to nowhere: %v", err)
	}
	sql, err := c.SQL(ctx, "0001", "0003")
	if err != nil || !strings.Contains(sql, "ADD COLUMN note") {
		t.Fatalf("SQL = %s, %v", sql, err)
	}
	if err := CheckDeclared(pending, sql); err != nil {
		t.Error(err)
	}
	if ok, reasons := Classify(sql); !ok {
		t.Errorf("Classify of what only adds: %v\n%s", reasons, sql)
	}
}

func TestDrift(t *testing.T) {
	c, conn := project(t, nil, nil)
	if err := c.Upgrade(t.Context(), "head", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "ALTER TABLE etfs ADD COLUMN by_hand int"); err != nil {
		t.Fatal(err)
	}
	if err := c.Check(t.Context()); !errors.Is(err, ErrDrift) || !strings.Contains(err.Error(), "by_hand") {
		t.Errorf("Check of a changed database: %v", err)
	}
}

func TestFaultsOfTheRelease(t *testing.T) {
	c, conn := project(t, map[string]string{"x.py": migration("000x", "0002", "def upgrade(): pass")}, nil)
	ctx := t.Context()
	if heads, err := c.Heads(ctx); err != nil || !slices.Equal(heads, []string{"0003", "000x"}) {
		t.Errorf("Heads = %v, %v", heads, err)
	}
	for name, err := range map[string]error{
		"Pending": func() error { _, err := c.Pending(ctx, "", "head"); return err }(),
		"Upgrade": c.Upgrade(ctx, "head", nil),
		"SQL":     func() error { _, err := c.SQL(ctx, "", "head"); return err }(),
	} {
		if !errors.Is(err, ErrSeveralHeads) {
			t.Errorf("%s with two heads: %v", name, err)
		}
	}
	if _, err := conn.Exec(ctx, "CREATE TABLE alembic_version (version_num varchar(32)); INSERT INTO alembic_version VALUES ('beyond')"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"Pending": func() error { _, err := c.Pending(ctx, "beyond", "0003"); return err }(),
		"Current": func() error { _, err := c.Current(ctx); return err }(),
		"Upgrade": c.Upgrade(ctx, "0003", nil),
	} {
		var unknown *UnknownRevisionError
		if !errors.As(err, &unknown) || !errors.Is(err, ErrUnknownRevision) || unknown.Revision != "beyond" {
			t.Errorf("%s from an unknown revision: %v", name, err)
		}
	}
	if err := c.Upgrade(ctx, "--sql", nil); err == nil {
		t.Error("an option passes as a revision")
	}
	for _, declaration := range []string{"# compatibility: maybe", "# compatibility: expand\n# compatibility: contract"} {
		if err := os.WriteFile(filepath.Join(c.o.Dir, "migrations/versions/x.py"), []byte(migration("000x", "0003", declaration)), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Pending(ctx, "0003", "head"); err == nil || !strings.Contains(err.Error(), "000x") {
			t.Errorf("Pending with %q: %v", declaration, err)
		}
	}
}

func TestAlembicIsMissing(t *testing.T) {
	c, _ := project(t, nil, func(o *Options) {
		o.Python = "/usr/bin/python3"
		o.Env = append(o.Env, "PYTHONNOUSERSITE=1", "PYTHONPATH=", "PYTHONSAFEPATH=1")
	})
	if _, err := c.Heads(t.Context()); !errors.Is(err, ErrMissing) {
		t.Errorf("Heads: %v", err)
	}
	if err := c.Upgrade(t.Context(), "head", nil); !errors.Is(err, ErrMissing) {
		t.Errorf("Upgrade: %v", err)
	}
}

// A migration that waits behind somebody's lock gives up by itself, and leaves
// the database as it was; its error names no password.
func TestTimeouts(t *testing.T) {
	slow := migration("0004", "0003", "def upgrade(): op.execute('ALTER TABLE etfs ADD COLUMN x int'); op.execute('SELECT pg_sleep(60)')")
	c, conn := project(t, map[string]string{"slow.py": slow}, func(o *Options) { o.LockTimeout, o.StatementTimeout = 300*time.Millisecond, time.Second })
	ctx := t.Context()
	if err := c.Upgrade(ctx, "0001", nil); err != nil {
		t.Fatal(err)
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT * FROM etfs"); err != nil {
		t.Fatal(err)
	}
	err = c.Upgrade(ctx, "0003", nil)
	if !errors.Is(err, ErrLockTimeout) || strings.Contains(err.Error(), server.Password) {
		t.Errorf("Upgrade behind a lock: %v", err)
	}
	tx.Rollback(ctx)
	if err := c.Upgrade(ctx, "head", nil); !errors.Is(err, ErrStatementTimeout) {
		t.Errorf("Upgrade with a slow statement: %v", err)
	}
	if heads, err := CurrentSQL(ctx, conn); err != nil || !slices.Equal(heads, []string{"0003"}) {
		t.Errorf("after the failures: %v, %v", heads, err)
	}
}
