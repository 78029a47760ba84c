package etfdata

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var server *testserver.Postgres

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) (err error) {
		server, err = testserver.StartPostgres(dir)
		return err
	}))
}

// now is a Monday.
var now = time.Date(2026, 11, 23, 1, 0, 0, 0, time.UTC)

// cases hold for each rule what breaks it and, in the same statements, what
// nearly does. The rest of the rules must find nothing in them.
var cases = []struct {
	rule, name, sql string
	samples         []string // of all rows that break the rule
}{
	{"orphan-prices", "of an ETF that differs in case, or has gone", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'good.de', '2026-11-20', 1), (101, 'GONE.DE', '2026-11-20', 1)`,
		[]string{"good.de 2026-11-20 #100", "GONE.DE 2026-11-20 #101"}},
	{"price-positive", "zero, negative, not a number; a cent is fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-16', 0),
			(101, 'GOOD.DE', '2026-11-17', -1), (102, 'GOOD.DE', '2026-11-18', 'NaN'), (103, 'GOOD.DE', '2026-11-13', 0.01)`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101", "GOOD.DE 2026-11-18 #102"}},
	{"price-range", "each order; equal or unknown values are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price, low, high, open) VALUES
			(100, 'GOOD.DE', '2026-11-02', 10, 9, 11, 12), (101, 'GOOD.DE', '2026-11-03', 10, 9, 11, 8.99),
			(102, 'GOOD.DE', '2026-11-04', 11.01, 9, 11, 10), (103, 'GOOD.DE', '2026-11-05', 8, 9, 11, 10),
			(104, 'GOOD.DE', '2026-11-06', 10, 11, 9, NULL), (105, 'GOOD.DE', '2026-11-09', 10, 10, 10, 10),
			(106, 'GOOD.DE', '2026-11-10', 10, NULL, 11, 1), (107, 'GOOD.DE', '2026-11-11', 10, NULL, NULL, 99)`,
		[]string{"GOOD.DE 2026-11-02 #100", "GOOD.DE 2026-11-03 #101", "GOOD.DE 2026-11-04 #102",
			"GOOD.DE 2026-11-05 #103", "GOOD.DE 2026-11-06 #104"}},
	{"date-future", "tomorrow; today is fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-23', 100), (101, 'GOOD.DE', '2026-11-24', 100);
		UPDATE etfs SET last_update = '2026-11-24 20:00'`,
		[]string{"GOOD.DE 2026-11-24 #101"}},
	{"date-future", "infinity has no weekday", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (101, 'GOOD.DE', 'infinity', 100);
		UPDATE etfs SET last_update = 'infinity'`,
		[]string{"GOOD.DE infinity #101"}},
	{"date-before-euro", "the last day of 1998; the first price in euro is fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '1998-12-31', 100), (101, 'GOOD.DE', '1999-01-01', 100)`,
		[]string{"GOOD.DE 1998-12-31 #100"}},
	{"date-weekend", "Saturday and Sunday; Friday and Monday are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-13', 100), (101, 'GOOD.DE', '2026-11-14', 100),
			(102, 'GOOD.DE', '2026-11-15', 100), (103, 'GOOD.DE', '2026-11-16', 100), (104, 'GOOD.DE', '2000-01-01', 100), (105, 'GOOD.DE', '2000-01-03', 100)`,
		[]string{"GOOD.DE 2026-11-14 #101", "GOOD.DE 2026-11-15 #102", "GOOD.DE 2000-01-01 #104"}},
	{"currency-stored", "another currency, another spelling, none", `
		INSERT INTO etf_prices (id, etf_id, date, price, currency) VALUES (100, 'GOOD.DE', '2026-11-16', 100, 'USD'),
			(101, 'GOOD.DE', '2026-11-17', 100, 'eur'), (102, 'GOOD.DE', '2026-11-18', 100, NULL), (103, 'GOOD.DE', '2026-11-13', 100, 'EUR')`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101", "GOOD.DE 2026-11-18 #102"}},
	{"currency-original", "unknown codes; pence, pounds and none are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price, original_currency) VALUES (100, 'GOOD.DE', '2026-11-16', 100, 'GBX'),
			(101, 'GOOD.DE', '2026-11-17', 100, ''), (102, 'GOOD.DE', '2026-11-18', 100, 'GBp'), (103, 'GOOD.DE', '2026-11-13', 100, 'GBP'),
			(104, 'GOOD.DE', '2026-11-12', 100, NULL), (105, 'GOOD.DE', '2026-11-11', 100, 'HKD')`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101"}},
	{"negative-amounts", "below zero; zero and unknown are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price, volume, dividends) VALUES (100, 'GOOD.DE', '2026-11-16', 100, -0.01, NULL),
			(101, 'GOOD.DE', '2026-11-17', 100, NULL, -0.000001), (102, 'GOOD.DE', '2026-11-18', 100, 0, 0)`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101"}},
	{"duplicate-prices", "without the constraint; another day or ETF is fine", `
		ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices;
		CREATE UNIQUE INDEX ON etf_prices (etf_id, date) WHERE price > 1000;
		INSERT INTO etfs VALUES ('A.DE');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('GOOD.DE', '2026-11-16', 100), ('GOOD.DE', '2026-11-16', 101), ('GOOD.DE', '2026-11-17', 100);
		INSERT INTO etfs VALUES ('B.DE', NULL, 101, '2026-11-16');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('B.DE', '2026-11-16', 101)`,
		[]string{"GOOD.DE 2026-11-16"}},
	{"last-price", "another, and none; without prices it is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 10.01, '2026-11-20'), ('B.DE', NULL, NULL, '2026-11-20'), ('C.DE', NULL, 5, NULL), ('D.DE', NULL, 11, '2026-11-20');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('A.DE', '2026-11-20', 10), ('A.DE', '2026-11-19', 10.01), ('B.DE', '2026-11-20', 10),
			('D.DE', '2026-11-20', 11), ('D.DE', '2026-11-19', 10)`,
		[]string{"A.DE", "B.DE"}},
	{"last-price", "found without an index too", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 10.01, '2026-11-20'), ('D.DE', NULL, 11, '2026-11-20');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('A.DE', '2026-11-20', 10), ('A.DE', '2026-11-19', 10.01), ('D.DE', '2026-11-20', 11);
		ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices`,
		[]string{"A.DE"}},
	{"last-update", "the day before, and none; midnight of the day is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 10, '2026-11-19 23:59:59'), ('B.DE', NULL, 10, NULL), ('C.DE', NULL, 10, '2026-11-20'), ('D.DE', NULL, 5, '2001-01-01');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('A.DE', '2026-11-20', 10), ('B.DE', '2026-11-20', 10), ('C.DE', '2026-11-20', 10)`,
		[]string{"A.DE", "B.DE"}},
	{"isin-check-digit", "wrong digit, two digits swapped, too short, lower case; letters inside are fine", `
		INSERT INTO etfs VALUES ('1', 'IE00BK5BQT81'), ('2', 'US0378331050'), ('3', 'US378331005'), ('4', 'ie00bk5bqt80'),
			('5', 'US0378331005'), ('6', 'AU0000XVGZA3'), ('7', 'GB0002634946'), ('8', NULL), ('9', '')`,
		[]string{"1", "2", "3", "4"}},
	{"stuck-updates", "a second over the hour; younger or completed ones are fine", `
		INSERT INTO etf_updates (id, etf_id, status, created_at) VALUES (1, 'GOOD.DE', 'processing', '2026-11-22 23:59:59'),
			(2, 'GOOD.DE', 'processing', '2026-11-23 00:00:00'), (3, 'GOOD.DE', 'completed', '2026-11-20'), (4, 'GOOD.DE', 'pending', '2026-11-20')`,
		[]string{"GOOD.DE #1"}},
	{"stuck-rate-updates", "since yesterday", `
		INSERT INTO exchange_rate_updates (id, status, created_at) VALUES (1, 'processing', '2026-11-22'), (2, 'failed', '2026-11-22')`,
		[]string{"#1"}},
}

func TestRules(t *testing.T) {
	seen := map[string]bool{}
	for i, c := range cases {
		seen[c.rule] = true
		for _, form := range []string{"old", "new"} {
			t.Run(fmt.Sprintf("%s/%s/%s", c.rule, c.name, form), func(t *testing.T) {
				connect := prepare(t, fmt.Sprintf("%s_%d", form, i), form, c.sql)
				results, err := Run(t.Context(), connect, Options{Now: now})
				if err != nil {
					t.Fatal(err)
				}
				q, release, err := connect(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer release()
				for _, r := range results {
					var want []string
					if r.Rule == c.rule {
						want = c.samples
					}
					if r.Err != nil || r.Violations != int64(len(want)) || !cmp.Equal(want, r.Samples) {
						t.Errorf("%s: %d rows, %q, %v; want %q", r.Rule, r.Violations, r.Samples, r.Err, want)
					}
					if r.Looked == 0 && !strings.HasPrefix(r.Rule, "stuck-") {
						t.Errorf("%s looked at nothing", r.Rule)
					}
					if got := rows(t, q, r.SQL); got != len(want) {
						t.Errorf("%s: its SQL shows %d rows, want %d:\n%s", r.Rule, got, len(want), r.SQL)
					}
				}
			})
		}
	}
	for _, r := range Rules() {
		if !seen[r.Name] {
			t.Errorf("rule %s has no test", r.Name)
		}
	}
}

// A day may have prices from two sources, but not two from one.
func TestSources(t *testing.T) {
	connect := prepare(t, "sources", "new", `
		INSERT INTO etf_prices (etf_id, date, price, source) VALUES ('GOOD.DE', '2026-11-20', 100.01, 'ecb');
		UPDATE etfs SET last_price = 100.01`)
	results, err := Run(t.Context(), connect, Options{Now: now, Jobs: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Violations != 0 || r.Err != nil {
			t.Errorf("%s: %d %q %v", r.Rule, r.Violations, r.Samples, r.Err)
		}
	}
}

func TestMoreThanTheSamples(t *testing.T) {
	connect := prepare(t, "samples", "old", `INSERT INTO etf_prices (id, etf_id, date, price)
		SELECT 100 + i, 'GOOD.DE', DATE '2020-01-06' + 7 * i, 0 FROM generate_series(1, 12) AS i`)
	results, err := Run(t.Context(), connect, Options{Now: now, Tolerate: map[string]int{"price-positive": 12}})
	if err != nil {
		t.Fatal(err)
	}
	r := find(results, "price-positive")
	if r.Violations != 12 || r.Broken() || len(r.Samples) != 5 || r.Samples[0] != "GOOD.DE 2020-01-13 #101" || r.Looked != 14 {
		t.Errorf("%+v", r)
	}
}

// A rule that could not look says so; the others go on.
func TestCannotLook(t *testing.T) {
	connect := prepare(t, "gone", "old", `DROP TABLE etf_updates; ALTER TABLE etf_prices DROP COLUMN volume`)
	results, err := Run(t.Context(), connect, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for rule, want := range map[string]string{"negative-amounts": "the schema has no etf_prices.volume",
		"stuck-updates": "the schema has no etf_updates.status, etf_updates.created_at"} {
		if r := find(results, rule); r.Err == nil || r.Err.Error() != want {
			t.Errorf("%s: %v, want %s", rule, r.Err, want)
		}
	}
	if r := find(results, "price-positive"); r.Err != nil || r.Looked != 2 {
		t.Errorf("price-positive: %+v", r)
	}

	connect = prepare(t, "no_etfs", "old", `DROP TABLE etfs`)
	results, err = Run(t.Context(), connect, Options{Now: now})
	if err != nil || find(results, "orphan-prices").Err == nil || find(results, "price-positive").Err != nil {
		t.Errorf("without etfs: %+v, %v", results, err)
	}

	connect = prepare(t, "cancelled", "old", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, connect, Options{Now: now}); err == nil {
		t.Error("no error from a cancelled context")
	}
	_, err = Run(t.Context(), connect, Options{Tolerate: map[string]int{"price_positive": 1}})
	if err == nil || !strings.Contains(err.Error(), `there is no data rule "price_positive"; they are orphan-prices, price-positive`) {
		t.Errorf("unknown rule: %v", err)
	}
}

// prepare makes a PostgreSQL schema of its own with the tables of a form.
func prepare(t *testing.T, name, form, sql string) Connect {
	t.Helper()
	connect := func(ctx context.Context) (Querier, func(), error) {
		c, err := pgx.Connect(ctx, server.URL("postgres")+"&search_path="+name)
		if err != nil {
			return nil, nil, err
		}
		return c, func() { c.Close(context.WithoutCancel(ctx)) }, nil
	}
	c, err := pgx.Connect(t.Context(), server.URL("postgres")+"&search_path="+name)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.WithoutCancel(t.Context()))
	exec := func(sql string) {
		t.Helper()
		if _, err := c.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA " + name)
	for _, file := range map[string][]string{"old": {"old"}, "new": {"old", "new"}}[form] {
		data, err := os.ReadFile("testdata/" + file + ".sql")
		if err != nil {
			t.Fatal(err)
		}
		exec(string(data))
	}
	exec(sql)
	return connect
}

func rows(t *testing.T, q Querier, sql string) (n int) {
	t.Helper()
	r, err := q.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	for r.Next() {
		n++
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	return n
}

func find(results []Result, rule string) Result {
	for _, r := range results {
		if r.Rule == rule {
			return r
		}
	}
	return Result{}
}
