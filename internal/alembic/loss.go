package alembic

import (
	"fmt"
	"strings"
)

// A Drop is a table, or one column of it, that SQL takes away. What was stored
// there is gone, unless nothing was.
type Drop struct {
	Table  string // schema.table or table, as the server folds it
	Column string // empty: the whole table
}

func (d Drop) String() string {
	if d.Column == "" {
		return "table " + d.Table
	}
	return "column " + d.Table + "." + d.Column
}

// Losses reads what the SQL of a downgrade may take with it: the tables and
// columns that it drops, which cost nothing where they hold nothing; and the
// statements of which it cannot be told that they leave every value as it is.
// Tables that the same SQL makes are not counted.
func Losses(sql string) (drops []Drop, others []string) {
	made := map[string]bool{}
	for _, s := range split(sql) {
		cur := &cursor{w: words(s.text)}
		if cur.accept("CREATE", "TABLE") {
			cur.accept("IF", "NOT", "EXISTS")
			made[cur.name()] = true
			continue
		}
		found, harmless := losses(cur)
		for _, d := range found {
			if !made[d.Table] {
				drops = append(drops, Drop{folded(d.Table), folded(d.Column)})
			}
		}
		if !harmless && !bookkeeping.MatchString(strings.ToUpper(s.text)) {
			others = append(others, shown(s.text))
		}
	}
	return drops, others
}

// losses judges one statement.
func losses(cur *cursor) (drops []Drop, harmless bool) {
	switch cur.next() {
	case "", "BEGIN", "COMMIT", "SET", "COMMENT", "CREATE", "GRANT", "REVOKE":
		return nil, true
	case "DROP":
		return dropped(cur)
	case "ALTER":
		if !cur.accept("TABLE") {
			return nil, cur.accept("INDEX")
		}
		cur.accept("IF", "EXISTS")
		cur.accept("ONLY")
		table := cur.name()
		harmless = true
		for _, action := range cur.rest().splitTop(",") {
			column, ok := alters(action)
			if column != "" {
				drops = append(drops, Drop{table, column})
			}
			harmless = harmless && ok
		}
		return drops, harmless
	}
	return nil, false
}

func dropped(cur *cursor) (drops []Drop, harmless bool) {
	if cur.accept("TABLE") {
		cur.accept("IF", "EXISTS")
		for {
			name := cur.name()
			if name != "ALEMBIC_VERSION" {
				drops = append(drops, Drop{Table: name})
			}
			if !cur.accept(",") {
				return drops, true
			}
		}
	}
	for _, kind := range []string{"INDEX", "VIEW", "TRIGGER", "FUNCTION"} {
		if cur.accept(kind) {
			return nil, true
		}
	}
	return nil, cur.accept("MATERIALIZED", "VIEW")
}

// alters judges one action of ALTER TABLE: the column that it drops, and
// whether all values stay as they are otherwise.
func alters(action *cursor) (column string, harmless bool) {
	switch {
	case action.accept("DROP", "CONSTRAINT"), action.accept("ADD"), action.accept("VALIDATE"), action.accept("RENAME"):
		return "", true
	case action.accept("DROP"):
		action.accept("COLUMN")
		action.accept("IF", "EXISTS")
		return plain(action.next()), true
	case action.accept("ALTER"):
		action.accept("COLUMN")
		action.next()
		for _, what := range [][]string{{"SET", "DEFAULT"}, {"DROP", "DEFAULT"}, {"SET", "NOT", "NULL"}, {"DROP", "NOT", "NULL"}} {
			if action.accept(what...) {
				return "", true
			}
		}
	}
	return "", false
}

// folded is a name as the server stores it: those that were not quoted in
// small letters.
func folded(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if strings.HasPrefix(p, `"`) {
			parts[i] = strings.ReplaceAll(strings.Trim(p, `"`), `""`, `"`)
			continue
		}
		parts[i] = strings.ToLower(p)
	}
	return strings.Join(parts, ".")
}

// shown is a statement for a message.
func shown(text string) string {
	if len(text) > maxShown {
		return fmt.Sprintf("%s…", strings.ToValidUTF8(text[:maxShown], ""))
	}
	return text
}
