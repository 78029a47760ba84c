package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// schemaSQL lists the objects of schema public, one a line, by name and
// definition only: no OID, no owner, no column order, no row.
const schemaSQL = `
WITH space AS (SELECT 'public'::regnamespace::oid AS oid),
own AS (SELECT c.* FROM pg_class c, space WHERE c.relnamespace = space.oid AND NOT EXISTS
	(SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'))
SELECT format('relation %s %s %s%s', relkind, relname, relpersistence, CASE WHEN relrowsecurity THEN ' rls' END) FROM own WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
UNION ALL
SELECT format('partition %s of %s %s', c.relname, i.inhparent::regclass, pg_get_expr(c.relpartbound, c.oid)) FROM own c JOIN pg_inherits i ON i.inhrelid = c.oid
UNION ALL
SELECT format('partitioned %s by %s', c.relname, pg_get_partkeydef(c.oid)) FROM own c WHERE relkind = 'p'
UNION ALL
SELECT format('column %s.%s %s %s default %s identity=%s generated=%s collation=%s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
	CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END, pg_get_expr(d.adbin, d.adrelid), a.attidentity, a.attgenerated,
	CASE WHEN a.attcollation <> t.typcollation THEN a.attcollation::regcollation::text END)
FROM own c JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT format('constraint %s.%s %s', c.relname, k.conname, pg_get_constraintdef(k.oid)) FROM own c JOIN pg_constraint k ON k.conrelid = c.oid
WHERE k.contype <> 'n' AND (k.contype <> 'c' OR k.conislocal) -- a restore may leave an inherited one to be validated anew
UNION ALL
SELECT format('index %s valid=%s', pg_get_indexdef(i.indexrelid), i.indisvalid) FROM own c JOIN pg_index i ON i.indrelid = c.oid
UNION ALL
SELECT format('sequence %s %s start %s by %s from %s to %s cycle=%s owned by %s', c.relname, format_type(s.seqtypid, NULL), s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle,
	(SELECT o.relname || '.' || a.attname FROM pg_depend d JOIN pg_class o ON o.oid = d.refobjid JOIN pg_attribute a ON a.attrelid = o.oid AND a.attnum = d.refobjsubid
	 WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype IN ('a', 'i')))
FROM own c JOIN pg_sequence s ON s.seqrelid = c.oid
UNION ALL
SELECT format('view %s %s', relname, pg_get_viewdef(oid)) FROM own WHERE relkind IN ('v', 'm')
UNION ALL
SELECT format('trigger %s enabled=%s', pg_get_triggerdef(t.oid), t.tgenabled) FROM own c JOIN pg_trigger t ON t.tgrelid = c.oid WHERE NOT t.tgisinternal
UNION ALL
SELECT format('policy %s %s %s using %s check %s', c.relname, p.polname, p.polcmd, pg_get_expr(p.polqual, c.oid), pg_get_expr(p.polwithcheck, c.oid)) FROM own c JOIN pg_policy p ON p.polrelid = c.oid
UNION ALL
SELECT CASE WHEN p.prokind = 'a' THEN format('aggregate %s(%s)', p.proname, pg_get_function_identity_arguments(p.oid))
	WHEN p.prosqlbody IS NULL THEN 'function ' || pg_get_functiondef(p.oid) ELSE 'parsed function ' || pg_get_functiondef(p.oid) END
FROM pg_proc p, space WHERE p.pronamespace = space.oid AND NOT EXISTS
	(SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e')
UNION ALL
SELECT format('type %s %s %s', t.typname, t.typtype, coalesce((SELECT string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid),
	format_type(t.typbasetype, t.typtypmod) || coalesce((SELECT string_agg(k.conname || ' ' || pg_get_constraintdef(k.oid), ' ' ORDER BY k.conname) FROM pg_constraint k WHERE k.contypid = t.oid AND k.contype <> 'n'), '')))
FROM pg_type t, space WHERE t.typnamespace = space.oid AND t.typtype IN ('e', 'd') AND NOT EXISTS
	(SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e')
UNION ALL
SELECT format('extension %s', extname) FROM pg_extension WHERE extname <> 'plpgsql'`

// Schema lists the objects of schema public in a canonical form, sorted: two
// databases with the same schema give the same lines, whatever their rows,
// OIDs, owners and the order of their columns.
func Schema(ctx context.Context, conn *pgx.Conn) (lines []string, err error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		lines, err = schemaWithin(ctx, tx)
		return err
	})
	return lines, wrap("reading the schema", err)
}

// schemaWithin is Schema in a transaction that is open already, whose search
// path it changes.
func schemaWithin(ctx context.Context, q Querier) ([]string, error) {
	// Definitions then hold every name with its schema.
	var path string
	if err := q.QueryRow(ctx, "SELECT set_config('search_path', 'pg_catalog', true)").Scan(&path); err != nil {
		return nil, err
	}
	rows, _ := q.Query(ctx, schemaSQL)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	for i, line := range lines {
		lines[i] = canonical(line)
	}
	slices.Sort(lines)
	return lines, err
}

// Fingerprint is the SHA-256 of Schema, hexadecimal.
func Fingerprint(ctx context.Context, conn *pgx.Conn) (string, error) {
	lines, err := Schema(ctx, conn)
	if err != nil {
		return "", err
	}
	return fingerprintOf(lines), nil
}

func fingerprintOf(lines []string) string {
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

// dumped is what of a schema goes through a dump: an index that was never
// finished does not.
func dumped(lines []string) []string {
	return slices.DeleteFunc(lines, func(line string) bool {
		return strings.HasPrefix(line, "index ") && strings.HasSuffix(line, " valid=f")
	})
}

// DiffSchema says which lines of Schema only one of two databases has.
func DiffSchema(want, got []string) (diff []string) {
	for _, line := range want {
		if !slices.Contains(got, line) {
			diff = append(diff, "missing: "+line)
		}
	}
	for _, line := range got {
		if !slices.Contains(want, line) {
			diff = append(diff, "not expected: "+line)
		}
	}
	return diff
}

var (
	textCast   = regexp.MustCompile(`::(text|character varying|bpchar)(\(\d+\))?(\[\])?`)
	loneValue  = regexp.MustCompile(`\(('(?:[^']|'')*')\)`)
	castArray  = regexp.MustCompile(`\(\((ARRAY\[(?:[^\]']|'(?:[^']|'')*')*\])\)\)`)
	whitespace = regexp.MustCompile(`\s+`)
)

// canonical removes what a dump and a restore change in an expression without
// changing its meaning: "x IN ('a', 'b')" on a varchar comes out as
// ANY ((ARRAY['a'::character varying, …])::text[]) at first and as
// ANY (ARRAY[('a'::character varying)::text, …]) after a restore.
func canonical(line string) string {
	kind, _, _ := strings.Cut(line, " ")
	switch kind {
	case "constraint", "index", "view", "policy", "type", "trigger", "parsed":
		return canonicalExpr(line)
	case "column":
		if name, expr, ok := strings.Cut(line, " default "); ok {
			return name + " default " + canonicalExpr(expr)
		}
	}
	return line
}

func canonicalExpr(s string) string {
	s = textCast.ReplaceAllString(s, "")
	s = loneValue.ReplaceAllString(s, "$1")
	s = castArray.ReplaceAllString(s, "($1)")
	return strings.TrimSpace(whitespace.ReplaceAllString(s, " "))
}
