package etfdata

import (
	"context"
	"fmt"
)

// judgeETFs judges last_price and last_update by the newest price that there
// is after the repair, and the ISIN by its check digit. Other columns stay.
func (j *judge) judgeETFs(ctx context.Context) error {
	if !j.tables["public.etfs"] {
		return nil
	}
	if err := j.judgeISINs(ctx); err != nil || j.noHistory() ||
		j.s.lacks([]string{"etfs.id", "etfs.last_price", "etfs.last_update"}) != nil {
		return err
	}
	return j.exec(ctx, `INSERT INTO judge_verdicts AS known
		SELECT n, v[1], v[2], v[3] || CASE WHEN others <> '{}' THEN '; kept: ' || array_to_string(others, ', ') ELSE '' END,
			CASE v[1] WHEN 'restore' THEN columns END FROM (`+etfVerdict(j.newestAfter())+`) x WHERE v IS NOT NULL
		ON CONFLICT (n) DO UPDATE SET class = CASE WHEN excluded.class = 'restore' THEN 'restore' ELSE known.class END,
			why = known.why || '; ' || excluded.why, columns = known.columns || excluded.columns,
			sure = CASE 'guess' WHEN excluded.sure THEN 'guess' ELSE known.sure END`)
}

// newestAfter gives for every changed or new ETF the day of its newest price
// after the repair, and the prices of that day.
func (j *judge) newestAfter() string {
	return fmt.Sprintf(`WITH e AS (
			SELECT w.n, w.kind, w.changed, w.live->>'id' AS etf, (w.live->>'last_price')::float8 AS price, (w.backup->>'last_price')::float8 AS old_price,
				(w.live->>'last_update')::timestamp AS updated, (w.backup->>'last_update')::timestamp AS old_updated
			FROM etf_ops.work_rows w WHERE w.tbl = 'public.etfs' AND w.live IS NOT NULL
		), stays AS (
			SELECT p.etf, p.date, CASE v.class WHEN 'restore' THEN p.b_price ELSE p.l_price END AS price
			FROM judge_prices p LEFT JOIN judge_verdicts v USING (n)
			WHERE p.kind <> 'deleted' AND v.class IS DISTINCT FROM 'quarantine' AND p.etf IN (SELECT etf FROM e)
		), days AS (
			SELECT e.etf, greatest(s.date, (SELECT max(p.date) FROM etf_prices p WHERE p.etf_id = e.etf AND p.date >= coalesce(s.date, '-infinity')
				AND NOT EXISTS (SELECT FROM judge_live l WHERE %[1]s))) AS date
			FROM e LEFT JOIN (SELECT etf, max(date) AS date FROM stays GROUP BY etf) s USING (etf)
		), newest AS (
			SELECT d.etf, d.date, array_agg(p.price) AS prices FROM days d CROSS JOIN LATERAL (
				SELECT s.price FROM stays s WHERE s.etf = d.etf AND s.date = d.date
				UNION ALL
				SELECT p.price::float8 FROM etf_prices p WHERE p.etf_id = d.etf AND p.date = d.date AND NOT EXISTS (SELECT FROM judge_live l WHERE %[1]s)) p
			GROUP BY d.etf, d.date
		)`, j.sameKey("p", "l"))
}

// etfVerdict is the SELECT of n, the verdict v on last_price and last_update,
// the columns to restore and those that changed besides.
func etfVerdict(with string) string {
	return with + ` SELECT e.n, e.others,
			array_remove(ARRAY[CASE WHEN r.old_right AND NOT r.right THEN 'last_price' END,
				CASE WHEN 'last_update' = ANY (e.changed) AND e.old_updated >= s.date THEN 'last_update' END], NULL) AS columns,
			CASE
			WHEN s.prices IS NULL THEN CASE WHEN e.price IS DISTINCT FROM e.old_price THEN ARRAY['keep', 'guess', 'last_price cannot be judged: there are no prices'] END
			WHEN r.right AND e.updated >= s.date THEN CASE WHEN e.price IS DISTINCT FROM e.old_price THEN ARRAY['keep', 'certain', 'last_price is the newest price'] END
			WHEN r.right AND 'last_update' = ANY (e.changed) AND e.old_updated >= s.date
				THEN ARRAY['restore', 'certain', 'last_update is older than the newest price, of ' || s.date]
			WHEN r.right OR e.kind = 'changed' AND e.price = e.old_price THEN NULL
			WHEN e.kind = 'changed' AND r.old_right THEN ARRAY['restore', coalesce(r.sure, 'likely'),
				format('last_price followed a wrong price; after the repair the newest is %s of %s', e.old_price, s.date)]
			ELSE ARRAY['keep', 'guess', format('last_price %s is not right%s: after the repair the newest price is %s of %s; set it by hand',
				coalesce(e.price::text, 'NULL'), CASE e.kind WHEN 'changed' THEN ', nor is the backup''s ' || coalesce(e.old_price::text, 'NULL') ELSE '' END,
				array_to_string(s.prices, ' or '), s.date)]
			END AS v
		FROM (SELECT e.*, ARRAY(SELECT c FROM unnest(e.changed) c WHERE c NOT IN ('last_price', 'last_update', 'isin')) AS others FROM e) e
		LEFT JOIN newest s USING (etf)
		CROSS JOIN LATERAL (SELECT coalesce(e.price = ANY (s.prices), false) AS "right", coalesce(e.old_price = ANY (s.prices), false) AS old_right,
			(SELECT v.sure FROM judge_prices p JOIN judge_verdicts v USING (n) WHERE p.etf = e.etf AND p.l_price = e.price
				AND v.class IN ('restore', 'quarantine') ORDER BY p.date DESC LIMIT 1) AS sure) r`
}

// judgeISINs looks at ISINs that are no longer well-formed.
func (j *judge) judgeISINs(ctx context.Context) error {
	if j.s.lacks(isinCheckDigit.Needs) != nil {
		return nil
	}
	broken := func(row string) string {
		return "coalesce((SELECT " + isinCheckDigit.where(j.s, Options{}) + " FROM jsonb_populate_record(NULL::etfs, " + row + ") e), false)"
	}
	return j.exec(ctx, fmt.Sprintf(`INSERT INTO judge_verdicts
		SELECT n, CASE kind WHEN 'added' THEN 'keep' ELSE 'restore' END, CASE kind WHEN 'added' THEN 'guess' ELSE 'likely' END,
			format('%%s breaks "%%s"', live->>'isin', %s), CASE kind WHEN 'changed' THEN ARRAY['isin'] END
		FROM etf_ops.work_rows w WHERE tbl = 'public.etfs' AND (kind = 'added' OR 'isin' = ANY (changed)) AND %s AND NOT %s`,
		literal(isinCheckDigit.Title), broken("w.live"), broken("w.backup")))
}

// judgeUpdates says which updates are stuck; to repair them is not for a
// comparison with a backup.
func (j *judge) judgeUpdates(ctx context.Context) error {
	for _, rule := range []struct {
		Rule
		table string
	}{{stuckUpdates, "etf_updates"}, {stuckRateUpdates, "exchange_rate_updates"}} {
		if !j.tables["public."+rule.table] || j.s.lacks(rule.Needs) != nil {
			continue
		}
		where := rule.where(j.s, Options{Now: j.o.Now, StuckAfter: j.o.StuckAfter})
		if err := j.exec(ctx, fmt.Sprintf(`INSERT INTO judge_verdicts SELECT w.n, 'keep', 'guess', %s
			FROM etf_ops.work_rows w, LATERAL jsonb_populate_record(NULL::%s, w.live) u
			WHERE w.tbl = 'public.%[2]s' AND w.live IS NOT NULL AND %[3]s`, literal(`breaks "`+rule.Title+`"`), rule.table, where)); err != nil {
			return err
		}
	}
	return nil
}

// judgeContributions names contributions that were booked at wrong prices, and
// the plans that they went into: money that no rule can put right.
func (j *judge) judgeContributions(ctx context.Context) error {
	if j.noHistory() || !j.tables["public.pension_contributions"] || j.s.lacks([]string{
		"pension_contributions.etf_id", "pension_contributions.price", "pension_contributions.pension_id", "pension_etfs.id"}) != nil {
		return nil
	}
	return j.exec(ctx, `INSERT INTO judge_verdicts
		SELECT w.n, 'keep', 'guess', format('booked at %s, a wrong price of %s (%s); correct price and units by hand', w.live->>'price', w.live->>'etf_id', p.date)
		FROM etf_ops.work_rows w JOIN (SELECT p.etf, p.l_price, max(p.date) AS date FROM judge_prices p JOIN judge_verdicts v USING (n)
			WHERE v.class IN ('restore', 'quarantine') GROUP BY p.etf, p.l_price) p ON p.etf = w.live->>'etf_id' AND p.l_price = (w.live->>'price')::float8
		WHERE w.tbl = 'public.pension_contributions' AND w.kind = 'added';
		INSERT INTO judge_verdicts
		SELECT w.n, 'keep', 'guess', 'its units hold a contribution that was booked at a wrong price; correct them by hand'
		FROM etf_ops.work_rows w WHERE w.tbl = 'public.pension_etfs' AND w.kind = 'changed' AND 'units' = ANY (w.changed) AND w.live->>'id' IN (
			SELECT c.live->>'pension_id' FROM etf_ops.work_rows c JOIN judge_verdicts USING (n) WHERE c.tbl = 'public.pension_contributions')`)
}
