package postgres

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

const ownerPassword, appPassword = "owner-s3cret'\\@/", "app-s3cret-2"

var server *testserver.Postgres

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) (err error) {
		if server, err = testserver.StartPostgres(dir, "max_prepared_transactions=2"); err != nil {
			return err
		}
		fenceWait = 300 * time.Millisecond
		conn, err := pgx.Connect(context.Background(), server.URL("postgres"))
		if err != nil {
			return err
		}
		defer conn.Close(context.Background())
		_, err = conn.PgConn().Exec(context.Background(), `
			CREATE ROLE etf_app LOGIN PASSWORD '`+appPassword+`';
			CREATE ROLE etf_owner LOGIN CREATEDB PASSWORD '`+strings.ReplaceAll(ownerPassword, "'", "''")+`' IN ROLE etf_app, pg_signal_backend`).ReadAll()
		return err
	}))
}

// owner is the address of a database for its owning role.
func owner(database string) URL {
	u, err := ParseURL(server.URL(database))
	if err != nil {
		panic(err)
	}
	u.User, u.Password = "etf_owner", ownerPassword
	host.AddSecret(ownerPassword)
	return u
}

var numbers struct {
	sync.Mutex
	n int
}

// newDatabase makes an empty database of the owner's.
func newDatabase(t *testing.T, base string) URL {
	t.Helper()
	numbers.Lock()
	numbers.n++
	name := fmt.Sprintf("%s_%d", base, numbers.n)
	numbers.Unlock()
	conn := connect(t, owner("postgres"))
	exec(t, conn, "CREATE DATABASE "+name)
	t.Cleanup(func() {
		if err := DropSide(context.Background(), host.Local{}, owner(name), "cleanup"); err != nil {
			t.Error(err)
		}
	})
	return owner(name)
}

func connect(t *testing.T, u URL, name ...string) *pgx.Conn {
	t.Helper()
	conn, err := Connect(t.Context(), host.Local{}, u, strings.Join(append(name, "test"), ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeConn(context.Background(), conn) })
	return conn
}

func exec(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.PgConn().Exec(t.Context(), sql).ReadAll(); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func scan[T any](t *testing.T, conn Querier, sql string) (v T) {
	t.Helper()
	if err := conn.QueryRow(t.Context(), sql).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

// fill makes a schema with much of what a real one has, and rows, some of
// which look like the syntax of a dump.
func fill(t *testing.T, u URL, prices int) {
	t.Helper()
	conn := connect(t, u)
	exec(t, conn, `
CREATE TYPE quality AS ENUM ('good', 'bad');
CREATE DOMAIN isin AS varchar(12) CHECK (VALUE ~ '^[A-Z]{2}');
CREATE TABLE etfs (id varchar PRIMARY KEY, isin isin, name varchar, dropped int, ter numeric(10,4) DEFAULT 0.2, q quality DEFAULT 'good');
ALTER TABLE etfs DROP COLUMN dropped;
ALTER TABLE etfs ADD COLUMN currency varchar NOT NULL DEFAULT 'EUR';
CREATE TABLE etf_prices (id serial PRIMARY KEY, etf_id varchar NOT NULL REFERENCES etfs, date date NOT NULL, price numeric(20,2) NOT NULL,
	currency varchar NOT NULL DEFAULT 'EUR' CHECK (currency IN ('EUR', 'USD', 'it''s')), CHECK (price > 0), UNIQUE (etf_id, date));
CREATE INDEX ON etf_prices (date) WHERE currency IN ('EUR', 'USD');
CREATE TABLE etf_updates (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, etf_id varchar REFERENCES etfs ON DELETE CASCADE,
	status varchar(20) DEFAULT 'pending' CHECK (status IN ('pending', 'processing', 'completed')), error text, twice int GENERATED ALWAYS AS (1 + 1) STORED);
CREATE TABLE "Odd ""name"".with (all) FROM stdin;" (a text, "b c" text);
CREATE TABLE empty (a int);
CREATE TABLE parts (d date NOT NULL, n int) PARTITION BY RANGE (d);
CREATE TABLE parts_26 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE VIEW latest AS SELECT e.id, max(p.date) AS date FROM etfs e LEFT JOIN etf_prices p ON p.etf_id = e.id AND p.currency IN ('EUR', 'USD') GROUP BY e.id;
CREATE MATERIALIZED VIEW counts AS SELECT count(*) FROM etf_prices;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.error := 'a  b'; RETURN NEW; END $$;
CREATE TRIGGER touched BEFORE INSERT ON etf_updates FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY);
INSERT INTO alembic_version VALUES ('0002');
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO etf_app;
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO etf_app;
INSERT INTO etfs SELECT 'E' || i FROM generate_series(1, 10) i;
INSERT INTO parts SELECT date '2026-01-01' + i, i FROM generate_series(1, 30) i;
INSERT INTO "Odd ""name"".with (all) FROM stdin;" VALUES (E'\\.', E'\n\\.\n'), (E'COPY public.etfs (id) FROM stdin;', NULL), ('', E'\\.\nCOPY public.empty (a) FROM stdin;\n1\n\\.\n'), (E'\r\n\t\b', 'ä€');
`)
	exec(t, conn, fmt.Sprintf(`INSERT INTO etf_prices (etf_id, date, price) SELECT 'E' || (1 + i %% 10), date '1999-01-01' + i / 10, 1 + i %% 500 FROM generate_series(0, %d - 1) i; ANALYZE`, prices))
}

const oddTable = `public.Odd "name".with (all) FROM stdin;`

// A recorder is this machine, and remembers the commands.
type recorder struct {
	host.Local
	mu       sync.Mutex
	commands []host.Command
}

func (r *recorder) Run(ctx context.Context, c host.Command) (host.Result, error) {
	r.mu.Lock()
	r.commands = append(r.commands, c)
	r.mu.Unlock()
	return r.Local.Run(ctx, c)
}
