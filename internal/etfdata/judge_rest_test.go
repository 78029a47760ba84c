package etfdata

import (
	"fmt"
	"testing"
	"time"
)

func TestJudgeETFs(t *testing.T) {
	follow := "UPDATE etfs e SET last_price = (SELECT price FROM etf_prices WHERE etf_id = e.id ORDER BY date DESC LIMIT 1), last_update = '2026-04-13 20:00' WHERE id IN ('A.DE', 'U.US');"
	runCases(t, []judgeCase{
		{name: "followed a wrong new price", after: fresh("U.US", "2026-04-13", 8000) + follow + "UPDATE etfs SET name = 'x', ter = 0.1 WHERE id = 'U.US'",
			want: [][2]string{{etf("U.US"), "restore likely [last_price last_update] last_price followed a wrong price; after the repair the newest is 100.3 of 2026-04-10; kept: name, ter"}, {etf("A.DE"), "keep certain []: no rule"}}},
		{name: "followed a wrong changed price", after: wrong("U.US", "1.1", "date >= '2026-04-08'") + follow, want: [][2]string{{etf("U.US"), "restore certain [last_price last_update]"}}},
		{name: "followed a right new price", after: fresh("A.DE", "2026-04-13", 101) + follow + "UPDATE etfs SET name = 'x' WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "keep certain []: last_price is the newest price; kept: name"}}},
		{name: "followed a price that is a guess", after: fresh("U.US", "2026-04-14", 106) + follow, want: [][2]string{{etf("U.US"), "restore guess [last_price last_update]"}}},
		{name: "a right price stands behind the wrong one", after: fresh("U.US", "2026-04-13", 101) + fresh("U.US", "2026-04-14", 8000) + follow,
			want: [][2]string{{etf("U.US"), "keep guess []: last_price 8000 is not right, nor is the backup's 100.3: after the repair the newest price is 101 of 2026-04-13; set it by hand"}}},
		{name: "a right price came after the wrong one", after: fresh("U.US", "2026-04-13", 8000) + follow + fresh("U.US", "2026-04-14", 101),
			want: [][2]string{{etf("U.US"), "keep guess: the newest price is 101 of 2026-04-14"}}},
		{name: "the backup's last_update is not right", before: "UPDATE etfs SET last_update = '2026-04-01'", after: fresh("U.US", "2026-04-13", 8000) + follow, want: [][2]string{{etf("U.US"), "restore likely [last_price] last_price followed"}}},
		{name: "by hand, wrong", after: "UPDATE etfs SET last_price = 99 WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "restore likely [last_price]"}}},
		{name: "last_update too old", after: "UPDATE etfs SET last_update = '2026-04-09' WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "restore certain [last_update]: older than the newest price"}}},
		{name: "last_update newer", after: "UPDATE etfs SET last_update = '2026-04-12' WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "keep certain []: no rule"}}},
		{name: "without prices", after: "DELETE FROM etf_prices WHERE etf_id = 'A.DE'; UPDATE etfs SET last_price = 1 WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "keep guess: there are no prices"}}},
		{name: "only the name", after: "UPDATE etfs SET name = 'x' WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "keep certain []: no rule"}}},
		{name: "ISIN", after: "UPDATE etfs SET isin = 'IE00BK5BQT81' WHERE id = 'A.DE'; UPDATE etfs SET isin = 'US0378331005' WHERE id = 'L.L'",
			want: [][2]string{{etf("A.DE"), "restore likely [isin]: IE00BK5BQT81 breaks"}, {etf("L.L"), "keep certain []"}}},
		{name: "ISIN and price", after: fresh("U.US", "2026-04-13", 8000) + follow + "UPDATE etfs SET isin = 'x' WHERE id = 'U.US'",
			want: [][2]string{{etf("U.US"), "restore likely [isin last_price last_update] x breaks"}}},
		{name: "ISIN was wrong before", before: "UPDATE etfs SET isin = 'y'", after: "UPDATE etfs SET isin = 'x' WHERE id = 'A.DE'", want: [][2]string{{etf("A.DE"), "keep certain"}}},
		{name: "new with a wrong ISIN", after: "INSERT INTO etfs (id, isin, symbol, name, currency) VALUES ('N.DE', 'x', 'N', 'N', 'EUR'), ('M.DE', 'US0378331005', 'M', 'M', 'EUR')",
			want: [][2]string{{etf("N.DE"), "keep guess []: x breaks"}, {etf("M.DE"), "keep certain"}}},
	})
}

func TestJudgeOtherTables(t *testing.T) {
	rate := func(currency, date string) string {
		return fmt.Sprintf("exchange_rates coalesce(live, backup)->>'currency' = '%s' AND coalesce(live, backup)->>'date' = '%s'", currency, date)
	}
	runCases(t, []judgeCase{
		{name: "rates of past days", after: `UPDATE exchange_rates SET rate = 1.13 WHERE currency = 'USD' AND date = '2026-04-09'; UPDATE exchange_rates SET rate = 1.12 WHERE currency = 'USD' AND date = '2026-04-08';
			UPDATE exchange_rates SET rate = 0 WHERE currency = 'USD' AND date = '2026-04-07'`,
			want: [][2]string{{rate("USD", "2026-04-09"), "restore likely [rate]: changed from 1.1 to 1.13"}, {rate("USD", "2026-04-08"), "keep certain"}, {rate("USD", "2026-04-07"), "restore certain [rate]: not above zero"}}},
		{name: "new rates", after: `INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-05-04', 'USD', 1.2), ('2026-05-04', 'CHF', 97), ('2026-05-05', 'CHF', 0.98), ('2026-05-04', 'GBP', -1), ('2026-05-04', 'JPY', 160)`,
			want: [][2]string{{rate("USD", "2026-05-04"), "keep certain"}, {rate("CHF", "2026-05-04"), "quarantine likely []: 97 after 0.97"}, {rate("CHF", "2026-05-05"), "keep certain"},
				{rate("GBP", "2026-05-04"), "quarantine certain"}, {rate("JPY", "2026-05-04"), "keep certain"}}},
		{name: "a wrong new rate converts nothing", before: "DELETE FROM exchange_rates WHERE currency = 'USD' AND date > '2026-04-09'", after: "INSERT INTO exchange_rates (date, currency, rate) VALUES ('2026-04-10', 'USD', 9);" + wrong("U.US", "1.1", last),
			want: [][2]string{{lastOf("U.US"), "restore certain: stored without conversion, times 1.1"}}},
		{name: "updates", after: update("A.DE", "2026-04-10", "2026-04-13", "completed", "2026-04-13 20:00") + "INSERT INTO etf_updates (etf_id, update_type, status, created_at) VALUES ('U.US', 'full', 'processing', '2026-04-17 20:59'), ('L.L', 'full', 'processing', '2026-04-17 21:01')",
			want: [][2]string{{"etf_updates live->>'etf_id' = 'A.DE'", "keep certain: no rule"}, {"etf_updates live->>'etf_id' = 'U.US'", "keep guess: no update of an ETF is stuck"}, {"etf_updates live->>'etf_id' = 'L.L'", "keep certain"}}},
		{name: "contributions", before: "INSERT INTO households (name) VALUES ('h'); INSERT INTO pension_etfs (household_id, etf_id, monthly_amount) VALUES (1, 'U.US', 50), (1, 'A.DE', 50)",
			after: wrong("U.US", "1.1", last) + `INSERT INTO pension_contributions (pension_id, etf_id, date, amount, price, units) VALUES (1, 'U.US', '2026-04-01', 50, 110.33, 0.4), (2, 'A.DE', '2026-04-01', 50, 100.3, 0.5), (1, 'U.US', '2026-03-01', 50, 100.3, 0.4);
				UPDATE pension_etfs SET units = 1; INSERT INTO households (name) VALUES ('i'); DELETE FROM daily_update_tracking`,
			want: [][2]string{{"pension_contributions live->>'etf_id' = 'U.US' AND live->>'date' = '2026-03-01'", "keep certain"}, {"pension_contributions live->>'etf_id' = 'U.US' AND live->>'date' = '2026-04-01'", "keep guess: booked at 110.33, a wrong price of U.US (2026-04-10)"}, {"pension_contributions live->>'etf_id' = 'A.DE'", "keep certain"},
				{"pension_etfs live->>'id' = '1'", "keep guess: contribution that was booked at a wrong price"}, {"pension_etfs live->>'id' = '2'", "keep certain"}, {"households true", "keep certain []: no rule speaks against it"}}},
		{name: "deleted", after: "DELETE FROM etf_prices WHERE etf_id = 'A.DE' AND " + last + "; DELETE FROM exchange_rates WHERE currency = 'USD' AND date = '2026-03-01'",
			want: [][2]string{{"etf_prices kind = 'deleted'", "missing certain []: deleted since the backup"}, {"exchange_rates kind = 'deleted'", "missing certain"}}},
		{name: "without the tables that help", before: "DROP TABLE exchange_rates, etf_updates", after: wrong("U.US", "1.1", last), want: [][2]string{{lastOf("U.US"), "restore certain: more than a correction"}}},
	})
}

func TestWriters(t *testing.T) {
	d := newJudged(t, "writers", "1.0")
	d.exec(fixture)
	d.backUp()
	var xids []uint64
	for i, symbol := range []string{"A.DE", "U.US", "S.SW"} {
		xids = append(xids, d.xid())
		d.exec("BEGIN;" + wrong(symbol, "1.01", last) + update(symbol, "2026-04-10", "2026-04-13", "completed", fmt.Sprintf("2026-04-1%d 20:00", i+3)) +
			fmt.Sprintf("UPDATE etfs SET last_update = '2026-04-1%d' WHERE id = '%s'; COMMIT", i+3, symbol))
	}
	d.exec(update("U.US", "2026-04-10", "2026-04-13", "completed", "2026-04-13 19:00") + wrong("L.L", "1.01", last) + "DELETE FROM etf_prices WHERE etf_id = 'L.L' AND date = '2026-03-02'; INSERT INTO households (name) VALUES ('h')")
	at := func(n int) time.Time { return day("2026-04-13").AddDate(0, 0, n) }
	a, b, c := Writer{"a", "op-1", at(0), xids[0]}, Writer{"b", "op-2", at(1), xids[1]}, Writer{"c", "", at(2), xids[2]}
	without := func(w Writer) Writer { w.FromXID = 0; return w }
	twisted := b
	twisted.FromXID = xids[0] - 1
	for _, test := range []struct {
		name    string
		writers []Writer
		want    []string // of the prices of A.DE, U.US, S.SW, L.L, of a household, of the ETF U.US, of the update of S.SW, of what was deleted
	}{
		{"none", nil, []string{"unknown", "unknown", "unknown", "unknown", "unknown", "unknown", "unknown", "unknown"}},
		{"by transaction, in any order", []Writer{c, a, b}, []string{"a (op-1): certain", "b (op-2): certain", "c: certain", "c: certain", "c: certain", "b (op-2): certain", "c: certain", "unknown"}},
		{"before the first", []Writer{b, c}, []string{"unknown", "b (op-2): certain", "c: certain", "c: certain", "c: certain", "b (op-2): certain", "c: certain", "unknown"}},
		{"by time", []Writer{without(a), without(b), without(c)}, []string{"a (op-1): likely", "b (op-2): likely", "c: likely", "unknown", "unknown", "b (op-2): likely", "c: likely", "unknown"}},
		{"one without an id in between", []Writer{a, without(b), c}, []string{"a (op-1): likely", "b (op-2): likely", "c: certain", "c: certain", "c: certain", "b (op-2): likely", "c: certain", "unknown"}},
		{"ids of another database", []Writer{a, twisted, c}, []string{"a (op-1): likely", "b (op-2): likely", "c: likely", "unknown", "unknown", "b (op-2): likely", "c: likely", "unknown"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			d.t = t
			d.judge(JudgeOptions{Now: day("2026-04-17"), Backup: day("2026-04-11"), Writers: test.writers})
			for i, row := range []string{lastOf("A.DE"), lastOf("U.US"), lastOf("S.SW"), lastOf("L.L"), "households true", etf("U.US"), "etf_updates live->>'etf_id' = 'S.SW'", "etf_prices kind = 'deleted'"} {
				table, where := cut(row)
				if v := d.of(table, where); v.Writer != test.want[i] {
					t.Errorf("%s: %s, want %s", row, v, test.want[i])
				}
			}
		})
	}
}

// Judging again in the same transaction changes nothing, and the transaction's
// settings are as before.
func TestJudgeAgain(t *testing.T) {
	d := newJudged(t, "again", "1.0")
	d.exec(fixture)
	d.backUp()
	d.exec(wrong("U.US", "1.2", last))
	d.compare()
	tx, err := d.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d.exec("SET LOCAL search_path = pg_catalog; SET LOCAL work_mem = '5MB'")
	for range 2 {
		if err := Judge(t.Context(), tx, JudgeOptions{Now: day("2026-04-17")}); err != nil {
			t.Fatal(err)
		}
	}
	var path, mem string
	if d.one("SELECT current_setting('search_path'), current_setting('work_mem')", &path, &mem); path != "pg_catalog" || mem != "5MB" {
		t.Errorf("search_path is %s, work_mem %s", path, mem)
	}
	if v := d.of("etf_prices", "true"); v.Class != Restore || v.Sure != Certain {
		t.Errorf("%s", v)
	}
	d.exec("DROP TABLE etf_ops.work_rows")
	if err := Judge(t.Context(), tx, JudgeOptions{}); err == nil {
		t.Error("no error without the rows to judge")
	}
}
