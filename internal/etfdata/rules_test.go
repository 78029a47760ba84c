package etfdata

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
	{"prices-exist", "an emptied table", `TRUNCATE etf_prices; UPDATE etf_updates SET missing_dates = '{2026-11-15}'; INSERT INTO etfs VALUES ('A.DE')`, []string{"A.DE", "GOOD.DE"}},
	{"orphan-rows", "by a constraint, and of several tables; no ETF at all is fine", `
		ALTER TABLE pension_etfs ALTER fund DROP NOT NULL;
		SET session_replication_role = replica; -- as a restore without triggers does
		INSERT INTO pension_etfs (id, fund) VALUES (100, 'GONE.DE'), (101, NULL), (102, 'GOOD.DE');
		INSERT INTO etf_updates (id, etf_id, status, created_at) VALUES (100, 'good.de', 'completed', '2026-11-20'), (101, 'GOOD.DE', 'completed', '2026-11-20')`,
		[]string{"etf_updates good.de #100", "pension_etfs GONE.DE #100"}},
	{"orphan-names", "a table without a foreign key, such as a list of what was deleted; unknown is fine", `
		CREATE TABLE "Watch list" (etf_id varchar, "user" varchar); INSERT INTO "Watch list" VALUES ('GONE.DE', 'x'), ('GOOD.DE', 'x'), (NULL, 'y')`,
		[]string{"Watch list GONE.DE #"}},
	{"price-positive", "zero, negative, not a number; a cent is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 0.01, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-16', 0),
			(101, 'GOOD.DE', '2026-11-17', -1), (102, 'GOOD.DE', '2026-11-18', 'NaN'), (103, 'A.DE', '2026-11-13', 0.01)`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101", "GOOD.DE 2026-11-18 #102"}},
	{"price-range", "each order; equal or unknown values are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price, low, high, open) VALUES
			(100, 'GOOD.DE', '2026-11-02', 100, 90, 110, 110.01), (101, 'GOOD.DE', '2026-11-03', 100, 90, 110, 89.99),
			(102, 'GOOD.DE', '2026-11-04', 110.01, 90, 110, 100), (103, 'GOOD.DE', '2026-11-05', 89.99, 90, 110, 100),
			(104, 'GOOD.DE', '2026-11-06', 100, 110, 90, NULL), (105, 'GOOD.DE', '2026-11-09', 100, 100, 100, 100),
			(106, 'GOOD.DE', '2026-11-10', 100, NULL, 110, 1), (107, 'GOOD.DE', '2026-11-11', 100, NULL, NULL, 999),
			(108, 'GOOD.DE', '2026-11-12', 100, 110, NULL, NULL), (109, 'GOOD.DE', '2026-11-13', 100, NULL, 90, NULL)`,
		[]string{"GOOD.DE 2026-11-02 #100", "GOOD.DE 2026-11-03 #101", "GOOD.DE 2026-11-04 #102",
			"GOOD.DE 2026-11-05 #103", "GOOD.DE 2026-11-06 #104", "GOOD.DE 2026-11-12 #108", "GOOD.DE 2026-11-13 #109"}},
	{"price-range", "of the columns that there are", `
		ALTER TABLE etf_prices DROP COLUMN high, DROP COLUMN open;
		INSERT INTO etf_prices (id, etf_id, date, price, low) VALUES (100, 'GOOD.DE', '2026-11-17', 100, 100.01), (101, 'GOOD.DE', '2026-11-18', 100, 100)`,
		[]string{"GOOD.DE 2026-11-17 #100"}},
	{"price-jump", "a cent beyond a quarter, up or down, also over a weekend; a quarter is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 93.74, '2026-11-20'), ('B.DE', NULL, 75, '2026-11-20'), ('C.DE', NULL, 1250000000, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'A.DE', '2026-11-13', 100), (101, 'A.DE', '2026-11-16', 125.01), (102, 'A.DE', '2026-11-17', 125), (103, 'A.DE', '2026-11-18', 93.74),
			(110, 'B.DE', '2026-11-16', 100), (111, 'B.DE', '2026-11-17', 125), (112, 'B.DE', '2026-11-18', 100), (113, 'B.DE', '2026-11-19', 75),
			(120, 'C.DE', '2026-11-16', 1000000000), (121, 'C.DE', '2026-11-17', 1250000000), (122, 'C.DE', '2026-11-18', 1000000000), (123, 'C.DE', '2026-11-19', 1250000000.01);
		UPDATE etfs SET last_price = 1250000000.01 WHERE id = 'C.DE'`,
		[]string{"A.DE 2026-11-16 #101", "A.DE 2026-11-18 #103", "C.DE 2026-11-19 #123"}},
	{"price-jump", "a split that explains too little, the wrong way, or was before; one that does is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 25, '2026-11-20'), ('B.DE', NULL, 200, '2026-11-20'), ('C.DE', NULL, 50, '2026-11-20'), ('D.DE', NULL, 50.01, '2026-11-20'), ('E.DE', NULL, 1000, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price, stock_splits) VALUES (100, 'A.DE', '2026-11-16', 100, NULL), (101, 'A.DE', '2026-11-17', 25, 2),
			(110, 'B.DE', '2026-11-16', 100, NULL), (111, 'B.DE', '2026-11-17', 200, 2), (120, 'C.DE', '2026-11-16', 100, 2), (121, 'C.DE', '2026-11-17', 50, 0),
			(130, 'D.DE', '2026-11-16', 100, NULL), (131, 'D.DE', '2026-11-17', 50.01, 2), (140, 'E.DE', '2026-11-16', 100, 0), (141, 'E.DE', '2026-11-17', 1000, 0.1)`,
		[]string{"A.DE 2026-11-17 #101", "B.DE 2026-11-17 #111", "C.DE 2026-11-17 #121"}},
	{"price-jump", "past a price that is none, and in the order of days, not of rows", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 130, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'A.DE', '2026-11-20', 130), (101, 'A.DE', '2026-11-18', 100), (102, 'A.DE', '2026-11-17', 80), (103, 'A.DE', '2026-11-16', 64)`,
		[]string{"A.DE 2026-11-20 #100"}},
	{"price-gap", "eleven working days; ten are fine, however many weekends", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 1, '2026-11-20'), ('B.DE', NULL, 1, '2026-11-20'), ('C.DE', NULL, 1, '2026-11-20');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('A.DE', '2026-11-03', 1), ('A.DE', '2026-11-19', 1), ('B.DE', '2026-11-04', 1), ('B.DE', '2026-11-19', 1),
			('C.DE', '2026-10-30', 1), ('C.DE', '2026-11-16', 1)`,
		[]string{"A.DE 2026-11-03 to 2026-11-19"}},
	{"date-future", "tomorrow; today is fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-23', 100), (101, 'GOOD.DE', '2026-11-24', 100);
		UPDATE etfs SET last_update = '2026-11-24 20:00'`,
		[]string{"GOOD.DE 2026-11-24 #101"}},
	{"date-future", "infinity has no weekday", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (101, 'GOOD.DE', 'infinity', 100);
		UPDATE etfs SET last_update = 'infinity'`,
		[]string{"GOOD.DE infinity #101"}},
	{"date-before-euro", "the last day of 1998; the first working day in euro is fine", `
		INSERT INTO etfs VALUES ('A.DE', NULL, 100, '2026-11-20');
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'A.DE', '1998-12-31', 10), (101, 'A.DE', '1999-01-04', 100), (102, 'A.DE', '-infinity', 100)`,
		[]string{"A.DE 1998-12-31 #100", "A.DE -infinity #102"}},
	{"date-weekend", "Saturday and Sunday; Friday and Monday are fine", `
		INSERT INTO etf_prices (id, etf_id, date, price) VALUES (100, 'GOOD.DE', '2026-11-13', 100), (101, 'GOOD.DE', '2026-11-14', 100),
			(102, 'GOOD.DE', '2026-11-15', 100), (103, 'GOOD.DE', '2026-11-16', 100), (104, 'A.DE', '2000-01-02', 100), (105, 'A.DE', '2000-01-03', 100);
		INSERT INTO etfs VALUES ('A.DE', NULL, 100, '2026-11-20')`,
		[]string{"GOOD.DE 2026-11-14 #101", "GOOD.DE 2026-11-15 #102", "A.DE 2000-01-02 #104"}},
	{"date-holiday", "where the currency's exchanges are closed; where others trade it is fine", `
		INSERT INTO etfs SELECT id, NULL, 100, '2026-11-20' FROM unnest('{EU,NO,UK,CH,US,JP,AU}'::text[]) AS e (id);
		INSERT INTO etf_prices (id, etf_id, date, price, original_currency) VALUES
			(100, 'EU', '2026-01-01', 100, 'EUR'), (101, 'US', '2026-01-01', 100, 'USD'), (102, 'JP', '2026-01-01', 100, 'JPY'),
			(110, 'EU', '2026-04-03', 100, 'EUR'), (111, 'US', '2026-04-03', 100, 'USD'), (112, 'JP', '2026-04-03', 100, 'JPY'),
			(120, 'EU', '2026-04-06', 100, 'EUR'), (121, 'US', '2026-04-06', 100, 'USD'), (122, 'NO', '2026-04-06', 100, NULL), (123, 'UK', '2026-04-06', 100, 'GBp'),
			(130, 'EU', '2025-12-25', 100, 'EUR'), (131, 'AU', '2025-12-25', 100, 'AUD'), (132, 'JP', '2025-12-25', 100, 'JPY'),
			(140, 'CH', '2025-12-26', 100, 'CHF'), (141, 'US', '2025-12-26', 100, 'USD'), (150, 'UK', '2026-05-01', 100, 'GBP'),
			(160, 'EU', '2026-04-02', 100, 'EUR'), (161, 'EU', '2026-04-07', 100, 'EUR'), (162, 'EU', '2025-12-24', 100, 'EUR'), (163, 'EU', '2026-01-02', 100, 'EUR');
		INSERT INTO etf_prices (etf_id, date, price, original_currency) SELECT p.id, d, 100, c FROM (VALUES ('EU', 'EUR'), ('UK', 'GBP'), ('US', 'USD'), ('JP', 'JPY')) p (id, c),
			generate_series('2025-12-29'::date, '2026-05-04', '7 days') AS d ON CONFLICT DO NOTHING`,
		[]string{"EU 2026-01-01 #100", "US 2026-01-01 #101", "JP 2026-01-01 #102", "EU 2026-04-03 #110", "US 2026-04-03 #111", "EU 2026-04-06 #120",
			"NO 2026-04-06 #122", "UK 2026-04-06 #123", "EU 2025-12-25 #130", "AU 2025-12-25 #131", "CH 2025-12-26 #140"}},
	{"date-may-day", "in euro or francs; London and New York trade", `
		INSERT INTO etfs SELECT id, NULL, 100, '2026-11-20' FROM unnest('{EU,UK,CH,US}'::text[]) AS e (id);
		INSERT INTO etf_prices (id, etf_id, date, price, original_currency) VALUES (100, 'EU', '2026-05-01', 100, 'EUR'), (101, 'CH', '2026-05-01', 100, 'CHF'),
			(102, 'US', '2026-05-01', 100, 'USD'), (103, 'UK', '2026-05-01', 100, 'GBp'), (104, 'EU', '2026-04-30', 100, 'EUR'), (105, 'EU', '2026-05-04', 100, 'EUR')`,
		[]string{"EU 2026-05-01 #100", "CH 2026-05-01 #101"}},
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
		INSERT INTO etf_prices (id, etf_id, date, price, volume, dividends, capital_gains) VALUES (100, 'GOOD.DE', '2026-11-16', 100, -0.01, NULL, NULL),
			(101, 'GOOD.DE', '2026-11-17', 100, NULL, -0.000001, NULL), (102, 'GOOD.DE', '2026-11-18', 100, 0, 0, 0), (103, 'GOOD.DE', '2026-11-13', 100, 1, 1, -1)`,
		[]string{"GOOD.DE 2026-11-16 #100", "GOOD.DE 2026-11-17 #101", "GOOD.DE 2026-11-13 #103"}},
	{"negative-amounts", "of the columns that there are", `
		ALTER TABLE etf_prices DROP COLUMN capital_gains, DROP COLUMN volume;
		INSERT INTO etf_prices (id, etf_id, date, price, dividends) VALUES (100, 'GOOD.DE', '2026-11-17', 100, -1)`,
		[]string{"GOOD.DE 2026-11-17 #100"}},
	{"duplicate-prices", "without the constraint; another day or ETF is fine", `
		ALTER TABLE etf_prices DROP CONSTRAINT uq_etf_prices;
		CREATE UNIQUE INDEX ON etf_prices (etf_id, date) WHERE price > 1000;
		INSERT INTO etfs VALUES ('A.DE');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('GOOD.DE', '2026-11-16', 100), ('GOOD.DE', '2026-11-16', 101), ('GOOD.DE', '2026-11-17', 100);
		INSERT INTO etfs VALUES ('B.DE', NULL, 101, '2026-11-16');
		INSERT INTO etf_prices (etf_id, date, price) VALUES ('B.DE', '2026-11-16', 101)`,
		[]string{"GOOD.DE 2026-11-16"}},
	{"duplicate-rates", "without the constraint; another day or currency is fine", `
		ALTER TABLE exchange_rates DROP CONSTRAINT uq_exchange_rates;
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-11-18', 'USD', 1.1), ('2026-11-18', 'USD', 1.2), ('2026-11-17', 'USD', 1.1), ('2026-11-18', 'CHF', 1.1)`,
		[]string{"USD 2026-11-18"}},
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
	{"unresolved-errors", "a second over the week; younger or resolved ones are fine", `
		INSERT INTO etf_errors (id, etf_id, date, created_at, resolved) VALUES (1, 'GOOD.DE', '2026-11-13', '2026-11-16 00:59:59', false), (2, 'GOOD.DE', '2026-11-12', '2026-11-16 01:00', false),
			(3, 'GOOD.DE', '2026-11-11', '2026-01-16', true), (4, 'GOOD.DE', '2026-11-10', '2026-01-16', NULL)`,
		[]string{"GOOD.DE #1", "GOOD.DE #4"}},
	{"unresolved-rate-errors", "for a year", `
		INSERT INTO exchange_rate_errors (id, date, created_at, resolved) VALUES (1, '2026-11-13', '2025-11-16', false), (2, '2026-11-13', '2026-11-22', false)`,
		[]string{"#1"}},
	{"missing-prices", "noted three days ago; filled, young, or of a day without trade is fine", `
		INSERT INTO etf_updates (id, etf_id, status, created_at, missing_dates) VALUES (1, 'GOOD.DE', 'completed_with_errors', '2026-11-20 00:59:59', '{2026-11-17,2026-11-19,2026-11-15,2026-04-03}'),
			(2, 'GOOD.DE', 'completed', '2026-11-22', '{2026-11-17,2026-11-18}'), (3, 'GOOD.DE', 'completed', '2026-11-20 01:00:01', '{2026-11-16}')`,
		[]string{"GOOD.DE 2026-11-17"}},
	{"missing-rates", "of a currency; filled ones are fine", `
		INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-11-17', 'USD', 1.1);
		INSERT INTO exchange_rate_updates (id, currencies, status, created_at, missing_dates) VALUES (1, '{USD,CHF}', 'completed_with_errors', '2026-11-18', '{2026-11-17,2026-05-01}'),
			(2, NULL, 'completed_with_errors', '2026-11-18', '{2026-11-17,2026-11-16}')`,
		[]string{"CHF 2026-11-17", "rates of 2026-11-16"}},
	{"missing-rates", "of any currency where updates name none", `
		ALTER TABLE exchange_rate_updates DROP COLUMN currencies;
		INSERT INTO exchange_rate_updates (id, status, created_at, missing_dates) VALUES (1, 'completed_with_errors', '2026-11-18', '{2026-11-18,2026-11-19}')`,
		[]string{"rates of 2026-11-18"}},
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
					if r.Rule == "orphan-names" && (r.Looks == "no table") == (c.rule == r.Rule) {
						t.Errorf("%s looked at %s", r.Rule, r.Looks)
					}
					if r.Err != nil || r.Absent != "" || r.Violations != int64(len(want)) || !cmp.Equal(want[:min(len(want), maxSamples)], r.Samples, cmpopts.EquateEmpty()) {
						t.Errorf("%s: %d rows, %q, %v; want %q", r.Rule, r.Violations, r.Samples, r.Err, want)
					}
					if r.Looks == "no table" {
						continue // only the case of orphan-names has one of its kind
					}
					if (r.Looked == 0) != (c.rule == "prices-exist" && strings.Contains(r.Looks, "prices")) || r.Looks == "" {
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

// prepare makes a PostgreSQL schema of its own with the tables of a form.
func prepare(t *testing.T, name, form, sql string) Connect {
	t.Helper()
	connect := func(ctx context.Context) (*pgx.Conn, func(), error) {
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
