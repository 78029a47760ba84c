package etfdata

import (
	"context"
	"fmt"
	"strings"
)

// amounts are the columns that are converted together.
var amounts = []string{"price", "high", "low", "open"}

// noHistory reports whether prices have too few columns to be judged by more
// than the rules.
func (j *judge) noHistory() bool {
	return !j.prices || j.s.lacks([]string{"etf_prices.etf_id", "etf_prices.date", "etf_prices.price"}) != nil
}

// readPrices makes judge_live and judge_backup, both sides as rows of the
// table, and judge_prices, what is known of each price: both sides' amounts
// (l_price, b_price …), the currency it came in, that day's rate, who wrote it,
// and dev, the largest relative change of an amount. A change that is what a
// fault makes of the backup's price names the fault; exact says that the
// fault's factor is far enough from one to show beyond the cents.
func (j *judge) readPrices(ctx context.Context) error {
	if !j.prices {
		return nil
	}
	for _, side := range []string{"live", "backup"} {
		if err := j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_%[1]s ON COMMIT DROP AS SELECT w.n AS judged_n, w.kind AS judged_kind, p.*
			FROM etf_ops.work_rows w, LATERAL jsonb_populate_record(NULL::etf_prices, w.%[1]s) p
			WHERE w.tbl = 'public.etf_prices' AND w.%[1]s IS NOT NULL;
			ALTER TABLE judge_%[1]s ADD PRIMARY KEY (judged_n);
			ANALYZE judge_%[1]s`, side)); err != nil {
			return err
		}
	}
	if j.noHistory() {
		return nil
	}
	return j.exec(ctx, fmt.Sprintf(`CREATE INDEX ON judge_live (%[12]s);
		CREATE TEMP TABLE judge_prices ON COMMIT DROP AS
		WITH twins AS (%[1]s), w AS (
			SELECT w.n, w.kind, w.xid, w.changed, t.deleted, coalesce(t.deleted, w.n) AS old
			FROM etf_ops.work_rows w LEFT JOIN twins t ON t.added = w.n WHERE w.tbl = 'public.etf_prices'
		), r AS (
			SELECT w.*, coalesce(l.etf_id, b.etf_id)::text AS etf, coalesce(l.date, b.date) AS date, %[2]s AS source, %[3]s,
				%[4]s AS split, %[5]s AS entered, %[6]s AS currency, %[7]s AS by_xid, l.date IS DISTINCT FROM b.date OR l.etf_id IS DISTINCT FROM b.etf_id AS moved
			FROM w LEFT JOIN judge_live l ON l.judged_n = w.n LEFT JOIN judge_backup b ON b.judged_n = w.old %[8]s
		), days AS MATERIALIZED (
			SELECT currency, date, (SELECT r.rate FROM judge_rates r WHERE r.currency = CASE WHEN d.currency IN ('GBp', 'GBX') THEN 'GBP' ELSE d.currency END
				AND r.date <= d.date ORDER BY r.date DESC LIMIT 1) AS rate
			FROM (SELECT DISTINCT currency, date FROM r WHERE currency IS NOT NULL) d
		), p AS (
			SELECT r.*, days.rate, CASE WHEN r.currency IN ('GBp', 'GBX') THEN 100 ELSE 1 END::float8 AS pence,
				u.start_date, u.end_date, u.done, coalesce(r.by_xid, u.writer) AS writer
			FROM r LEFT JOIN days USING (currency, date)
			LEFT JOIN LATERAL (SELECT * FROM judge_updates u WHERE u.etf = r.etf AND r.date BETWEEN u.start_date AND u.end_date
				ORDER BY u.completed_at DESC LIMIT 1) u ON r.kind = 'added' OR r.kind = 'changed' AND r.by_xid IS NULL
		)
		SELECT p.*, d.dev, f.fault, f.factor, f.exact FROM p
		LEFT JOIN LATERAL (SELECT %[9]s AS dev WHERE (p.kind = 'changed' OR p.deleted IS NOT NULL) AND p.l_price > 0 AND p.b_price > 0
			AND (p.l_price, p.l_high, p.l_low, p.l_open) IS DISTINCT FROM (p.b_price, p.b_high, p.b_low, p.b_open)) d ON true
		LEFT JOIN LATERAL (SELECT f.fault, f.factor, abs(f.factor - 1) * p.b_price > 2 * %[10]s AS exact FROM %[11]s
			WHERE f.factor > 0 AND %[13]s ORDER BY exact DESC, nth LIMIT 1) f ON d.dev > 0;
		ALTER TABLE judge_prices ADD PRIMARY KEY (n);
		CREATE INDEX ON judge_prices (etf, date);
		ANALYZE judge_prices;
		INSERT INTO judge_wrote SELECT n, writer FROM judge_prices WHERE by_xid IS NULL AND writer IS NOT NULL`,
		j.twins(), j.either("source", "NULL::text"), j.bothSides(), j.live("stock_splits", "NULL::float8"), j.entered(), j.currency(),
		j.writers.byXID("w.xid"), j.joinETFs(), deviation(), cents, faultValues(), j.key(), toTheCent()))
}

// twins are rows that were deleted and written anew under another id.
func (j *judge) twins() string {
	var same []string
	for _, c := range priceKey(j.s) {
		same = append(same, fmt.Sprintf("a.%[1]s = d.%[1]s", c))
	}
	return `SELECT DISTINCT ON (a.judged_n) a.judged_n AS added, d.judged_n AS deleted FROM judge_live a JOIN judge_backup d ON ` +
		strings.Join(same, " AND ") + ` WHERE a.judged_kind = 'added' AND d.judged_kind = 'deleted' ORDER BY a.judged_n, d.judged_n`
}

// live is a column of the live row, or another expression where there is none.
func (j *judge) live(column, otherwise string) string {
	if !j.s.has("etf_prices." + column) {
		return otherwise
	}
	return "l." + column
}

func (j *judge) either(column, otherwise string) string {
	if !j.s.has("etf_prices." + column) {
		return otherwise
	}
	return fmt.Sprintf("coalesce(l.%[1]s, b.%[1]s)", column)
}

func (j *judge) bothSides() string {
	var list []string
	for _, a := range amounts {
		for _, side := range []string{"l", "b"} {
			value := "NULL"
			if j.s.has("etf_prices." + a) {
				value = side + "." + a
			}
			list = append(list, fmt.Sprintf("%s::float8 AS %s_%s", value, side, a))
		}
	}
	return strings.Join(list, ", ")
}

// entered is true for prices that no update wrote: those entered through the
// API come in EUR and say nothing of a currency.
func (j *judge) entered() string {
	if !j.s.has("etf_prices.original_currency") {
		return "false"
	}
	return "coalesce(l.original_currency, '') = ''"
}

// currency is the one that a price came in, as the backup has it where it
// can: the live row may have been written by what is to be judged.
func (j *judge) currency() string {
	list := "NULL"
	if j.s.has("etf_prices.original_currency") {
		list = "nullif(nullif(b.original_currency, 'EUR'), ''), nullif(nullif(l.original_currency, 'EUR'), '')"
	}
	if j.s.has("etfs.id") && j.s.has("etfs.currency") {
		list += ", nullif(nullif(e.currency, 'EUR'), '')"
	}
	return "coalesce(" + list + ", NULL::text)"
}

func (j *judge) joinETFs() string {
	if !j.s.has("etfs.id") {
		return ""
	}
	return "LEFT JOIN etfs e ON e.id = coalesce(l.etf_id, b.etf_id)"
}

// judgeByRules makes judge_broken: rows that break rules which the backup's
// row, where there is one, does not break.
func (j *judge) judgeByRules(ctx context.Context) error {
	if !j.prices {
		return nil
	}
	var cases []string
	o := Options{Now: j.o.Now, StuckAfter: j.o.StuckAfter}
	for _, rule := range Rules() {
		if rule.Severity == Fault && rule.view(j.s, o).from == prices(j.s, o).from && rule.applies(j.s) == nil {
			cases = append(cases, fmt.Sprintf("CASE WHEN %s THEN %s END", rule.where(j.s, o), literal(rule.Title)))
		}
	}
	broken := func(side string) string {
		return fmt.Sprintf("SELECT judged_n, array_remove(ARRAY[%s]::text[], NULL) AS titles FROM %s",
			strings.Join(cases, ", "), pricesIn("judge_"+side).from)
	}
	return j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_broken ON COMMIT DROP AS
		SELECT n, array_agg(title) AS titles FROM (
			SELECT l.judged_n AS n, unnest(l.titles) AS title FROM (%s) l WHERE l.titles <> '{}'
			EXCEPT SELECT b.judged_n, unnest(b.titles) FROM (%s) b) x
		GROUP BY n;
		ALTER TABLE judge_broken ADD PRIMARY KEY (n);
		%s
		ANALYZE judge_broken;
		INSERT INTO judge_verdicts SELECT n, CASE w.kind WHEN 'added' THEN 'quarantine' ELSE 'restore' END, 'certain',
			'breaks "' || array_to_string(titles, '" and "') || '"', CASE w.kind WHEN 'changed' THEN w.changed END
		FROM judge_broken JOIN etf_ops.work_rows w USING (n)`, broken("live"), broken("backup"), j.duplicates()))
}

// duplicates are new rows beside another one of the same ETF, day and source
// that was there before, or of two new ones the second.
func (j *judge) duplicates() string {
	if j.noHistory() || j.s.unique("etf_prices", priceKey(j.s)...) {
		return ""
	}
	key := strings.Join(priceKey(j.s), ", ")
	return fmt.Sprintf(`INSERT INTO judge_broken SELECT l.judged_n, ARRAY[%s] FROM judge_live l
		LEFT JOIN (SELECT %[2]s, count(*) AS rows FROM etf_prices GROUP BY %[2]s HAVING count(*) > 1) p USING (%[2]s)
		JOIN (SELECT judged_n, row_number() OVER (PARTITION BY %[2]s ORDER BY judged_n) AS nth, count(*) OVER (PARTITION BY %[2]s) AS added
			FROM judge_live WHERE judged_kind = 'added') a USING (judged_n)
		WHERE p.rows > a.added OR p.rows = a.added AND a.nth > 1 ON CONFLICT DO NOTHING;`, literal(duplicatePrices.Title), key)
}

func literal(text string) string { return "'" + strings.ReplaceAll(text, "'", "''") + "'" }
