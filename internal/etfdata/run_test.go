package etfdata

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// A rule that could not look says so, and one that does not apply; the others
// go on.
func TestWithoutTablesAndColumns(t *testing.T) {
	for name, test := range map[string]struct {
		sql         string
		err, absent map[string]string
	}{
		"columns": {sql: "ALTER TABLE etf_prices DROP COLUMN volume, DROP COLUMN dividends, DROP COLUMN capital_gains, DROP COLUMN currency, DROP COLUMN stock_splits",
			absent: map[string]string{"negative-amounts": "the schema has no etf_prices.volume, etf_prices.dividends, etf_prices.capital_gains",
				"currency-stored": "the schema has no etf_prices.currency"}},
		"tables": {sql: "DROP TABLE etf_updates, exchange_rates; ALTER TABLE exchange_rate_updates DROP COLUMN created_at", err: map[string]string{
			"stuck-updates":   "the schema has no table etf_updates",
			"missing-prices":  "the schema has no table etf_updates",
			"duplicate-rates": "the schema has no table exchange_rates",
			"missing-rates":   "the schema has no exchange_rate_updates.created_at, table exchange_rates"},
			absent: map[string]string{"stuck-rate-updates": "the schema has no exchange_rate_updates.created_at"}},
		"etfs": {sql: "DROP TABLE etfs CASCADE", err: map[string]string{"orphan-prices": "the schema has no table etfs", "orphan-rows": "the schema has no table etfs", "orphan-names": "the schema has no table etfs", "prices-exist": "the schema has no table etfs",
			"last-price": "the schema has no table etfs", "last-update": "the schema has no table etfs", "isin-check-digit": "the schema has no table etfs"}},
		"days": {sql: "ALTER TABLE etf_prices DROP COLUMN date", err: map[string]string{"price-jump": "the schema has no etf_prices.date", "price-gap": "the schema has no etf_prices.date",
			"date-future": "the schema has no etf_prices.date", "date-before-euro": "the schema has no etf_prices.date", "date-weekend": "the schema has no etf_prices.date",
			"date-holiday": "the schema has no etf_prices.date", "date-may-day": "the schema has no etf_prices.date", "duplicate-prices": "the schema has no etf_prices.date",
			"last-price": "the schema has no etf_prices.date", "last-update": "the schema has no etf_prices.date", "missing-prices": "the schema has no etf_prices.date"}},
	} {
		results, err := Run(t.Context(), prepare(t, "without_"+name, "old", test.sql), Options{Now: now})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			got := ""
			if r.Err != nil {
				got = r.Err.Error()
			}
			if got != test.err[r.Rule] || r.Absent != test.absent[r.Rule] {
				t.Errorf("without %s: %s: error %q, absent %q; want %q, %q", name, r.Rule, got, r.Absent, test.err[r.Rule], test.absent[r.Rule])
			}
		}
	}
}

func TestSwitchedOff(t *testing.T) {
	connect := prepare(t, "off", "new", "INSERT INTO etf_prices (etf_id, date, price) VALUES ('GOOD.DE', '2026-11-18', 0)")
	own := OwnRule{Name: "mine", Title: "mine", Severity: Fault, SQL: "SELECT 1"}
	results, err := Run(t.Context(), connect, Options{Now: now, Off: []string{"price-positive", "price-jump", "mine"}, Own: []OwnRule{own}})
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"price-positive", "price-jump", "mine"} {
		if r := find(results, name); !r.Off || r.Looked != 0 || r.Violations != 0 {
			t.Errorf("%+v", r)
		}
	}
	if r := find(results, "price-range"); r.Off || r.Looked != 3 {
		t.Errorf("%+v", r)
	}
}

// All faults of the options are told at once.
func TestOptions(t *testing.T) {
	_, err := Run(t.Context(), nil, Options{
		Tolerate: map[string]int{"price_positive": 1, "mine": 1}, Off: []string{"price-jump", "no-such"}, Closed: []string{"12-24", "24.12.", "2026-02-30", "02-29"},
		Own: []OwnRule{{Name: "mine"}, {Name: "price-jump"}, {Name: "-x"}, {Name: "mine"}, {}},
	})
	if !errors.Is(err, ErrOptions) {
		t.Fatal(err)
	}
	for _, want := range []string{
		`thresholds.tolerate: there is no data rule "price_positive"; they are prices-exist, orphan-prices, `,
		`data.off[1]: there is no data rule "no-such"; they are `,
		`data.closed[1]: "24.12." is not a day`, `data.closed[2]: "2026-02-30" is not a day`,
		`data.rules[1].name: "price-jump" is a rule that there is already`,
		`data.rules[2].name: "-x" is not a name`, `data.rules[3].name: "mine" is the name of data.rules[0] too`, `data.rules[4].name: "" is not a name`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %s", err, want)
		}
	}
	if n := strings.Count(err.Error(), "\n") + 1; n != 8 {
		t.Errorf("%d faults:\n%v", n, err)
	}
}

func TestConfiguredClosedDays(t *testing.T) {
	connect := prepare(t, "closed", "new", `INSERT INTO etfs VALUES ('A.US', NULL, 100, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price, original_currency) VALUES (100, 'A.US', '2025-12-24', 100, 'USD'), (101, 'A.US', '2025-12-23', 100, 'USD'), (102, 'A.US', '2025-12-31', 100, 'USD');
		INSERT INTO etf_updates (etf_id, status, created_at, missing_dates) VALUES ('A.US', 'completed', '2026-01-01', '{2024-12-24, 2024-12-31}')`)
	results, err := Run(t.Context(), connect, Options{Now: now, Closed: []string{"12-24", "2025-12-31"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := find(results, "date-holiday"); fmt.Sprint(r.Samples) != "[A.US 2025-12-24 #100 A.US 2025-12-31 #102]" {
		t.Errorf("%+v", r)
	}
	if r := find(results, "missing-prices"); fmt.Sprint(r.Samples) != "[A.US 2024-12-31]" {
		t.Errorf("%+v", r)
	}
}

func TestOwnRules(t *testing.T) {
	connect := prepare(t, "own", "new", "")
	own := []OwnRule{
		{SQL: "SELECT id, price FROM etf_prices ORDER BY price DESC; \n"},
		{SQL: "WITH p AS (SELECT * FROM etf_prices) SELECT NULL::int FROM p -- all of them"},
		{SQL: "SELECT id FROM etf_prices WHERE price < 0"},
		{SQL: "SELECT id FROM etf_price"},
		{SQL: "SELECT 1; DELETE FROM etf_prices"},
		{SQL: "SELECT 1) AS x; DELETE FROM etf_prices; SELECT (1"},
		{SQL: "DELETE FROM etf_prices"},
		{SQL: "SELECT nextval('etf_prices_id_seq')"},
		{SQL: "SELECT pg_sleep(60)"},
		{SQL: "SELECT 'still there'"},
	}
	for i := range own {
		own[i].Name, own[i].Severity = fmt.Sprintf("own-%d", i), Warning
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	results, err := Run(ctx, connect, Options{Now: now, Own: own, Tolerate: map[string]int{"own-1": 2}, Jobs: 2})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"2 [2 1] tolerated 0 <nil>", "2 [NULL NULL] tolerated 2 <nil>", "0 [] tolerated 0 <nil>",
		`0 [] tolerated 0 looking at data.rules[3].sql: ERROR: relation "etf_price" does not exist (SQLSTATE 42P01)`,
		`0 [] tolerated 0 data.rules[4].sql is not one SELECT that PostgreSQL takes: ERROR: syntax error at or near ";" (SQLSTATE 42601)`,
		`0 [] tolerated 0 data.rules[5].sql is not one SELECT that PostgreSQL takes: ERROR: syntax error at or near "(" (SQLSTATE 42601)`,
		`0 [] tolerated 0 data.rules[6].sql is not one SELECT that PostgreSQL takes: ERROR: syntax error at or near "FROM" (SQLSTATE 42601)`,
		`0 [] tolerated 0 looking at data.rules[7].sql: ERROR: cannot execute nextval() in a read-only transaction (SQLSTATE 25006)`,
		`0 [] tolerated 0 looking at data.rules[8].sql: ERROR: canceling statement due to statement timeout (SQLSTATE 57014)`,
		"1 [still there] tolerated 0 <nil>",
	} {
		r := results[len(Rules())+i]
		if got := fmt.Sprintf("%d %v tolerated %d %v", r.Violations, r.Samples, r.Tolerated, r.Err); got != want && (i != 8 || r.Err == nil) {
			t.Errorf("%s: %s, want %s", r.Rule, got, want)
		}
	}
	if r := find(results, "price-range"); r.Err != nil || r.Looked != 2 {
		t.Errorf("%+v", r)
	}
}

// held has a lock keep whoever reads the prices waiting.
func held(t *testing.T, name string) Connect {
	t.Helper()
	connect := prepare(t, name, "new", "")
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	if _, err := conn.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "LOCK etf_prices"); err != nil {
		t.Fatal(err)
	}
	return connect
}

// ends fails unless rules that read the prices could not look, and others did.
func ends(t *testing.T, results []Result, err error, want string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"price-positive", "price-jump", "last-price"} {
		if r := find(results, name); r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%s: %v, want %s", name, r.Err, want)
		}
	}
}

func TestCancelledHalfWay(t *testing.T) {
	connect := held(t, "held_cancelled")
	admin, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			rows, err := admin.Query(context.WithoutCancel(ctx), "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
			if err == nil {
				_, err = pgx.CollectRows(rows, pgx.RowTo[bool])
			}
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	results, err := Run(ctx, connect, Options{Now: now})
	ends(t, results, err, "ERROR: canceling statement due to user request (SQLSTATE 57014)")
	if r := find(results, "isin-check-digit"); r.Err != nil || r.Looked != 1 {
		t.Errorf("%+v", r)
	}
	if _, err := Rates(ctx, connect, 7); err == nil || !strings.Contains(err.Error(), "user request") {
		t.Errorf("rates: %v", err)
	}
	stop()
	<-done
}

func TestDeadline(t *testing.T) {
	connect := held(t, "held_deadline")
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	began := time.Now()
	results, err := Run(ctx, connect, Options{Now: now})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	ends(t, results, err, "")
	// The server does not go on for somebody who has gone.
	conn, release, err := connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for until := time.Now().Add(3 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		var waiting int
		if err := one(t.Context(), conn, []any{&waiting}, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"); err != nil {
			t.Fatal(err)
		}
		if waiting == 0 {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("%d sessions go on waiting", waiting)
		}
	}
}

func TestNoConnection(t *testing.T) {
	refused := errors.New("the server refused the login")
	if _, err := Run(t.Context(), func(context.Context) (*pgx.Conn, func(), error) { return nil, nil, refused }, Options{}); !errors.Is(err, refused) {
		t.Error(err)
	}
	connect := prepare(t, "second_refused", "new", "")
	var n atomic.Int32
	results, err := Run(t.Context(), func(ctx context.Context) (*pgx.Conn, func(), error) {
		if n.Add(1) > 1 {
			return nil, nil, refused
		}
		return connect(ctx)
	}, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Errorf("with one connection: %s: %v", r.Rule, r.Err)
		}
	}
}
