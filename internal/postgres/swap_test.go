package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// pair makes a live and a side database, each marked by a row, under the
// fences of operation op-7 (live) and an older one (side).
func pair(t *testing.T) SwapOptions {
	t.Helper()
	u := newDatabase(t, "live")
	o := SwapOptions{URL: u, Side: u.Database + "_side", Kept: u.Database + "_kept", Reason: "it's a test", ApplicationName: "op-7", Token: 7, Operation: "op-7"}
	exec(t, connect(t, owner("postgres")), "CREATE DATABASE "+o.Side)
	t.Cleanup(func() {
		for _, name := range []string{o.Side, o.Kept} {
			if err := DropSide(context.Background(), host.Local{}, owner(name), "cleanup"); err != nil {
				t.Error(err)
			}
		}
	})
	for name, token := range map[string]int64{u.Database: 7, o.Side: 2} {
		conn, err := Connect(t.Context(), host.Local{}, owner(name), "setup")
		if err != nil {
			t.Fatal(err)
		}
		exec(t, conn, "CREATE TABLE what AS SELECT '"+map[bool]string{true: "live", false: "side"}[token == 7]+"' AS name")
		if err := errors.Join(EnsureOps(t.Context(), conn), TakeFence(t.Context(), conn, token, fmt.Sprint("op-", token))); err != nil {
			t.Fatal(err)
		}
		closeConn(t.Context(), conn)
	}
	return o
}

// what tells which of the two databases has this name now.
func what(t *testing.T, name string) string {
	t.Helper()
	conn, err := Connect(t.Context(), host.Local{}, owner(name), "what")
	if err != nil {
		return err.Error()
	}
	defer closeConn(t.Context(), conn)
	return scan[string](t, conn, "SELECT name FROM what")
}

func assertSwapped(t *testing.T, o SwapOptions) {
	t.Helper()
	if live, kept := what(t, o.URL.Database), what(t, o.Kept); live != "side" || kept != "live" {
		t.Errorf("after the swap the live name holds %s, the kept one %s", live, kept)
	}
	if side := what(t, o.Side); !strings.Contains(side, ErrNoDatabase.Error()) {
		t.Errorf("the side database is still there: %s", side)
	}
}

func TestSwapKeepsWhatBelongsToTheDatabase(t *testing.T) {
	o := pair(t)
	live := o.URL.Database
	exec(t, connect(t, superuser("postgres")), fmt.Sprintf(`
		ALTER DATABASE %[1]s SET search_path = "$user", public, etf;
		ALTER DATABASE %[1]s SET timezone = 'Europe/Berlin';
		ALTER DATABASE %[1]s CONNECTION LIMIT 33;
		ALTER ROLE etf_owner IN DATABASE %[1]s SET application_name = E'it''s \\ "x"';
		REVOKE ALL ON DATABASE %[1]s FROM PUBLIC;
		GRANT CONNECT ON DATABASE %[1]s TO etf_app;
		COMMENT ON DATABASE %[1]s IS E'the \\ live one''s';
		ALTER DATABASE %[2]s SET work_mem = '5MB'`, live, o.Side))
	admin := connect(t, owner("postgres"))
	const properties = `SELECT array_agg(x ORDER BY x) FROM (
		SELECT unnest(setconfig) || ' for ' || setrole FROM pg_db_role_setting s JOIN pg_database d ON d.oid = setdatabase WHERE datname = '%[1]s'
		UNION ALL SELECT concat_ws(' ', datconnlimit, datallowconn, datacl::text, shobj_description(oid, 'pg_database')) FROM pg_database WHERE datname = '%[1]s') p (x)`
	before := scan[[]string](t, admin, fmt.Sprintf(properties, live))
	app := o.URL
	app.User, app.Password = "etf_app", appPassword
	user := connect(t, app, "etf_service-")
	exec(t, user, "BEGIN; SELECT 1")
	if err := Swap(t.Context(), host.Local{}, o); err != nil {
		t.Fatal(err)
	}
	assertSwapped(t, o)
	after := scan[[]string](t, admin, fmt.Sprintf(properties, live))
	if !slices.Equal(before, after) || len(before) != 4 {
		t.Errorf("properties of the live database:\nbefore %q\nafter  %q", before, after)
	}
	if user.Ping(t.Context()) == nil {
		t.Error("a session of the replaced database goes on")
	}
	comment := scan[string](t, admin, "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = '"+o.Kept+"'")
	if !strings.Contains(comment, "op-7: it's a test") || !strings.Contains(comment, "replaced 20") {
		t.Errorf("comment of the kept database: %q", comment)
	}
	if err := WithFence(t.Context(), connect(t, o.URL), 7, func(pgx.Tx) error { return nil }); err != nil {
		t.Errorf("fence of the new live database: %v", err)
	}
}

// Killed before any of its statements, the swap is done by calling it again.
func TestSwapKilledAnywhere(t *testing.T) {
	finished, n := false, 0
	for ; !finished; n++ {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			o := pair(t)
			finished = swapKilledAt(t, o, n)
			assertSwapped(t, o)
		})
	}
	if n < 13 {
		t.Errorf("only %d statements were tried", n)
	}
}

func TestSwapThatFailsLeavesTheLiveDatabaseOpen(t *testing.T) {
	o := pair(t)
	boom := errors.New("boom")
	o.fault = func(sql string) error {
		if strings.Contains(sql, "RENAME TO "+quote(o.URL.Database)) {
			return boom
		}
		return nil
	}
	if err := Swap(t.Context(), host.Local{}, o); !errors.Is(err, boom) {
		t.Errorf("Swap: %v", err)
	}
	if live, side := what(t, o.URL.Database), what(t, o.Side); live != "live" || side != "side" {
		t.Errorf("after a failure: live %s, side %s", live, side)
	}
}

// swapKilledAt ends a swap before its statement n and then lets it go on. It
// reports whether there were no more than n statements.
func swapKilledAt(t *testing.T, o SwapOptions, n int) (finished bool) {
	t.Helper()
	admin := connect(t, owner("postgres"))
	exec(t, admin, "ALTER DATABASE "+o.URL.Database+" SET work_mem = '6MB'")
	exec(t, admin, "REVOKE TEMPORARY ON DATABASE "+o.URL.Database+" FROM PUBLIC")
	at, killed := 0, ""
	o.fault = func(sql string) error {
		if at++; at > n {
			killed = sql
			return errKilled
		}
		return nil
	}
	err := Swap(t.Context(), host.Local{}, o)
	if err != nil && !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	o.fault = nil
	for again := range 2 {
		if err := Swap(t.Context(), host.Local{}, o); err != nil {
			t.Errorf("killed before %q, call %d: %v", killed, again+1, err)
		}
	}
	if got := scan[string](t, connect(t, o.URL), "SHOW work_mem"); got != "6MB" {
		t.Errorf("killed before %q: work_mem is %s", killed, got)
	}
	return err == nil
}

// Whoever takes over ends the sessions of the operation before; woken, its
// swap must not change anything any more.
func TestAFrozenSwapIsHarmless(t *testing.T) {
	o := pair(t)
	taker := connect(t, o.URL, "op-9-")
	o.fault = func(sql string) error {
		if sql != "BEGIN" {
			return nil
		}
		admin := connect(t, owner("postgres"), "op-9-")
		if n, err := EndSessions(t.Context(), admin, "op-7"); n == 0 || err != nil {
			t.Errorf("EndSessions = %d, %v", n, err)
		}
		return Reopen(t.Context(), host.Local{}, o.URL, "op-9")
	}
	if err := Swap(t.Context(), host.Local{}, o); err == nil {
		t.Error("the frozen swap succeeded")
	}
	if live, side := what(t, o.URL.Database), what(t, o.Side); live != "live" || !strings.Contains(side, ErrNotAccepting.Error()) {
		t.Errorf("live %s, side %s", live, side)
	}
	closeConn(t.Context(), taker)
	o.fault = nil
	if err := TakeFence(t.Context(), connect(t, o.URL), 9, "op-9"); err != nil {
		t.Fatal(err)
	}
	if err := Swap(t.Context(), host.Local{}, o); !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), "op-9") {
		t.Errorf("a swap with a stale token: %v", err)
	}
}

func TestSwapRefuses(t *testing.T) {
	o := pair(t)
	admin := connect(t, owner("postgres"))
	exec(t, admin, "CREATE DATABASE "+o.Kept)
	if err := Swap(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), o.Kept) {
		t.Errorf("with the kept name taken: %v", err)
	}
	exec(t, admin, "ALTER DATABASE "+o.Side+" RENAME TO "+o.Side+"_x")
	if err := Swap(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), "not kept by operation op-7") {
		t.Errorf("without a side database: %v", err)
	}
	exec(t, admin, "ALTER DATABASE "+o.Side+"_x RENAME TO "+o.Side)
	exec(t, admin, "DROP DATABASE "+o.Kept)
	conn := connect(t, superuser(o.URL.Database))
	exec(t, conn, "BEGIN; PREPARE TRANSACTION 'p1'")
	if err := Swap(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), "prepared transaction") {
		t.Errorf("with a prepared transaction: %v", err)
	}
	exec(t, conn, "ROLLBACK PREPARED 'p1'")
	exec(t, conn, "ALTER DATABASE "+o.URL.Database+" SET log_min_duration_statement = 100")
	if err := Swap(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), "superuser has to run") || what(t, o.URL.Database) != "live" {
		t.Errorf("with a setting that only a superuser can copy: %v", err)
	}
}
