package etfdata

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// A sifting looks by the rules on series. A window function over the whole
// table would sort it, or fetch it row by row in the order of an index. Here
// the few columns that it takes are read in the order in which they lie, a
// sieve lets through the ETFs that may break a rule, and the rule's own SQL
// judges those: the numbers are those of the SQL that is shown.
type sifting struct {
	schema  *schema
	options Options
	rules   []Rule
	results []*Result
}

func (j *sifting) filled() []*Result { return j.results }

// sievedRows is how many rows a sieve holds at a time: some 6 bytes each.
var sievedRows int64 = 5_500_000

func (j *sifting) look(ctx context.Context, conn *pgx.Conn) error {
	bounds, err := j.bounds(ctx, conn)
	if err != nil {
		return err
	}
	all := &sieve{}
	for i := range len(bounds) - 1 {
		part := newSieve(j.options)
		if _, err := conn.PgConn().CopyTo(ctx, &copyReader{row: part.add}, j.copySQL(bounds[i], bounds[i+1])); err != nil {
			return err
		}
		part.sift()
		all.rows, all.jumps, all.gaps = all.rows+part.rows, append(all.jumps, part.jumps...), append(all.gaps, part.gaps...)
	}
	for i, rule := range j.rules {
		r := j.results[i]
		r.Looked = all.rows
		spans := rule.suspects(all)
		if len(spans) == 0 {
			continue
		}
		v := rule.among(suspected, j.schema, j.options)
		if err := count(ctx, conn, r, v, rule.where(j.schema, j.options), arguments(spans)...); err != nil {
			return err
		}
	}
	return nil
}

// bounds cut the ETFs into parts that a sieve can hold. The first and the last
// bound are empty: no ETF is outside.
func (j *sifting) bounds(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	var rows int64
	if err := one(ctx, conn, []any{&rows}, `SELECT greatest(reltuples, CASE WHEN relpages > 0 THEN reltuples / relpages ELSE 80 END
			* (pg_relation_size(oid) / current_setting('block_size')::int))::bigint
		FROM pg_class WHERE oid = 'etf_prices'::regclass`); err != nil {
		return nil, err
	}
	bounds := []string{""}
	if parts := rows/sievedRows + 1; parts > 1 && j.schema.has("etfs.id") {
		found, err := conn.Query(ctx, `SELECT max(id) FROM (SELECT id::text COLLATE "C" AS id, ntile($1) OVER (ORDER BY id::text COLLATE "C") AS part FROM etfs) e
			WHERE part < $1 GROUP BY part ORDER BY part`, parts)
		if err != nil {
			return nil, err
		}
		ids, err := pgx.CollectRows(found, pgx.RowTo[string])
		if err != nil {
			return nil, err
		}
		bounds = append(bounds, ids...)
	}
	return append(bounds, ""), nil
}

// copySQL reads the prices of ETFs after one bound and up to the other.
func (j *sifting) copySQL(after, upTo string) string {
	columns := "etf_id::text, date, price::numeric"
	if j.schema.has("etf_prices.source") {
		columns += ", source::text"
	}
	var where []string
	if after != "" {
		where = append(where, `etf_id::text COLLATE "C" > `+literal(after))
	}
	if upTo != "" {
		where = append(where, `etf_id::text COLLATE "C" <= `+literal(upTo))
	}
	sql := "SELECT " + columns + " FROM etf_prices"
	if where != nil {
		sql += " WHERE " + strings.Join(where, " AND ")
	}
	return fmt.Sprintf("COPY (%s) TO STDOUT (FORMAT binary)", sql)
}

func arguments(spans []span) []any {
	etfs, since, until := make([]string, len(spans)), make([]time.Time, len(spans)), make([]time.Time, len(spans))
	for i, s := range spans {
		etfs[i], since[i], until[i] = s.etf, s.since.time(), s.until.time()
	}
	return []any{etfs, since, until}
}

func inEuro(o Options) string { return "p.date BETWEEN DATE '1999-01-01' AND " + date(o.Now) }

// suspected are the prices of ETFs and days that the arguments name.
const suspected = `(SELECT p.* FROM unnest($1::text[], $2::date[], $3::date[]) AS n (etf, since, until)
	JOIN etf_prices p ON p.etf_id = n.etf AND p.date BETWEEN n.since AND n.until)`
