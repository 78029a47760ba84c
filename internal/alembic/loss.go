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
// Tables that the same SQL makes are not counted; what it renames before is
// named as it is called now.
func Losses(sql string) (drops []Drop, others []string) {
	names := renamed{made: map[string]bool{}, was: map[Drop]Drop{}}
	for _, s := range split(sql) {
		cur := &cursor{w: words(s.text)}
		if cur.accept("CREATE", "TABLE") {
			there := cur.accept("IF", "NOT", "EXISTS")
			if name := cur.name(); !there {
				names.made[name] = true
			}
			continue
		}
		if names.rename(&cursor{w: words(s.text)}) {
			continue
		}
		found, harmless := losses(cur)
		for _, d := range found {
			if !names.made[d.Table] {
				d = names.original(d)
				drops = append(drops, Drop{folded(d.Table), folded(d.Column)})
			}
		}
		if !harmless && !bookkeeping.MatchString(strings.ToUpper(s.text)) {
			others = append(others, shown(s.text))
		}
	}
	return drops, others
}

// renamed knows what the tables and columns were called before the SQL.
type renamed struct {
	made map[string]bool // tables that the SQL makes, by their present names
	was  map[Drop]Drop   // from the present name of a table, or of a column in a table of its first name
}

// original is what d is called before the SQL is run.
func (n renamed) original(d Drop) Drop {
	if was, ok := n.was[Drop{Table: d.Table}]; ok {
		d.Table = was.Table
	}
	if was, ok := n.was[d]; ok && d.Column != "" {
		d.Column = was.Column
	}
	return d
}

// rename takes note of a statement that gives a table or a column another name;
// false where it is none.
func (n renamed) rename(cur *cursor) bool {
	if !cur.accept("ALTER", "TABLE") {
		return false
	}
	cur.accept("IF", "EXISTS")
	cur.accept("ONLY")
	table := cur.name()
	if !cur.accept("RENAME") || cur.accept("CONSTRAINT") {
		return false
	}
	if cur.accept("TO") {
		to := plain(cur.next())
		if dot := strings.LastIndex(table, "."); dot >= 0 {
			to = table[:dot+1] + to
		}
		if n.made[table] {
			delete(n.made, table)
			n.made[to] = true
			return true
		}
		was := n.original(Drop{Table: table})
		delete(n.was, Drop{Table: table})
		n.was[Drop{Table: to}] = was
		return true
	}
	cur.accept("COLUMN")
	was := n.original(Drop{table, plain(cur.next())})
	if !n.made[table] && cur.accept("TO") {
		n.was[Drop{was.Table, plain(cur.next())}] = was
	}
	return true
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
