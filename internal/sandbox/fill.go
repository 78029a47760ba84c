package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
)

// loading is the database's name until it is complete. A run that is cut
// short leaves only this behind, and the next one begins anew.
const loading = database + "_loading"

// fill creates roles and database and loads the history, unless the database
// is there.
func (s *Sandbox) fill(ctx context.Context) error {
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	const query = "select exists (select from pg_database where datname = $1)"
	if err := conn.QueryRow(ctx, query, database).Scan(&exists); err != nil {
		return err
	}
	if !exists {
		if err := s.load(ctx, conn); err != nil {
			return fmt.Errorf("filling the database: %w", err)
		}
	}
	if s.st.Filled {
		return nil
	}
	s.st.Filled = true
	return s.saveState()
}

func (s *Sandbox) load(ctx context.Context, conn *pgx.Conn) error {
	done, result := s.out.begin("data"), ""
	defer func() { done(result) }()
	start := time.Now()
	if err := s.createRoles(ctx, conn); err != nil {
		return err
	}
	for _, sql := range []string{
		"drop database if exists " + loading + " with (force)",
		"create database " + loading + " owner " + roleOwner,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	rows, err := s.loadTables(ctx)
	if err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "alter database "+loading+" rename to "+database); err != nil {
		return err
	}
	result = "loaded"
	s.out.note("%-14s %d ETFs, %d rows, %.0f rows/s", "data", s.st.ETFs, rows, float64(rows)/time.Since(start).Seconds())
	return nil
}

// createRoles creates the two roles of the service. The statements hold
// passwords, so the server must not log them, not even when they fail.
func (s *Sandbox) createRoles(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, "set local log_min_error_statement = panic"); err != nil {
			return err
		}
		for _, role := range []struct{ name, rights, password string }{
			{roleOwner, "login createdb", s.st.Secrets.Owner},
			{roleApp, "login", s.st.Secrets.App},
		} {
			var exists bool
			if err := tx.QueryRow(ctx, "select exists (select from pg_roles where rolname = $1)", role.name).Scan(&exists); err != nil {
				return err
			}
			verb := "create"
			if exists {
				verb = "alter"
			}
			// The password is of hexadecimal digits only.
			sql := fmt.Sprintf("%s role %s %s password '%s'", verb, role.name, role.rights, role.password)
			if _, err := tx.Exec(ctx, sql); err != nil {
				return fmt.Errorf("creating the role: %s: %w", role.name, err)
			}
		}
		_, err := tx.Exec(ctx, "grant "+roleApp+", pg_signal_backend to "+roleOwner)
		return err
	})
}

// schemaSQL comes before the schema itself, so that the rights of the
// application role hold for every table that the owner ever creates.
const schemaSQL = `
set role ` + roleOwner + `;
alter default privileges in schema public grant select, insert, update, delete on tables to ` + roleApp + `;
alter default privileges in schema public grant usage on sequences to ` + roleApp + `;
create table alembic_version (
    version_num varchar(32) not null,
    constraint alembic_version_pkc primary key (version_num)
);
insert into alembic_version values ('0001');
`

// loadTables fills the new database and returns the number of rows. Its
// connections are closed when it returns, so that it can be renamed.
func (s *Sandbox) loadTables(ctx context.Context) (int64, error) {
	conn, err := s.connect(ctx, loading)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.PgConn().Exec(ctx, schemaSQL+etfservice.BaseSchema()+"\n;reset role;").ReadAll(); err != nil {
		return 0, fmt.Errorf("creating the schema: %w", err)
	}
	data := newDataset(s.st.ETFs, s.now())
	total, err := copyTables(ctx, conn.PgConn(), data)
	if err != nil {
		return 0, err
	}
	// Building the indexes and checking the references once at the end makes
	// the whole load more than twice as fast as row by row.
	restore, err := dropConstraints(ctx, conn, "etf_prices")
	if err != nil {
		return 0, err
	}
	prices, err := s.copyPrices(ctx, data)
	if err != nil {
		return 0, err
	}
	if _, err := conn.PgConn().Exec(ctx, restore+sequencesSQL+"analyze;").ReadAll(); err != nil {
		return 0, err
	}
	return total + prices, nil
}

// dropConstraints drops a table's keys and references and returns the SQL
// that brings them back as they were.
func dropConstraints(ctx context.Context, conn *pgx.Conn, table string) (string, error) {
	var drop, restore string
	const query = `select
		coalesce(string_agg(format('drop constraint %I', conname), ', '), ''),
		coalesce(string_agg(format('add constraint %I %s', conname, pg_get_constraintdef(oid)), ', ' order by contype = 'f'), '')
		from pg_constraint where conrelid = $1::text::regclass and contype in ('p', 'u', 'f')`
	if err := conn.QueryRow(ctx, query, table).Scan(&drop, &restore); err != nil {
		return "", fmt.Errorf("reading the constraints: %s: %w", table, err)
	}
	if drop == "" {
		return "", nil
	}
	if _, err := conn.Exec(ctx, "alter table "+table+" "+drop); err != nil {
		return "", fmt.Errorf("putting the constraints off: %s: %w", table, err)
	}
	return "set maintenance_work_mem = '256MB'; alter table " + table + " " + restore + ";", nil
}

// sequencesSQL brings the sequences behind the keys that were loaded.
const sequencesSQL = `
select setval('etf_prices_id_seq', max(id)) from etf_prices;
select setval('exchange_rates_id_seq', max(id)) from exchange_rates;
`

func copyTables(ctx context.Context, conn *pgconn.PgConn, data *dataset) (int64, error) {
	total := int64(0)
	for _, t := range data.tables() {
		n, err := copyRows(ctx, conn, t)
		if err != nil {
			return 0, err
		}
		total += n
	}
	return total, nil
}

// copyStreams load prices side by side: making the rows and writing them take
// about one processor each.
const copyStreams = 2

func (s *Sandbox) copyPrices(ctx context.Context, data *dataset) (int64, error) {
	g, ctx := errgroup.WithContext(ctx)
	counts := make([]int64, copyStreams)
	for i := range copyStreams {
		g.Go(func() error {
			conn, err := s.connect(ctx, loading)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx))
			first, last := i*len(data.etfs)/copyStreams, (i+1)*len(data.etfs)/copyStreams
			counts[i], err = copyRows(ctx, conn.PgConn(), data.prices(first, last))
			return err
		})
	}
	err := g.Wait()
	total := int64(0)
	for _, n := range counts {
		total += n
	}
	return total, err
}

func copyRows(ctx context.Context, conn *pgconn.PgConn, t copyTable) (int64, error) {
	tag, err := conn.CopyFrom(ctx, &copyReader{next: t.next}, "copy "+t.name+" ("+t.columns+") from stdin")
	if err != nil {
		return 0, fmt.Errorf("loading: %s: %w", t.name, err)
	}
	return tag.RowsAffected(), nil
}
