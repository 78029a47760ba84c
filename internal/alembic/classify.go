package alembic

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Classify reports whether the SQL of migrations is of the kind that the
// release before can go on running beside and upon, and if not, why.
//
// Compatible is what only adds: new tables, views, types and sequences;
// indexes that are not unique; columns that may be null, or have a constant
// default; comments; Alembic's own bookkeeping. Anything may be done to a
// table that the same SQL makes. Of changes of data only UPDATEs of columns
// that the same SQL adds are: the release before neither reads nor writes
// those; it would see all others, half-done by its own standards, and a return
// to its code would not undo them. An index may be dropped where the same SQL
// makes it anew. What is not known to be compatible is not.
func Classify(sql string) (compatible bool, reasons []string) {
	c, statements := newClassifier(), split(sql)
	c.expect(statements)
	for _, s := range statements {
		if why := c.judge(s.text); why != "" {
			reasons = append(reasons, why)
		}
	}
	return len(reasons) == 0, reasons
}

// ChangesData reports whether the SQL does anything to rows, or may: every
// statement counts that is not one that defines, comments or keeps Alembic's
// own books. A downgrade does not bring such changes back.
func ChangesData(sql string) bool {
	for _, s := range split(sql) {
		first, rest, _ := strings.Cut(s.text, " ")
		switch strings.ToUpper(first) {
		case "", "BEGIN", "COMMIT", "SET", "CREATE", "ALTER", "COMMENT", "GRANT", "REVOKE":
			continue
		case "DROP":
			continue // what goes with it is seen by the schema
		}
		if !bookkeeping.MatchString(strings.ToUpper(first + " " + rest)) {
			return true
		}
	}
	return false
}

var bookkeeping = regexp.MustCompile(`^(INSERT INTO|UPDATE|DELETE FROM) "?ALEMBIC_VERSION\b`)

var runningUpgrade = regexp.MustCompile(`^-- Running upgrade (?:.* )?-> (\S+)\s*$`)

// ClassifyEach does the same for each migration in the SQL that "alembic
// upgrade --sql" has written; a compatible one has no reasons.
func ClassifyEach(sql string) map[string][]string {
	c, statements := newClassifier(), split(sql)
	c.expect(statements)
	verdicts := map[string][]string{}
	revision := ""
	for _, s := range statements {
		for _, comment := range s.comments {
			if m := runningUpgrade.FindStringSubmatch(strings.TrimSpace(comment)); m != nil {
				revision = m[1]
				verdicts[revision] = nil
			}
		}
		if why := c.judge(s.text); why != "" {
			verdicts[revision] = append(verdicts[revision], why)
		}
	}
	return verdicts
}

// A classifier remembers what the SQL has made so far.
type classifier struct {
	indexes map[string]bool            // made somewhere in it
	tables  map[string]bool            // made here
	columns map[string]map[string]bool // added here, by table
}

func newClassifier() *classifier {
	return &classifier{indexes: map[string]bool{}, tables: map[string]bool{}, columns: map[string]map[string]bool{}}
}

// expect notes the indexes that will be made: one that an interrupted attempt
// at the same migration may have left is dropped first.
func (c *classifier) expect(all []statement) {
	for _, s := range all {
		cur := &cursor{w: words(s.text)}
		if !cur.accept("CREATE", "INDEX") {
			continue
		}
		cur.accept("CONCURRENTLY")
		cur.accept("IF", "NOT", "EXISTS")
		c.indexes[cur.name()] = true
	}
}

const maxShown = 120 // of a statement, in a reason

// judge gives the reason why a statement is not compatible, or nothing.
func (c *classifier) judge(text string) string {
	w := words(text)
	if len(w) == 0 {
		return ""
	}
	why := c.reason(&cursor{w: w})
	if why == "" {
		return ""
	}
	return fmt.Sprintf("%s: %s", why, shown(text))
}

func (c *classifier) reason(cur *cursor) string {
	switch first := cur.next(); first {
	case "BEGIN", "COMMIT", "COMMENT":
		return ""
	case "SET":
		return ""
	case "CREATE":
		return c.create(cur)
	case "ALTER":
		if cur.accept("TABLE") {
			return c.alterTable(cur)
		}
		return "it changes what exists"
	case "DROP":
		return c.drop(cur)
	case "INSERT":
		cur.accept("INTO")
		return c.changesRows(cur.name())
	case "UPDATE":
		return c.update(cur)
	case "DELETE":
		cur.accept("FROM")
		return c.changesRows(cur.name())
	default:
		return "it is none of the statements that are known to be compatible"
	}
}

func (c *classifier) create(cur *cursor) string {
	if cur.accept("OR", "REPLACE") {
		return "it may replace what exists"
	}
	for cur.accept("UNLOGGED") {
	}
	switch {
	case cur.accept("TABLE"):
		exists := cur.accept("IF", "NOT", "EXISTS")
		if name := cur.name(); !exists {
			c.tables[name] = true
		}
		return ""
	case cur.accept("UNIQUE", "INDEX"):
		return c.index(cur, "it forbids rows that the release before may write")
	case cur.accept("INDEX"):
		return ""
	case cur.accept("SEQUENCE"), cur.accept("TYPE"), cur.accept("DOMAIN"), cur.accept("VIEW"), cur.accept("MATERIALIZED", "VIEW"), cur.accept("SCHEMA"):
		return ""
	}
	return "it is none of the statements that are known to be compatible"
}

// index finds the table of CREATE UNIQUE INDEX … ON table.
func (c *classifier) index(cur *cursor, why string) string {
	for !cur.done() {
		if cur.next() == "ON" {
			cur.accept("ONLY")
			if c.own(cur.name()) {
				return ""
			}
			return why
		}
	}
	return why
}

func (c *classifier) drop(cur *cursor) string {
	if cur.accept("INDEX") {
		cur.accept("CONCURRENTLY")
		cur.accept("IF", "EXISTS")
		if c.indexes[cur.name()] && cur.done() {
			return ""
		}
	}
	if cur.accept("TABLE") {
		cur.accept("IF", "EXISTS")
		if name := cur.name(); c.tables[name] && (cur.done() || cur.accept("CASCADE")) {
			delete(c.tables, name)
			return ""
		}
	}
	return "it takes something away"
}

// own says whether the release before knows nothing of the table: it was made
// here or is Alembic's.
func (c *classifier) own(table string) bool {
	return c.tables[table] || table == "ALEMBIC_VERSION" || strings.HasSuffix(table, ".ALEMBIC_VERSION")
}

func (c *classifier) changesRows(table string) string {
	if c.own(table) {
		return ""
	}
	return "it changes rows that the release before reads"
}

// update allows UPDATE table SET column = … for columns added here.
func (c *classifier) update(cur *cursor) string {
	cur.accept("ONLY")
	table := cur.name()
	if c.own(table) {
		return ""
	}
	if !cur.accept("SET") {
		cur.accept("AS")
		cur.next()
		if !cur.accept("SET") {
			return c.changesRows(table)
		}
	}
	for {
		column := plain(cur.next())
		if !c.columns[table][column] || cur.next() != "=" {
			return c.changesRows(table)
		}
		for !cur.done() && cur.peek() != "," {
			if slices.Contains([]string{"FROM", "WHERE", "RETURNING"}, cur.peek()) {
				return ""
			}
			cur.nextTop()
		}
		if cur.done() {
			return ""
		}
		cur.next()
	}
}

func (c *classifier) alterTable(cur *cursor) string {
	cur.accept("IF", "EXISTS")
	cur.accept("ONLY")
	table := cur.name()
	if c.own(table) {
		return ""
	}
	for _, action := range cur.rest().splitTop(",") {
		if why := c.action(table, action); why != "" {
			return why
		}
	}
	return ""
}

// action judges one of ALTER TABLE's: only new columns are compatible.
func (c *classifier) action(table string, cur *cursor) string {
	if !cur.accept("ADD") {
		return "it changes what exists"
	}
	for _, kind := range []string{"CONSTRAINT", "CHECK", "UNIQUE", "PRIMARY", "FOREIGN", "EXCLUDE"} {
		if cur.peek() == kind {
			return "it forbids rows that the release before may write"
		}
	}
	cur.accept("COLUMN")
	cur.accept("IF", "NOT", "EXISTS")
	column := plain(cur.next())
	if why := columnReason(cur); why != "" {
		return why
	}
	if c.columns[table] == nil {
		c.columns[table] = map[string]bool{}
	}
	c.columns[table][column] = true
	return ""
}
