package etfdata

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// fixture holds thirty working days of four ETFs, up to Friday 2026-04-10,
// that all cost about 100 EUR, and rates that stand still.
const fixture = `INSERT INTO etfs (id, isin, symbol, name, currency) SELECT id, 'IE00BK5BQT80', id, id, currency
		FROM (VALUES ('A.DE', 'EUR'), ('U.US', 'USD'), ('S.SW', 'CHF'), ('L.L', 'GBp')) e (id, currency);
	INSERT INTO exchange_rates (date, currency, rate) SELECT '2026-02-27'::date + i, c, r FROM generate_series(0, 60) i, (VALUES ('USD', 1.1), ('CHF', 0.97), ('GBP', 0.86)) x (c, r);
	INSERT INTO etf_prices (etf_id, date, price, high, low, open, volume) SELECT e.id, d, p, p + 1.13, p - 1.27, p + 0.31, 1000
		FROM etfs e, (SELECT '2026-03-02'::date + i + i / 5 * 2 AS d, 100 + i % 7 * 0.3 AS p FROM (SELECT n AS i FROM generate_series(0, 29) n) n) p;
	UPDATE etfs SET last_price = (SELECT price FROM etf_prices WHERE etf_id = etfs.id AND date = '2026-04-10'), last_update = '2026-04-10 20:00'`

// wrong makes SQL that stores prices of an ETF times a factor.
func wrong(symbol, factor, where string) string {
	return fmt.Sprintf(`UPDATE etf_prices SET price = round(price * %[2]s, 2), high = round(high * %[2]s, 2), low = round(low * %[2]s, 2), open = round(open * %[2]s, 2)
		WHERE etf_id = '%[1]s' AND %[3]s;`, symbol, factor, where)
}

// fresh makes SQL that stores a new price, of the listing's currency.
func fresh(symbol, date string, price float64) string {
	return fmt.Sprintf(`INSERT INTO etf_prices (etf_id, date, price, high, low, open) VALUES ('%s', '%s', %[3]f, %[3]f * 1.01, %[3]f * 0.99, %[3]f);`, symbol, date, price) +
		`UPDATE etf_prices p SET original_currency = e.currency FROM etfs e WHERE e.id = p.etf_id AND p.date > '2026-04-10' AND p.original_currency IS NULL;`
}

// update makes SQL of an update that the service has completed.
func update(symbol, from, to, status, at string) string {
	return fmt.Sprintf(`INSERT INTO etf_updates (etf_id, update_type, start_date, end_date, status, created_at, completed_at)
		VALUES ('%s', 'prices_only', '%s', '%s', '%s', '%[5]s', '%[5]s');`, symbol, from, to, status, at)
}

const last = "date = '2026-04-10'" // of the prices in the backup

// A judgeCase changes the fixture and says what is thought of which rows: by
// "table condition" class, certainty, columns in braces and words of why.
type judgeCase struct {
	name, before, after string
	form                string // default 1.0
	o                   func(*JudgeOptions)
	want                [][2]string
}

func price(symbol, date string) string {
	return fmt.Sprintf("etf_prices coalesce(live, backup)->>'etf_id' = '%s' AND coalesce(live, backup)->>'date' = '%s' AND kind <> 'deleted'", symbol, date)
}

var (
	lastOf = func(symbol string) string { return price(symbol, "2026-04-10") }
	newOf  = func(symbol string) string { return price(symbol, "2026-04-13") }
	etf    = func(symbol string) string { return "etfs coalesce(live, backup)->>'id' = '" + symbol + "'" }
)

// openDay has the backup taken on the last day of the prices.
func openDay(o *JudgeOptions) { o.Backup = day("2026-04-10").Add(18 * time.Hour) }

// oneWriter has the rows written by one release, by the times of updates.
func oneWriter(o *JudgeOptions) { o.Writers = []Writer{{Release: "1.3", From: day("2026-04-11")}} }

func runCases(t *testing.T, cases []judgeCase) {
	t.Helper()
	made := map[string]bool{}
	for i, c := range cases {
		if c.form == "" {
			c.form = "1.0"
		}
		template := strings.ToLower(t.Name()) + "_" + strings.ReplaceAll(c.form, ".", "_")
		if !made[c.form] {
			d := newJudged(t, template, c.form)
			sql := fixture
			if c.form != "0.9" {
				sql += "; UPDATE etf_prices p SET original_currency = e.currency FROM etfs e WHERE e.id = p.etf_id"
			}
			d.exec(sql)
			d.Close(t.Context())
			made[c.form] = true
		}
		t.Run(c.name, func(t *testing.T) {
			d := open(t, fmt.Sprintf("%s_%d", template, i), "judge_"+template)
			if c.before != "" {
				d.exec(c.before)
			}
			d.backUp()
			d.exec("BEGIN; " + c.after + "; COMMIT")
			o := JudgeOptions{Now: day("2026-04-17").Add(22 * time.Hour), Backup: day("2026-04-11")}
			if c.o != nil {
				c.o(&o)
			}
			d.judge(o)
			for _, w := range c.want {
				table, where := cut(w[0])
				v := d.of(table, where)
				if got := fmt.Sprint(v.Class, " ", v.Sure, " ", v.Columns, " ", v.Why); !matches(got, w[1]) {
					t.Errorf("%s: %s\nwant %s", w[0], v, w[1])
				}
			}
		})
	}
}

func cut(row string) (table, where string) {
	table, where, _ = strings.Cut(row, " ")
	return table, where
}

// matches compares the first two words, and looks for the rest after a colon.
func matches(got, want string) bool {
	head, part, _ := strings.Cut(want, ": ")
	return strings.HasPrefix(got, head) && strings.Contains(got, part)
}

func TestJudgeChanged(t *testing.T) {
	const all = "[high low open price]"
	runCases(t, []judgeCase{
		{name: "unconverted dollars", after: wrong("U.US", "1.1", last), want: [][2]string{{lastOf("U.US"), "restore certain " + all + ": stored without conversion, times 1.1"}}},
		{name: "unconverted pence", after: wrong("L.L", "86", last), want: [][2]string{{lastOf("L.L"), "restore certain " + all + ": stored without conversion, times 86"}}},
		{name: "pounds unconverted", after: wrong("L.L", "0.86", last), want: [][2]string{{lastOf("L.L"), "restore certain: stored in pounds"}}},
		{name: "converted, but not from pence", after: wrong("L.L", "100", last), want: [][2]string{{lastOf("L.L"), "restore certain: pence taken for pounds"}}},
		{name: "a hundredfold in euro", after: wrong("A.DE", "100", last), want: [][2]string{{lastOf("A.DE"), "restore certain: a hundred times too much"}}},
		{name: "converted twice", after: wrong("U.US", "1/1.1", last), want: [][2]string{{lastOf("U.US"), "restore certain: converted twice"}}},
		{name: "not the rate, but too much", after: wrong("U.US", "1.095", last), want: [][2]string{{lastOf("U.US"), "restore certain: more than a correction"}}},
		{name: "one amount is not to the cent", after: wrong("U.US", "1.1", last) + "UPDATE etf_prices SET low = low + 0.03 WHERE etf_id = 'U.US' AND " + last,
			want: [][2]string{{lastOf("U.US"), "restore certain: more than a correction"}}},
		{name: "a rate near one, alone", before: "UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF'", after: wrong("S.SW", "0.99", last),
			want: [][2]string{{lastOf("S.SW"), "restore likely: stored without conversion"}}},
		{name: "a rate near one, several", before: "UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF'", after: wrong("S.SW", "0.99", "date >= '2026-04-08'"),
			want: [][2]string{{lastOf("S.SW"), "restore certain: stored without conversion"}}},
		{name: "a correction as large as the rate, not to the cent", before: "UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF'", after: wrong("S.SW", "0.989", "date >= '2026-04-08'"),
			want: [][2]string{{lastOf("S.SW"), "keep likely: a correction of 1.1"}}},
		{name: "a rate of one to the cent is told by its company", before: `UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF';
			UPDATE exchange_rates SET rate = 0.9999 WHERE currency = 'CHF' AND ` + last,
			after: wrong("S.SW", "CASE WHEN "+last+" THEN 0.9999 ELSE 0.99 END", "date >= '2026-04-01'"),
			want:  [][2]string{{lastOf("S.SW"), "restore likely: too small a change to tell"}}},
		{name: "a rate of one to the cent, in another transaction", before: `UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF';
			UPDATE exchange_rates SET rate = 0.9999 WHERE currency = 'CHF' AND ` + last,
			after: wrong("S.SW", "0.99", "date BETWEEN '2026-04-01' AND '2026-04-09'") + "COMMIT; BEGIN;" + wrong("S.SW", "0.9999", last),
			want:  [][2]string{{lastOf("S.SW"), "keep likely: a correction of 0.01"}, {price("S.SW", "2026-04-09"), "restore certain"}}},
		{name: "among many corrections", before: "UPDATE exchange_rates SET rate = 0.99 WHERE currency = 'CHF'", after: wrong("S.SW", "CASE WHEN date >= '2026-04-08' THEN 0.99 ELSE 0.985 END", "date >= '2026-04-01'"),
			want: [][2]string{{lastOf("S.SW"), "restore likely"}, {price("S.SW", "2026-04-07"), "keep likely: a correction of 1.5"}}},
		{name: "a cent alone", before: "UPDATE exchange_rates SET rate = 0.9999 WHERE currency = 'CHF'", after: wrong("S.SW", "0.9999", last),
			want: [][2]string{{lastOf("S.SW"), "keep likely: a correction of 0.01"}}},
		{name: "a rate that changed since: the backup's counts", after: wrong("U.US", "1.1", last) + "UPDATE exchange_rates SET rate = 1.2 WHERE currency = 'USD'",
			want: [][2]string{{lastOf("U.US"), "restore certain: stored without conversion"}}},
		{name: "relabelled as euro", before: "UPDATE etfs SET currency = 'EUR'", after: wrong("U.US", "1.1", last) + "UPDATE etf_prices SET original_currency = 'EUR' WHERE etf_id = 'U.US' AND " + last,
			want: [][2]string{{lastOf("U.US"), "restore certain [high low open original_currency price]: stored without conversion"}}},
		{name: "without original_currency", form: "0.9", after: wrong("U.US", "1.1", last), want: [][2]string{{lastOf("U.US"), "restore certain: stored without conversion"}}},
		{name: "with sources", form: "1.1", after: wrong("U.US", "1.1", last), want: [][2]string{{lastOf("U.US"), "restore certain: stored without conversion"}}},

		{name: "a correction at the limit", before: "UPDATE etf_prices SET price = 100, high = NULL, low = NULL, open = NULL WHERE etf_id = 'A.DE'",
			after: "UPDATE etf_prices SET price = 102 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "keep likely: a correction of 2.00 %"}}},
		{name: "a cent beyond", before: "UPDATE etf_prices SET price = 100, high = NULL, low = NULL, open = NULL WHERE etf_id = 'A.DE'",
			after: "UPDATE etf_prices SET price = 102.01 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "restore certain [price]: more than a correction"}}},
		{name: "another limit", o: func(o *JudgeOptions) { o.Correction = 0.1 }, after: wrong("A.DE", "1.09", last), want: [][2]string{{lastOf("A.DE"), "keep likely: a correction"}}},
		{name: "volume only", after: "UPDATE etf_prices SET volume = 7 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "keep likely []: no amount"}}},
		{name: "a high only", after: "UPDATE etf_prices SET high = high * 1.05 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "restore likely [high]: high, low or open"}}},
		{name: "a high lost", after: "UPDATE etf_prices SET high = NULL WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "keep guess: has gone"}}},
		{name: "a broken rule", after: "UPDATE etf_prices SET price = 0 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "restore certain [price]: prices are above zero"}}},
		{name: "not a number", after: "UPDATE etf_prices SET price = 'NaN', high = 'NaN' WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "restore certain: prices are above zero"}}},
		{name: "a rule that was broken before", before: "UPDATE etf_prices SET high = 50 WHERE etf_id = 'A.DE' AND " + last,
			after: "UPDATE etf_prices SET high = 50.5, volume = 3 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "keep likely: a correction"}}},
		{name: "the backup has nonsense", before: "UPDATE etf_prices SET price = 0 WHERE etf_id = 'A.DE' AND " + last,
			after: "UPDATE etf_prices SET price = 100 WHERE etf_id = 'A.DE' AND " + last, want: [][2]string{{lastOf("A.DE"), "keep guess: no price to compare with"}}},
		{name: "moved to another day", after: "UPDATE etf_prices SET date = '2026-04-15' WHERE etf_id = 'A.DE' AND " + last,
			want: [][2]string{{price("A.DE", "2026-04-15"), "restore likely [date]: moved"}}},

		{name: "the day of the backup", o: openDay, after: wrong("A.DE", "1.05", last), want: [][2]string{{lastOf("A.DE"), "keep guess: was not over"}}},
		{name: "the day before it", o: openDay, after: wrong("A.DE", "1.05", "date = '2026-04-09'"), want: [][2]string{{price("A.DE", "2026-04-09"), "restore certain: more than a correction"}}},
		{name: "the day of the backup, but a jump", o: openDay, after: wrong("A.DE", "1.3", last), want: [][2]string{{lastOf("A.DE"), "restore likely: more than a day moves"}}},
		{name: "the day of the backup, near the rate", o: openDay, after: wrong("U.US", "1.09", last), want: [][2]string{{lastOf("U.US"), "restore likely: nearer to a price stored without conversion"}}},

		{name: "adjusted for a split", after: wrong("A.DE", "0.5", "true") + fresh("A.DE", "2026-04-13", 50) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13'",
			want: [][2]string{{lastOf("A.DE"), "keep likely: adjusted for the split of 2"}, {newOf("A.DE"), "keep likely"}}},
		{name: "another split", after: wrong("A.DE", "0.5", "date >= '2026-03-20'") + fresh("A.DE", "2026-04-13", 50) + "UPDATE etf_prices SET stock_splits = 3 WHERE date = '2026-04-13'",
			want: [][2]string{{lastOf("A.DE"), "restore certain: more than a correction"}}},
		{name: "a split long before", before: "UPDATE etf_prices SET stock_splits = 2 WHERE etf_id = 'A.DE' AND date = '2026-03-10'", after: wrong("A.DE", "0.5", "date >= '2026-03-20'"),
			want: [][2]string{{lastOf("A.DE"), "restore certain: more than a correction"}}},
		{name: "adjusted the wrong way", after: wrong("A.DE", "2", "date >= '2026-03-20'") + fresh("A.DE", "2026-04-13", 100) + "UPDATE etf_prices SET stock_splits = 2 WHERE date = '2026-04-13'",
			want: [][2]string{{lastOf("A.DE"), "restore certain: more than a correction"}}},
		{name: "the whole history by one factor", after: wrong("A.DE", "0.5", "true"), want: [][2]string{{lastOf("A.DE"), "keep guess: whole history changed by the factor 0.5"}}},
		{name: "all but the first day", after: wrong("A.DE", "0.5", "date > '2026-03-02'"), want: [][2]string{{lastOf("A.DE"), "restore certain: more than a correction"}}},
		{name: "the whole history by the rate", after: wrong("U.US", "1.1", "true"), want: [][2]string{{lastOf("U.US"), "restore certain: stored without conversion"}}},
		{name: "marked as adjusted", form: "1.1", after: wrong("A.DE", "0.93", last) + "UPDATE etf_prices SET is_adjusted = true WHERE etf_id = 'A.DE' AND " + last,
			want: [][2]string{{lastOf("A.DE"), "keep guess: marked as adjusted"}}},

		{name: "deleted and written anew, unconverted", after: "CREATE TEMP TABLE x AS SELECT * FROM etf_prices WHERE etf_id = 'S.SW' AND " + last + `; DELETE FROM etf_prices WHERE etf_id = 'S.SW' AND ` + last + `;
			UPDATE x SET id = id + 9000; INSERT INTO etf_prices SELECT * FROM x; ` + wrong("S.SW", "0.97", last),
			want: [][2]string{{lastOf("S.SW"), "quarantine certain []: stored without conversion"}, {"etf_prices kind = 'deleted'", "missing certain: deleted"}}},
		{name: "deleted and written anew, the same", after: "CREATE TEMP TABLE x AS SELECT * FROM etf_prices WHERE etf_id = 'S.SW' AND " + last + `; DELETE FROM etf_prices WHERE etf_id = 'S.SW' AND ` + last + `;
			UPDATE x SET id = id + 9000; INSERT INTO etf_prices SELECT * FROM x`, want: [][2]string{{lastOf("S.SW"), "keep likely: no amount"}}},
	})
}
