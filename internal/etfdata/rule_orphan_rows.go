package etfdata

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// Whatever the service keeps to an ETF, in any table but that of prices.
var orphanRows = Rule{
	Name: "orphan-rows", Severity: Fault,
	Title: "every row of another table that names an ETF names one that exists",
	Needs: []string{"etfs.id"},
	view:  naming, where: always("NOT t.found"),
}

// naming is each row of the tables with a column that names an ETF.
func naming(s *schema, _ Options) view {
	parts := []string{`SELECT NULL::text AS "table", NULL::text AS etf_id, NULL::jsonb AS row, NULL::boolean AS found WHERE false`}
	var tables []string
	for _, r := range s.references {
		column := pgx.Identifier{r.column}.Sanitize()
		parts = append(parts, fmt.Sprintf(`SELECT %[1]s, t.%[2]s::text, to_jsonb(t), EXISTS (SELECT FROM etfs e WHERE e.%[3]s::text = t.%[2]s::text)
			FROM %[4]s t WHERE t.%[2]s IS NOT NULL`, literal(r.table), column, pgx.Identifier{r.to}.Sanitize(), pgx.Identifier{r.table}.Sanitize()))
		tables = append(tables, r.table)
	}
	return view{from: "(" + strings.Join(parts, " UNION ALL ") + ") t", row: "t.*", order: `t."table", t.etf_id, t.row->>'id'`,
		looks: strings.Join(tables, ", "), key: `format('%s %s #%s', t."table", t.etf_id, t.row->>'id')`}
}
