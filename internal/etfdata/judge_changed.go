package etfdata

import (
	"context"
	"fmt"
	"strings"
)

// faults are the ways in which a conversion goes wrong: what was done, and the
// factor by which the stored amount is then off.
var faults = []struct{ name, factor string }{
	{"stored without conversion", "p.rate * p.pence"},
	{"pence taken for pounds", "CASE WHEN p.pence = 100 THEN 100 END"},
	{"stored in pounds", "CASE WHEN p.pence = 100 THEN p.rate END"},
	{"a hundred times too much", "100"},
	{"a hundredth of what it should be", "0.01"},
	{"converted twice", "1 / p.rate"},
	{"multiplied by the rate instead of divided", "p.rate * p.rate"},
}

// faultValues are the faults as rows (nth, fault, factor) for a price p.
func faultValues() string {
	var list []string
	for i, f := range faults {
		list = append(list, fmt.Sprintf("(%d, %s, (%s)::float8)", i+1, literal(f.name), f.factor))
	}
	return "(VALUES " + strings.Join(list, ", ") + ") f (nth, fault, factor)"
}

// toTheCent holds where each amount that changed is what the fault makes of
// the backup's, as far as two roundings to cents allow.
func toTheCent() string {
	var list []string
	for _, a := range amounts {
		list = append(list, fmt.Sprintf("(p.l_%[1]s = p.b_%[1]s OR abs(p.l_%[1]s - p.b_%[1]s * f.factor) <= %[2]s) IS NOT false", a, cents))
	}
	return strings.Join(list, " AND ")
}

// cents is what the roundings of both sides may make out.
const cents = "0.00502 * (f.factor + 1)"

// deviation is the largest relative change of an amount.
func deviation() string {
	var list []string
	for _, a := range amounts {
		list = append(list, fmt.Sprintf("abs(p.l_%[1]s / nullif(p.b_%[1]s, 0) - 1)", a))
	}
	return "greatest(" + strings.Join(list, ", ") + ")"
}

// findCompany makes judge_writes: how many prices that were written together,
// in one transaction (level 1), for one ETF by one writer (3), or in one
// currency by one writer (6), have a fault. A few others among them are
// corrections that came with it; many, and it proves nothing.
func (j *judge) findCompany(ctx context.Context) error {
	return j.exec(ctx, `CREATE TEMP TABLE judge_writes ON COMMIT DROP AS
		SELECT etf, source, currency, xid, writer, GROUPING(etf, xid, currency) AS level, count(*) FILTER (WHERE exact) AS hits, count(fault) AS matches,
			count(dev) AS changes, mode() WITHIN GROUP (ORDER BY fault) FILTER (WHERE exact) AS fault
		FROM judge_prices WHERE dev > 0
		GROUP BY GROUPING SETS ((etf, source, xid), (etf, source, writer), (writer, currency));
		DELETE FROM judge_writes WHERE hits = 0 OR matches * 5 < changes * 4;
		ANALYZE judge_writes`)
}

// findSeries makes judge_series: histories whose every price up to some day
// changed by one factor, as sources do after a split, and the split, if any.
func (j *judge) findSeries(ctx context.Context) error {
	split := "NULL::float8"
	if j.s.has("etf_prices.stock_splits") {
		split = `(SELECT p.stock_splits::float8 FROM etf_prices p WHERE p.etf_id = s.etf AND p.date >= s.last
			AND p.stock_splits > 0 AND p.stock_splits <> 1 AND p.stock_splits <> 'NaN' ORDER BY p.date LIMIT 1)`
	}
	return j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_series ON COMMIT DROP AS
		WITH s AS (
			SELECT etf, source, max(date) AS last, count(*) AS rows, percentile_cont(0.5) WITHIN GROUP (ORDER BY l_price / b_price) AS factor
			FROM judge_prices WHERE kind = 'changed' AND dev > %[1]g AND exact IS NOT true GROUP BY etf, source
		), q AS (
			SELECT s.*, %[2]s AS split, (SELECT count(*) FROM judge_prices p WHERE p.kind = 'changed' AND p.etf = s.etf AND p.source IS NOT DISTINCT FROM s.source
				AND p.date <= s.last AND abs(p.l_price - p.b_price * s.factor) <= 0.0051 * (1 + s.factor) + 0.002 * p.l_price) AS alike,
			(SELECT count(*) FROM etf_prices p WHERE p.etf_id = s.etf AND p.date <= s.last %[3]s) AS stored
			FROM s
		)
		SELECT etf, source, last, rows, factor, split, alike >= stored AND rows >= 10 AS whole,
			(abs(factor * split - 1) < 0.01) IS TRUE AND alike * 20 >= rows * 19 AS by_split
		FROM q;
		ANALYZE judge_series`, j.o.Correction, split, j.sameSource("p", "s")))
}

func (j *judge) sameSource(a, b string) string {
	if !j.s.has("etf_prices.source") {
		return ""
	}
	return fmt.Sprintf("AND %s.source = %s.source", a, b)
}

// judgeChanged judges prices that the backup has too by how they changed.
func (j *judge) judgeChanged(ctx context.Context) error {
	if j.noHistory() {
		return nil
	}
	if err := j.findCompany(ctx); err != nil {
		return err
	}
	if err := j.findSeries(ctx); err != nil {
		return err
	}
	adjusted := "false"
	if j.s.has("etf_prices.is_adjusted") {
		adjusted = "EXISTS (SELECT FROM judge_live l JOIN judge_backup b ON b.judged_n = p.old WHERE l.judged_n = p.n AND l.is_adjusted AND NOT b.is_adjusted)"
	}
	return j.exec(ctx, fmt.Sprintf(`INSERT INTO judge_verdicts
		SELECT p.n, CASE WHEN v.bad AND p.kind = 'added' THEN 'quarantine' WHEN v.bad THEN 'restore' ELSE 'keep' END, v.sure, v.why,
			CASE WHEN v.bad AND p.kind = 'changed' THEN p.changed END
		FROM judge_prices p
		LEFT JOIN judge_series s ON s.etf = p.etf AND s.source IS NOT DISTINCT FROM p.source AND p.date <= s.last
		LEFT JOIN judge_writes w ON w.level = 1 AND w.etf = p.etf AND w.source IS NOT DISTINCT FROM p.source AND w.xid = p.xid
		LEFT JOIN judge_writes g ON g.level = 3 AND g.etf = p.etf AND g.source IS NOT DISTINCT FROM p.source AND g.writer = p.writer
		CROSS JOIN LATERAL (SELECT coalesce(w.hits, g.hits, 0) AS hits, coalesce(w.fault, g.fault) AS fault,
			format('%%s became %%s', p.b_price, p.l_price) AS change, %[1]s AS adjusted, %[3]s AS open) e
		CROSS JOIN LATERAL (SELECT f.factor, abs(ln(p.l_price / p.b_price / f.factor)) AS off FROM %[4]s
			WHERE f.fault = coalesce(e.fault, %[5]s) AND f.factor > 0 AND p.l_price > 0 AND p.b_price > 0 UNION ALL SELECT NULL, NULL LIMIT 1) h
		CROSS JOIN LATERAL (%[2]s) v
		WHERE p.kind = 'changed' OR p.deleted IS NOT NULL
		ON CONFLICT DO NOTHING`, adjusted, j.changedVerdict(), j.onOpenDay(), faultValues(), literal(faults[0].name)))
}

// onOpenDay holds for prices of the day of the backup itself, which may have
// been taken before that day's last price.
func (j *judge) onOpenDay() string {
	if j.o.Backup.IsZero() {
		return "false"
	}
	return "p.date >= " + date(j.o.Backup)
}

// changedVerdict is the SELECT of bad, sure and why for a changed price p with
// its evidence e.
func (j *judge) changedVerdict() string {
	return fmt.Sprintf(`SELECT r[1]::boolean AS bad, r[2] AS sure, r[3] AS why FROM (SELECT CASE
		WHEN p.kind = 'changed' AND p.moved THEN ARRAY['true', 'likely', 'a stored price was moved to another ETF or day']
		WHEN p.dev IS NULL AND p.l_price > 0 AND p.b_price > 0 THEN ARRAY['false', 'likely', 'no amount of the price changed']
		WHEN p.dev IS NULL THEN ARRAY['false', 'guess', 'the backup has no price to compare with']
		WHEN p.exact AND (p.dev > %[1]g OR e.hits >= 3) THEN ARRAY['true', 'certain', format('%%s: %%s, times %%s to the cent', e.change, p.fault, round(p.factor::numeric, 6))]
		WHEN p.exact THEN ARRAY['true', 'likely', format('%%s: %%s, times %%s to the cent', e.change, p.fault, round(p.factor::numeric, 6))]
		WHEN (p.fault IS NOT NULL OR h.off < 0.005) AND p.dev <= %[1]g AND e.hits >= 3
			THEN ARRAY['true', 'likely', format('%%s: too small a change to tell, but prices written with it (%%s) were %%s', e.change, e.hits, e.fault)]
		WHEN p.dev <= %[1]g AND num_nulls(p.l_high, p.l_low, p.l_open) > num_nulls(p.b_high, p.b_low, p.b_open)
			THEN ARRAY['false', 'guess', 'high, low or open has gone; the backup still has it']
		WHEN p.dev <= %[1]g THEN ARRAY['false', 'likely', format('%%s: a correction of %%s %%%%', e.change, round(p.dev::numeric * 100, 2))]
		WHEN s.by_split AND abs(p.l_price / p.b_price / s.factor - 1) < 0.02
			THEN ARRAY['false', 'likely', format('%%s: adjusted for the split of %%s', e.change, s.split)]
		WHEN s.whole THEN ARRAY['false', CASE WHEN e.adjusted THEN 'likely' ELSE 'guess' END,
			format('%%s: the whole history changed by the factor %%s, as after a split', e.change, round(s.factor::numeric, 4))]
		WHEN e.adjusted THEN ARRAY['false', 'guess', e.change || ': marked as adjusted since the backup']
		WHEN e.open AND p.dev > %[2]g THEN ARRAY['true', 'likely', e.change || ': more than a day moves a price']
		WHEN e.open AND h.off < abs(ln(p.l_price / p.b_price)) AND (e.hits > 0 OR abs(ln(p.l_price / p.b_price)) > 2 * %[3]g)
			THEN ARRAY['true', 'likely', format('%%s: nearer to a price %%s than to a day''s move', e.change, coalesce(e.fault, %[4]s))]
		WHEN e.open THEN ARRAY['false', 'guess', e.change || ': that day was not over when the backup was taken']
		WHEN abs(p.l_price / p.b_price - 1) > %[1]g THEN ARRAY['true', 'certain', e.change || ': more than a correction of a past day']
		ELSE ARRAY['true', 'likely', 'high, low or open of a past day changed by more than a correction'] END AS r) x`,
		j.o.Correction, j.o.Jump, dailyMove, literal(faults[0].name))
}
