package etfdata

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Whatever the service keeps to an ETF, in any table but that of prices.
var orphanRows = Rule{
	Name: "orphan-rows", Severity: Fault,
	Title: "every row of another table that names an ETF names one that exists",
	Needs: []string{"etfs.id"},
	view:  naming(true), where: always("NOT t.found"),
}

// What has no foreign key, and is none of the service's own tables, may keep
// the names of ETFs that are gone on purpose.
var orphanNames = Rule{
	Name: "orphan-names", Severity: Warning,
	Title: "a column called etf_id names an ETF that exists, also without a foreign key",
	Needs: []string{"etfs.id"},
	view:  naming(false), where: always("NOT t.found"),
}

// naming is each row of the tables with a column that names an ETF, bound to
// do so or not.
func naming(bound bool) func(*schema, Options) view {
	return func(s *schema, _ Options) view { return s.naming(bound) }
}

func (s *schema) naming(bound bool) view {
	parts := []string{`SELECT NULL::text AS "table", NULL::text AS etf_id, NULL::jsonb AS row, NULL::boolean AS found WHERE false`}
	var tables []string
	for _, r := range s.references {
		if r.bound != bound {
			continue
		}
		column := pgx.Identifier{r.column}.Sanitize()
		parts = append(parts, fmt.Sprintf(`SELECT %[1]s, t.%[2]s::text, to_jsonb(t), EXISTS (SELECT FROM etfs e WHERE e.%[3]s::text = t.%[2]s::text)
			FROM %[4]s t WHERE t.%[2]s IS NOT NULL`, literal(r.table), column, pgx.Identifier{r.to}.Sanitize(), pgx.Identifier{r.table}.Sanitize()))
		tables = append(tables, r.table)
	}
	return view{from: "(" + strings.Join(parts, " UNION ALL ") + ") t", row: "t.*", order: `t."table", t.etf_id, t.row->>'id'`,
		looks: cmp.Or(strings.Join(tables, ", "), "no table"), key: `format('%s %s #%s', t."table", t.etf_id, t.row->>'id')`}
}
