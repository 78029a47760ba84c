package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// sideMark begins the comment on a database that Restore is working on or has
// finished, so that one left by a killed run is known for what it is.
const sideMark = "etf-deploy side database: "

// ErrSideTaken says that the side database's name belongs to something else.
var ErrSideTaken = errors.New("the name of the side database is taken")

// RestoreOptions say what is restored and where to.
type RestoreOptions struct {
	URL             URL    // of the live database; its encoding, locale and owner are taken over
	File            string // the dump, on the host
	Info            DumpInfo
	Side            string // name of the new database on the same server
	Jobs            int    // tables restored at once; 0: 2
	BinDir          string // of pg_restore; empty: looked for
	ApplicationName string
	Token           int64  // of the present operation, whose fence the new database gets
	Operation       string // its id
	Progress        func(done, total int64)
}

// Restore makes the side database, restores the dump into it, analyses it and
// checks rows, Alembic heads and, where the manifest has it, the schema with
// its constraints and indexes against the manifest (*MismatchError). A side
// database that an earlier, killed run has left under that name is replaced;
// any other gives ErrSideTaken. After an error what was made is dropped.
func Restore(ctx context.Context, h host.Host, o RestoreOptions) (err error) {
	ctx, cancel := withDeadline(ctx, longTimeout)
	defer cancel()
	side := o.URL.WithDatabase(o.Side)
	defer func() { err = wrap("restoring "+o.File+" into "+o.Side, err) }()
	if o.Side == "" || o.Side == o.URL.Database {
		return fmt.Errorf("%w: a dump is never restored into the live database", ErrSideTaken)
	}
	if err := checkName(o.Side); err != nil {
		return err
	}
	program, _, err := Tool(ctx, h, "pg_restore", o.BinDir, majorOf(o.Info.ToolVersion))
	if err != nil {
		return err
	}
	admin, err := maintenance(ctx, h, o.URL, o.ApplicationName, o.URL.Database, o.Side)
	if err != nil {
		return err
	}
	defer closeConn(ctx, admin)
	if err := clearSide(ctx, h, admin, side, o.ApplicationName); err != nil {
		return err
	}
	if err := createSide(ctx, admin, o.URL.Database, o.Side); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, DropSide(context.WithoutCancel(ctx), h, side, o.ApplicationName))
		}
	}()
	if err := runRestore(ctx, h, o, program, side); err != nil {
		return err
	}
	if err := finishSide(ctx, h, o, side); err != nil {
		return err
	}
	_, err = admin.Exec(ctx, "COMMENT ON DATABASE "+quote(o.Side)+" IS "+literal(sideMark+completeText(o.Info, o.Operation)))
	return err
}

func runRestore(ctx context.Context, h host.Host, o RestoreOptions, program string, side URL) error {
	stop := watchCopy(ctx, h, side, o.ApplicationName, "COPY FROM", o.Info.Total(), o.Progress)
	defer stop()
	jobs := o.Jobs
	if jobs == 0 {
		jobs = 2
	}
	// The commit of each table need not wait for the disk: the ANALYZE that
	// follows does, and nobody uses the database before.
	env := append(side.Env(o.ApplicationName), "PGOPTIONS=-c synchronous_commit=off -c maintenance_work_mem=256MB -c statement_timeout=0")
	_, err := h.Run(ctx, host.Command{
		Argv: []string{program, "--exit-on-error", "--no-password", fmt.Sprintf("--jobs=%d", jobs), "--dbname=" + o.Side, o.File},
		Env:  env, Timeout: remaining(ctx),
	})
	return err
}

// clearSide drops a side database that a killed run has left.
func clearSide(ctx context.Context, h host.Host, admin *pgx.Conn, side URL, applicationName string) error {
	var comment string
	err := admin.QueryRow(ctx, "SELECT coalesce(shobj_description(oid, 'pg_database'), '') FROM pg_database WHERE datname = $1", side.Database).Scan(&comment)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(comment, sideMark) {
		empty, err := emptyDatabase(ctx, h, side, applicationName)
		if err != nil || !empty {
			return errors.Join(fmt.Errorf("%w: database %s holds tables and is not marked as one of the suite's: choose another name or remove it", ErrSideTaken, side.Database), err)
		}
	}
	return DropSide(ctx, h, side, applicationName)
}

// emptyDatabase reports whether no table was ever made in it: what a kill
// between making the database and marking it leaves.
func emptyDatabase(ctx context.Context, h host.Host, u URL, applicationName string) (empty bool, err error) {
	conn, err := Connect(ctx, h, u, applicationName)
	if err != nil {
		return false, err
	}
	defer closeConn(ctx, conn)
	err = conn.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema')`).Scan(&empty)
	return empty, err
}

// DropSide drops a side database, ending the sessions in it; a missing one is
// fine. It is the caller's word that the database is not needed.
func DropSide(ctx context.Context, h host.Host, side URL, applicationName string) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	admin, err := maintenance(ctx, h, side, applicationName, side.Database)
	if err == nil {
		defer closeConn(ctx, admin)
		_, err = admin.Exec(ctx, "DROP DATABASE IF EXISTS "+quote(side.Database)+" WITH (FORCE)")
	}
	return wrap("dropping the side database "+side.Database, err)
}

// createSide makes an empty database like the live one.
func createSide(ctx context.Context, admin *pgx.Conn, live, side string) error {
	var owner, encoding, collate, ctype, provider, tablespace string
	err := admin.QueryRow(ctx, `SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype, datlocprovider::text, t.spcname
		FROM pg_database d JOIN pg_tablespace t ON t.oid = dattablespace WHERE datname = $1`, live).
		Scan(&owner, &encoding, &collate, &ctype, &provider, &tablespace)
	if err != nil {
		return wrap("looking at the live database "+live, err)
	}
	sql := "CREATE DATABASE " + quote(side) + " OWNER " + quote(owner) + " TEMPLATE template0 ENCODING " + literal(encoding) +
		" LC_COLLATE " + literal(collate) + " LC_CTYPE " + literal(ctype)
	switch provider {
	case "i":
		var locale string
		// The column's name depends on the version.
		err := admin.QueryRow(ctx, `SELECT coalesce(to_jsonb(d)->>'daticulocale', to_jsonb(d)->>'datlocale') FROM pg_database d WHERE datname = $1`, live).Scan(&locale)
		if err != nil {
			return wrap("looking at the live database "+live, err)
		}
		sql += " LOCALE_PROVIDER icu ICU_LOCALE " + literal(locale)
	case "b":
		return fmt.Errorf("the live database %s has the builtin locale provider, which is not supported", live)
	}
	if tablespace != "pg_default" {
		sql += " TABLESPACE " + quote(tablespace)
	}
	if _, err := admin.Exec(ctx, sql); err != nil {
		return wrap("creating database "+side, err)
	}
	_, err = admin.Exec(ctx, "COMMENT ON DATABASE "+quote(side)+" IS "+literal(sideMark+"being restored since "+time.Now().UTC().Format(time.RFC3339)))
	return err
}

// literal quotes a string for statements that take no parameters.
func literal(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// maxName is the length in bytes that the server cuts longer names to, without
// an error: two of ours could become one.
const maxName = 63

func checkName(database string) error {
	if len(database) > maxName {
		return fmt.Errorf("database name %s has more than %d bytes: the server would cut it", database, maxName)
	}
	return nil
}
