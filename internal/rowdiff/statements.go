package rowdiff

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// statementsSQL lists the judged rows that are not done, in the order in which
// Apply deals with them. $1 is the tables, parents first.
const statementsSQL = `SELECT w.n, w.tbl, w.key, w.kind, w.backup, w.live, coalesce(w.columns, w.changed, '{}'), coalesce(w.sure, ''), coalesce(w.why, ''), c.operation
	FROM etf_ops.work_rows w CROSS JOIN etf_ops.work_comparison c
	WHERE (w.class, w.kind) IN (('restore', 'changed'), ('quarantine', 'added'), ('missing', 'deleted')) AND (w.done IS NULL OR w.done = 'left')
	ORDER BY array_position('{added,changed,deleted}', w.kind), array_position($1, w.tbl) * CASE w.kind WHEN 'added' THEN -1 ELSE 1 END, w.n`

// WriteSQL writes the statements that Apply would run, one a row, to be read
// beforehand; those of class missing, which are brought back on request only,
// as comments.
func WriteSQL(ctx context.Context, q postgres.Querier, w io.Writer) error {
	if err := compared(ctx, q); err != nil {
		return err
	}
	order, err := parentsFirst(ctx, q)
	if err != nil {
		return err
	}
	rows, err := q.Query(ctx, statementsSQL, order)
	if err != nil {
		return wrap("reading the judged rows", err)
	}
	out := bufio.NewWriter(w)
	out.WriteString("-- What is to be done with the rows that differ from the backup. This is for reading:\n" +
		"-- data:restore does the same, and leaves alone what was changed since.\nBEGIN;\n")
	var s statement
	var sure, why string
	_, err = pgx.ForEachRow(rows, []any{&s.n, &s.table, &s.key, &s.kind, &s.backup, &s.live, &s.columns, &sure, &why, &s.operation}, func() error {
		s.why = oneLine(why)
		fmt.Fprintf(out, "-- %d: %s\n", s.n, oneLine(strings.Trim(sure+": "+why, ": ")))
		text, err := s.text()
		if err != nil {
			return err
		}
		_, err = out.WriteString(text + "\n") // the first error stays
		return err
	})
	if err == nil {
		out.WriteString("COMMIT;\n")
		err = out.Flush()
	}
	return wrap("writing the statements", err)
}

// A statement is what would be done with one row.
type statement struct {
	n                           int64
	table, kind, why, operation string
	key, backup, live           json.RawMessage
	columns                     []string
}

func (s *statement) text() (string, error) {
	key, names, err := literals(s.key)
	if err != nil {
		return "", err
	}
	schema, base, _ := strings.Cut(s.table, ".")
	table := pgx.Identifier{schema, base}.Sanitize()
	equals := make([]string, len(names))
	for i, name := range names {
		equals[i] = quote(name) + " = " + key[name]
	}
	where := " WHERE " + strings.Join(equals, " AND ")
	if s.kind == Added {
		return fmt.Sprintf("WITH gone AS (DELETE FROM %s AS t%s RETURNING to_jsonb(t.*) AS row) INSERT INTO etf_ops.quarantine (operation, tbl, key, row, why) SELECT %s, %s, %s, gone.row, %s FROM gone;",
			table, where, literal(s.operation), literal(s.table), literal(string(s.key)), literal(s.why)), nil
	}
	backup, names, err := literals(s.backup)
	if err != nil {
		return "", err
	}
	if s.kind == Deleted {
		columns, values := make([]string, len(names)), make([]string, len(names))
		for i, name := range names {
			columns[i], values[i] = quote(name), backup[name]
		}
		return comment(fmt.Sprintf("INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE VALUES (%s);", table, strings.Join(columns, ", "), strings.Join(values, ", "))), nil
	}
	live, _, err := literals(s.live)
	if err != nil {
		return "", err
	}
	var set, was []string
	for _, name := range s.columns {
		set, was = append(set, quote(name)+" = "+backup[name]), append(was, quote(name)+" = "+live[name])
	}
	return comment("was "+strings.Join(was, ", ")) + "\nUPDATE " + table + " SET " + strings.Join(set, ", ") + where + ";", nil
}

// comment has every line of text begin with two dashes.
func comment(text string) string { return "-- " + strings.ReplaceAll(text, "\n", "\n-- ") }

// literals gives the values of a document for a statement, and their names
// sorted.
func literals(doc json.RawMessage) (values map[string]string, names []string, err error) {
	decoder := json.NewDecoder(strings.NewReader(string(doc)))
	decoder.UseNumber() // as written, with all zeros
	var object map[string]any
	if err := decoder.Decode(&object); err != nil {
		return nil, nil, err
	}
	values = map[string]string{}
	for name, v := range object {
		names = append(names, name)
		switch v := v.(type) {
		case nil:
			values[name] = "NULL"
		case string:
			values[name] = literal(v)
		case []any:
			values[name] = literal(arrayText(v))
		default:
			values[name] = fmt.Sprint(v)
		}
	}
	slices.Sort(names)
	return values, names, nil
}

// arrayText writes an array as PostgreSQL does.
func arrayText(list []any) string {
	parts := make([]string, len(list))
	for i, v := range list {
		switch v := v.(type) {
		case nil:
			parts[i] = "NULL"
		case string:
			parts[i] = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(v) + `"`
		case []any:
			parts[i] = arrayText(v)
		default:
			parts[i] = fmt.Sprint(v)
		}
	}
	return "{" + strings.Join(parts, ",") + "}"
}
