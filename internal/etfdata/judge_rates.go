package etfdata

import (
	"context"
	"fmt"
)

// readRates makes judge_rates, those that prices were converted with: of a
// rate that has changed the one in the backup.
func (j *judge) readRates(ctx context.Context) error {
	create := `CREATE TEMP TABLE judge_rates (currency text, date date, rate float8, n bigint, PRIMARY KEY (currency, date)) ON COMMIT DROP`
	if err := j.exec(ctx, create); err != nil || j.noRates() {
		return err
	}
	return j.exec(ctx, `INSERT INTO judge_rates
		SELECT currency, date, rate, n FROM (
			SELECT w.backup->>'currency' AS currency, (w.backup->>'date')::date AS date, (w.backup->>'rate')::float8 AS rate, NULL::bigint AS n, 1 AS preferred
			FROM etf_ops.work_rows w WHERE w.tbl = 'public.exchange_rates' AND w.backup IS NOT NULL
			UNION ALL
			SELECT r.currency, r.date, r.rate, w.n, 2 FROM exchange_rates r
			LEFT JOIN etf_ops.work_rows w ON w.tbl = 'public.exchange_rates' AND w.kind = 'added'
				AND w.live->>'currency' = r.currency AND (w.live->>'date')::date = r.date) r
		WHERE rate > 0 AND rate < 'Infinity' AND isfinite(date) ORDER BY preferred ON CONFLICT DO NOTHING;
		ANALYZE judge_rates`)
}

func (j *judge) noRates() bool {
	return j.s.lacks([]string{"exchange_rates.currency", "exchange_rates.date", "exchange_rates.rate"}) != nil
}

// judgeRates is strict with past days, whose rates are final once published.
// New rates that are wrong convert nothing.
func (j *judge) judgeRates(ctx context.Context) error {
	if j.noRates() || !j.tables["public.exchange_rates"] {
		return nil
	}
	return j.exec(ctx, fmt.Sprintf(`INSERT INTO judge_verdicts
		SELECT n, class, sure, why, CASE class WHEN 'restore' THEN changed END FROM (
			SELECT w.n, w.changed, v.* FROM (SELECT n, kind, changed, (live->>'rate')::float8 AS rate, (backup->>'rate')::float8 AS before,
				live->>'currency' AS currency, (live->>'date')::date AS date
				FROM etf_ops.work_rows WHERE tbl = 'public.exchange_rates' AND kind <> 'deleted') w
			LEFT JOIN LATERAL (SELECT t.rate FROM judge_rates t WHERE t.currency = w.currency AND t.date < w.date AND t.n IS NULL
				ORDER BY t.date DESC LIMIT 1) t ON w.kind = 'added'
			CROSS JOIN LATERAL (SELECT CASE w.kind WHEN 'added' THEN 'quarantine' ELSE 'restore' END AS bad) b
			CROSS JOIN LATERAL (SELECT
				CASE WHEN NOT (w.rate > 0 AND w.rate < 'Infinity') THEN ARRAY[b.bad, 'certain', 'a rate that is not above zero']
				WHEN abs(w.rate / nullif(w.before, 0) - 1) > %[1]g THEN ARRAY['restore', 'likely',
					format('the rate of a past day changed from %%s to %%s: published rates are final', w.before, w.rate)]
				WHEN abs(w.rate / t.rate - 1) > %[2]g THEN ARRAY['quarantine', 'likely',
					format('%%s after %%s, the nearest earlier rate that can be trusted', w.rate, t.rate)]
				END AS v) x
			CROSS JOIN LATERAL (SELECT x.v[1] AS class, x.v[2] AS sure, x.v[3] AS why) v
			WHERE v.class IS NOT NULL) r`, j.o.Correction, j.o.Jump)+`;
		DELETE FROM judge_rates r USING judge_verdicts v WHERE v.n = r.n;
		ANALYZE judge_rates`)
}
