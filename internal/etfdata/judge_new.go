package etfdata

import (
	"context"
	"fmt"
	"strings"
)

// dailyMove is how far prices of ETFs move in a day, as a fraction: the
// standard deviation, on the large side.
const dailyMove = 0.015

// judgeNew judges prices that the backup does not have.
func (j *judge) judgeNew(ctx context.Context) error {
	if j.noHistory() {
		return nil
	}
	if err := j.findPoints(ctx); err != nil {
		return err
	}
	if err := j.compareNew(ctx); err != nil {
		return err
	}
	return j.exec(ctx, `INSERT INTO judge_verdicts SELECT n, v[1], v[2], v[3] FROM (`+j.newVerdict()+`) x ON CONFLICT DO NOTHING`)
}

// findPoints makes judge_points: new prices, and around them those that can be
// trusted: unchanged since the backup or, where they changed, the value that
// stands after the repair. Of an ETF it takes what is needed to have a trusted
// price before each new one. ordinal counts the trusted ones up to a row.
func (j *judge) findPoints(ctx context.Context) error {
	since := "DATE '-infinity'"
	if j.s.leads("etf_prices", "etf_id", "date") {
		since = `coalesce((SELECT max(p.date) FROM etf_prices p WHERE p.etf_id = b.etf AND p.date < b.first AND p.date > coalesce(b.before, '-infinity')), b.before, b.first)`
	}
	split, source := "NULL::float8", "NULL::text"
	if j.s.has("etf_prices.stock_splits") {
		split = "p.stock_splits::float8"
	}
	if j.s.has("etf_prices.source") {
		source = "p.source::text"
	}
	return j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_points ON COMMIT DROP AS
		WITH bounds AS (
			SELECT b.etf, %[1]s AS since FROM (
				SELECT f.etf, f.first, max(c.date) AS before FROM (SELECT etf, min(date) AS first FROM judge_prices
					WHERE kind = 'added' AND deleted IS NULL AND isfinite(date) GROUP BY etf) f
				LEFT JOIN judge_prices c ON c.etf = f.etf AND c.date < f.first AND c.b_price > 0 AND c.deleted IS NULL
				GROUP BY f.etf, f.first) b
		), points AS (
			SELECT p.etf_id::text AS etf, p.date, %[2]s AS source, p.price::float8 AS price, %[3]s AS split, NULL::bigint AS n, false AS changed, NULL::text AS fault
			FROM etf_prices p JOIN bounds b ON b.etf = p.etf_id AND p.date >= b.since
			WHERE p.price > 0 AND p.price <> 'NaN' AND isfinite(p.date) AND NOT EXISTS (SELECT FROM judge_live l WHERE %[4]s)
			UNION ALL
			SELECT p.etf, p.date, p.source, CASE v.class WHEN 'keep' THEN p.l_price ELSE p.b_price END, p.split, NULL, true, CASE WHEN p.exact THEN p.fault END
			FROM judge_prices p JOIN bounds b ON b.etf = p.etf AND p.date >= b.since LEFT JOIN judge_verdicts v USING (n)
			WHERE p.kind IN ('changed', 'deleted') AND p.b_price > 0 AND p.b_price < 'Infinity'
				AND (p.kind = 'deleted' OR NOT p.moved) AND isfinite(p.date)
			UNION ALL
			SELECT p.etf, p.date, p.source, NULL, p.split, p.n, true, NULL
			FROM judge_prices p JOIN bounds b USING (etf) WHERE p.kind = 'added' AND p.deleted IS NULL AND isfinite(p.date)
		)
		SELECT *, count(*) FILTER (WHERE n IS NULL) OVER (PARTITION BY etf ORDER BY date, n IS NOT NULL, source, n
			ROWS UNBOUNDED PRECEDING) AS ordinal FROM points;
		CREATE INDEX ON judge_points (etf, ordinal) WHERE n IS NULL;
		ANALYZE judge_points`, since, source, split, j.sameKey("p", "l")))
}

// key are the columns that tell prices apart.
func (j *judge) key() string {
	if j.s.has("etf_prices.id") {
		return "id"
	}
	return strings.Join(priceKey(j.s), ", ")
}

func (j *judge) sameKey(a, b string) string {
	key := j.key()
	return fmt.Sprintf("(%s.%s) = (%s.%s)", a, strings.ReplaceAll(key, ", ", ", "+a+"."), b, strings.ReplaceAll(key, ", ", ", "+b+"."))
}

// compareNew makes judge_new: each new price with the trusted one before it
// (of an older day than any, the one after it), as logarithms of ratios: moved
// from the trusted price, off from what the nearest fault would make of it,
// and usual for the working days between (1900-01-01 was a Monday).
func (j *judge) compareNew(ctx context.Context) error {
	return j.exec(ctx, fmt.Sprintf(`CREATE TEMP TABLE judge_new ON COMMIT DROP AS
		WITH own AS (
			SELECT *, sum(CASE WHEN split > 0 AND split < 'Infinity' THEN ln(split) ELSE 0 END) OVER (PARTITION BY etf, ordinal ORDER BY date, source, n) AS splits
			FROM judge_points WHERE n IS NOT NULL
		)
		SELECT p.*, t.price AS trusted, t.date AS trusted_date, o.ordinal = 0 AS later, m.moved AS move, m.days, o.splits, %[1]g * sqrt(m.days) AS usual,
			w.hits AS same_hits, g.hits AS group_hits, c.hits AS currency_hits, c.fault AS currency_fault,
			u.fault AS beside, u.covered AND NOT t.changed
				AND abs(p.rate * p.pence - 1) * t.price > 0.03 AS confirmed,
			f.fault AS near_fault, f.size, f.off
		FROM own o JOIN judge_prices p USING (n)
		LEFT JOIN judge_points t ON t.n IS NULL AND t.etf = o.etf AND t.ordinal = greatest(o.ordinal, 1)
		CROSS JOIN LATERAL (SELECT ln(p.l_price / t.price) AS log WHERE p.l_price > 0 UNION ALL SELECT NULL LIMIT 1) l
		CROSS JOIN LATERAL (SELECT CASE WHEN abs(l.log + o.splits) < abs(l.log) THEN l.log + o.splits ELSE l.log END AS moved,
			greatest(1, abs(p.date - t.date - 2 * ((p.date - DATE '1900-01-01') / 7 - (t.date - DATE '1900-01-01') / 7)))::float8 AS days) m
		CROSS JOIN LATERAL (SELECT c.covered, CASE WHEN c.covered THEN t.fault END AS fault FROM (SELECT
			p.done AND t.date BETWEEN p.start_date AND p.end_date AND NOT p.entered AND p.source IS NOT DISTINCT FROM t.source AS covered) c) u
		LEFT JOIN judge_writes w ON w.level = 1 AND w.etf = p.etf AND w.source IS NOT DISTINCT FROM p.source AND w.xid = p.xid
		LEFT JOIN judge_writes g ON g.level = 3 AND g.etf = p.etf AND g.source IS NOT DISTINCT FROM p.source AND g.writer = p.writer AND NOT p.entered
		LEFT JOIN judge_writes c ON c.level = 6 AND c.currency = p.currency AND c.writer = p.writer AND NOT p.entered
		CROSS JOIN LATERAL (SELECT coalesce(w.fault, u.fault, g.fault, c.fault) AS fault) e
		LEFT JOIN LATERAL (SELECT f.fault, abs(ln(f.factor)) AS size, abs(m.moved - ln(f.factor)) AS off FROM %[2]s
			WHERE f.factor > 0 AND (f.nth <= 5 OR f.fault = e.fault)
			ORDER BY f.fault IS NOT DISTINCT FROM e.fault DESC, abs(m.moved - ln(f.factor)) LIMIT 1) f ON true;
		ANALYZE judge_new`, dailyMove, faultValues()))
}

// newVerdict is the SELECT of n and the verdict v on each new price: class,
// sure, why.
//
// proof is that prices written together with it are at fault beyond doubt:
// by the same transaction, or by the same update; hint that some of the same
// writer are. right says that the price is where it should be, and that the
// fault would have moved it out of there.
func (j *judge) newVerdict() string {
	return fmt.Sprintf(`SELECT n, CASE
		WHEN trusted IS NULL AND currency_hits > 0 THEN ARRAY['keep', 'guess', format('no trusted price to compare with; other prices in %%s by the same writer (%%s) were %%s', currency, currency_hits, currency_fault)]
		WHEN trusted IS NULL THEN ARRAY['keep', 'guess', 'no trusted price to compare with']
		WHEN inside > %[1]g THEN ARRAY['quarantine', 'likely', 'high, low or open is far from the price itself']
		WHEN proof > 0 AND NOT "right" THEN ARRAY['quarantine', CASE WHEN nearer THEN 'certain' ELSE 'likely' END,
			format('%%s: prices written with it (%%s) were %%s', compared, proof, near_fault)]
		WHEN jump AND nearer AND off <= greatest(3 * usual, 0.1) THEN ARRAY['quarantine', 'certain', format('%%s: as if %%s', compared, near_fault)]
		WHEN jump THEN ARRAY['quarantine', CASE WHEN later OR days > 25 THEN 'guess' ELSE 'likely' END, compared || ': a jump, and no split explains it']
		WHEN confirmed AND proof = 0 THEN ARRAY['keep', 'likely', compared || '; the update that wrote it left older prices as the backup has them']
		WHEN hint > 0 AND NOT "right" THEN ARRAY['quarantine', 'likely', format('%%s: prices of this ETF by the same writer (%%s) were %%s', compared, hint, near_fault)]
		WHEN proof > 0 OR hint > 0 THEN ARRAY['keep', 'guess', format('%%s: looks right, but prices written with it (%%s) were %%s', compared, greatest(proof, hint), near_fault)]
		WHEN nearer AND currency_hits > 2 THEN ARRAY['quarantine', 'likely', format('%%s: other prices in %%s by the same writer (%%s) were %%s', compared, currency, currency_hits, near_fault)]
		WHEN nearer AND abs(move) > 2 * usual THEN ARRAY['quarantine', CASE WHEN abs(move) > 3 * usual AND NOT later THEN 'likely' ELSE 'guess' END,
			format('%%s: as if %%s', compared, near_fault)]
		WHEN nearer OR size < 3 * usual THEN ARRAY['keep', 'guess', format('%%s: a price %%s would look alike', compared, near_fault)]
		WHEN later THEN ARRAY['keep', 'guess', compared || ': nothing older to compare with']
		WHEN splits <> 0 AND abs(move) > 2 * usual THEN ARRAY['keep', 'guess', compared || ', with a split between them']
		ELSE ARRAY['keep', 'likely', compared] END AS v
		FROM (SELECT *, coalesce(same_hits, CASE WHEN beside IS NOT NULL THEN 1 END, 0) AS proof, coalesce(group_hits, 0) AS hint,
			coalesce(off < abs(move), false) AS nearer, coalesce(off >= abs(move) AND abs(move) <= 3 * usual AND size > 6 * usual, false) AS "right",
			abs(exp(move) - 1) > %[1]g AS jump,
			greatest(abs(l_high / l_price - 1), abs(l_low / l_price - 1), abs(l_open / l_price - 1)) AS inside,
			format('%%s %%s %%s of %%s', l_price, CASE WHEN later THEN 'before' ELSE 'after' END, trusted, trusted_date) AS compared
			FROM judge_new WHERE l_price > 0) q`, j.o.Jump)
}
