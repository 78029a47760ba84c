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

// keptMark begins the comment on a database that was replaced.
const keptMark = "etf-deploy kept database: "

// SwapOptions name the databases.
type SwapOptions struct {
	URL             URL    // of the live database; its role must own all and be CREATEDB
	Side            string // the prepared database that becomes the live one
	Kept            string // the name under which the replaced one stays
	Reason          string // why, for its comment
	ApplicationName string
	Token           int64  // of the present operation, checked in both databases
	Operation       string // its id

	// fault, in tests, is called before each statement that changes
	// something and ends the swap there, as a kill would.
	fault func(statement string) error
}

// errKilled is what a test's fault returns to have nothing cleaned up.
var errKilled = errors.New("killed here")

// Swap makes the side database the live one: settings and grants of the live
// database are copied, both are closed to new sessions, the present sessions
// are ended, and one transaction renames both, comments both and opens them
// again. The replaced database stays whole under the name o.Kept.
//
// It may be called again after it was interrupted anywhere: it looks at which
// databases exist and goes on from there; when all is done it does nothing.
// All statements that change something run in one session that bears
// o.ApplicationName: when an operation that takes over ends that session, a
// swap that was frozen meanwhile changes nothing more. After an error before
// the renames the live database is open again.
func Swap(ctx context.Context, h host.Host, o SwapOptions) (err error) {
	ctx, cancel := withDeadline(ctx, 2*time.Minute)
	defer cancel()
	live := o.URL.Database
	defer func() { err = wrap(fmt.Sprintf("swapping database %s with %s", live, o.Side), err) }()
	if o.Side == live || o.Kept == live || o.Side == o.Kept || o.Side == "" || o.Kept == "" {
		return fmt.Errorf("the live, the side and the kept database need three names, not %q, %q and %q", live, o.Side, o.Kept)
	}
	if err := errors.Join(checkName(o.Side), checkName(o.Kept)); err != nil {
		return err
	}
	admin, err := maintenance(ctx, h, o.URL, o.ApplicationName, live, o.Side, o.Kept)
	if err != nil {
		return err
	}
	defer closeConn(ctx, admin)
	s := swapper{SwapOptions: o, conn: admin, live: live}
	exist, err := s.existing(ctx)
	if err != nil {
		return err
	}
	switch {
	case exist[live] && exist[o.Side] && !exist[o.Kept]:
	case exist[live] && exist[o.Kept] && !exist[o.Side]:
		return s.confirm(ctx) // the transaction at the end had been committed
	case exist[live] && exist[o.Kept]:
		return fmt.Errorf("a database %s exists already: keep the replaced one under another name", o.Kept)
	default:
		return fmt.Errorf("of the databases %s (live), %s (side), %s (kept) there are only %v: nothing was changed", live, o.Side, o.Kept, exist)
	}
	if err := s.prepare(ctx, h); err != nil {
		return err
	}
	if err := s.exchange(ctx); err != nil {
		if !errors.Is(err, errKilled) {
			// In the same session only: if somebody has ended that, he has
			// taken over and decides.
			ctx := context.WithoutCancel(ctx)
			err = errors.Join(err, setOpen(ctx, admin, live, true), setOpen(ctx, admin, o.Side, true))
		}
		return err
	}
	return nil
}

type swapper struct {
	SwapOptions
	conn *pgx.Conn
	live string
}

func (s swapper) exec(ctx context.Context, sql string) error {
	if s.fault != nil {
		if err := s.fault(sql); err != nil {
			return err
		}
	}
	_, err := s.conn.Exec(ctx, sql)
	return err
}

func (s swapper) existing(ctx context.Context) (map[string]bool, error) {
	rows, _ := s.conn.Query(ctx, "SELECT datname FROM pg_database WHERE datname = ANY($1)", []string{s.live, s.Side, s.Kept})
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	exist := map[string]bool{}
	for _, name := range names {
		exist[name] = true
	}
	return exist, err
}

// confirm makes sure that it was this operation which kept the database.
func (s swapper) confirm(ctx context.Context) error {
	var comment *string
	err := s.conn.QueryRow(ctx, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1", s.Kept).Scan(&comment)
	if err != nil {
		return err
	}
	if comment == nil || !strings.HasPrefix(*comment, keptMark) || !strings.Contains(*comment, " by "+s.Operation+": ") {
		return fmt.Errorf("there is no side database %s, and %s was not kept by operation %s: nothing was changed", s.Side, s.Kept, s.Operation)
	}
	return nil
}

// prepare does all that can fail for a reason known beforehand, while the
// live database is still in use.
func (s swapper) prepare(ctx context.Context, h host.Host) error {
	var rights, prepared bool
	err := s.conn.QueryRow(ctx, `SELECT r.rolsuper OR r.rolcreatedb AND
			(SELECT bool_and(pg_has_role(current_user, datdba, 'USAGE')) FROM pg_database WHERE datname = ANY($1)) AND pg_has_role(current_user, 'pg_signal_backend', 'USAGE'),
		EXISTS (SELECT FROM pg_prepared_xacts WHERE database = ANY($1))
		FROM pg_roles r WHERE rolname = current_user`, []string{s.live, s.Side}).Scan(&rights, &prepared)
	switch {
	case err != nil:
		return err
	case !rights:
		return fmt.Errorf("role %s must be CREATEDB, owner of both databases and a member of pg_signal_backend", s.URL.User)
	case prepared:
		return errors.New("a prepared transaction is open in one of them: commit it or roll it back first (pg_prepared_xacts)")
	}
	if err := s.fences(ctx, h); err != nil {
		return err
	}
	return s.copySettings(ctx)
}

// fences makes sure that the live database's fence is ours and moves that of
// the side database to it. A live database that an interrupted swap has
// closed is opened for that.
func (s swapper) fences(ctx context.Context, h host.Host) error {
	for _, name := range []string{s.live, s.Side} {
		if err := s.exec(ctx, openSQL(name, true)); err != nil {
			return err
		}
		conn, err := Connect(ctx, h, s.URL.WithDatabase(name), s.ApplicationName)
		if err != nil {
			return err
		}
		err = EnsureOps(ctx, conn)
		if err == nil && name == s.Side {
			err = TakeFence(ctx, conn, s.Token, s.Operation)
		} else if err == nil {
			err = WithFence(ctx, conn, s.Token, func(pgx.Tx) error { return nil })
		}
		closeConn(ctx, conn)
		if err != nil {
			return wrap("fence of database "+name, err)
		}
	}
	return nil
}

// exchange shuts the users out and renames.
func (s swapper) exchange(ctx context.Context) error {
	// A connection limit of 0 would still let superusers in.
	for _, name := range []string{s.live, s.Side} {
		if err := s.exec(ctx, openSQL(name, false)); err != nil {
			return err
		}
	}
	var err error
	for range 5 {
		if _, err = endSessions(ctx, s.conn, "datname = ANY($1)", []string{s.live, s.Side}); err != nil {
			return err
		}
		// A session may have been on its way in: then the server says that
		// the database is in use, and those that are left are ended too.
		if err = s.rename(ctx); !hasCode(err, codeObjectInUse) {
			return err
		}
	}
	return err
}

func (s swapper) rename(ctx context.Context) error {
	comment, err := s.comment(ctx, s.live)
	if err != nil {
		return err
	}
	kept := fmt.Sprintf("%sreplaced %s by %s: %s", keptMark, time.Now().UTC().Format(time.RFC3339), s.Operation, s.Reason)
	statements := []string{
		"BEGIN",
		"ALTER DATABASE " + quote(s.live) + " RENAME TO " + quote(s.Kept),
		"ALTER DATABASE " + quote(s.Side) + " RENAME TO " + quote(s.live),
		"COMMENT ON DATABASE " + quote(s.Kept) + " IS " + literal(kept),
		"COMMENT ON DATABASE " + quote(s.live) + " IS " + comment,
		openSQL(s.Kept, true),
		openSQL(s.live, true),
		"COMMIT",
	}
	for _, sql := range statements {
		if err := s.exec(ctx, sql); err != nil {
			if !errors.Is(err, errKilled) {
				s.conn.Exec(context.WithoutCancel(ctx), "ROLLBACK")
			}
			return err
		}
	}
	return nil
}

// comment is the comment on a database as a literal, without a mark of ours:
// a database that was kept once may become the live one again.
func (s swapper) comment(ctx context.Context, database string) (string, error) {
	var text *string
	err := s.conn.QueryRow(ctx, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = $1", database).Scan(&text)
	if err != nil || text == nil || strings.HasPrefix(*text, sideMark) || strings.HasPrefix(*text, keptMark) {
		return "NULL", err
	}
	return literal(*text), nil
}

func openSQL(database string, open bool) string {
	return fmt.Sprintf("ALTER DATABASE %s ALLOW_CONNECTIONS %t", quote(database), open)
}

func setOpen(ctx context.Context, conn *pgx.Conn, database string, open bool) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	_, err := conn.Exec(ctx, openSQL(database, open))
	return wrap("opening database "+database+" again", err)
}

// Reopen lets sessions into a database again that an interrupted swap has
// closed; for the undoing of one that is not to be repeated.
func Reopen(ctx context.Context, h host.Host, u URL, applicationName string) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	conn, err := maintenance(ctx, h, u, applicationName, u.Database)
	if err != nil {
		return err
	}
	defer closeConn(ctx, conn)
	return setOpen(ctx, conn, u.Database, true)
}
