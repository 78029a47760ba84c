package alembic

import (
	"regexp"
	"slices"
	"strings"
)

func (s lockScanner) alter(cur *cursor) (all []Lock) {
	if cur.accept("DOMAIN") {
		cur.name()
		if cur.accept("SET", "NOT", "NULL") || cur.accept("ADD") && !notValid(cur) {
			return one(Lock{Kind: Unknown, Why: "every table with a column of the domain is read, nobody writes to it meanwhile", Do: "ADD … NOT VALID, then VALIDATE CONSTRAINT"})
		}
		return nil
	}
	if !cur.accept("TABLE") && !cur.accept("INDEX") && !cur.accept("MATERIALIZED", "VIEW") {
		return nil
	}
	if cur.accept("ALL", "IN", "TABLESPACE") {
		return one(Lock{Kind: Rewrites, Mode: AccessExclusive, Why: "every table of the tablespace is copied", Do: "move them one at a time"})
	}
	cur.accept("IF", "EXISTS")
	cur.accept("ONLY")
	table := cur.name()
	actions := cur.rest().splitTop(",")
	for _, action := range actions {
		for _, l := range s.action(table, action) {
			if l.Table == "" {
				l.Table = table
			}
			if len(actions) > 1 { // they share the strongest of their locks
				l.Mode = AccessExclusive
			}
			all = append(all, l)
		}
	}
	return all
}

// action is one of ALTER TABLE's.
func (s lockScanner) action(table string, cur *cursor) []Lock {
	rewrites := func(why, do string) []Lock {
		return one(Lock{Kind: Rewrites, Mode: AccessExclusive, Why: why, Do: do})
	}
	switch {
	case cur.accept("SET", "LOGGED"), cur.accept("SET", "UNLOGGED"):
		return rewrites("the table is written anew, to another kind of storage", "do it while the table is small")
	case cur.accept("SET", "TABLESPACE"):
		return rewrites("the table is copied to another tablespace", "do it in a maintenance of its own")
	case cur.accept("SET", "ACCESS", "METHOD"):
		return rewrites("the table is written anew, by another access method", "do it in a maintenance of its own")
	case cur.accept("ATTACH", "PARTITION"):
		return one(Lock{Table: cur.name(), Kind: Scans, Mode: AccessExclusive, Why: "the rows of the partition are held against its bounds", Do: "give it a validated CHECK of the bounds first"})
	case cur.accept("VALIDATE", "CONSTRAINT"): // reads the table, and keeps nobody out
		if column, ok := s.checks[plain(cur.next())]; ok {
			s.filled[column] = true
		}
	case cur.accept("ADD"):
		return s.add(table, cur)
	case cur.accept("ALTER"):
		cur.accept("COLUMN")
		return s.column(table, s.original(Drop{table, plain(cur.next())}), cur)
	}
	return nil
}

func (s lockScanner) add(table string, cur *cursor) []Lock {
	name := ""
	if cur.accept("CONSTRAINT") {
		name = plain(cur.next())
	}
	switch cur.peek() {
	case "UNIQUE", "PRIMARY", "FOREIGN", "CHECK", "EXCLUDE":
		return s.constraint(table, name, cur.rest())
	case "NOT": // ADD CONSTRAINT name NOT NULL column, of PostgreSQL 18
		cur.accept("NOT", "NULL")
		if column := s.original(Drop{table, plain(cur.next())}); !notValid(cur) {
			return s.notNull(column)
		}
		return nil
	}
	cur.accept("COLUMN")
	cur.accept("IF", "NOT", "EXISTS")
	return s.newColumn(s.original(Drop{table, plain(cur.next())}), cur)
}

// notValid reports whether a constraint is left for VALIDATE CONSTRAINT.
func notValid(cur *cursor) bool {
	for i, w := range cur.w {
		if w.text == "NOT" && i+1 < len(cur.w) && cur.w[i+1].text == "VALID" {
			return true
		}
	}
	return false
}

// constraint is one of the table, or of a new column.
func (s lockScanner) constraint(table, name string, cur *cursor) []Lock {
	if w := cur.w; len(w) > 6 && w[0].text == "CHECK" && w[3].text == "IS" && w[4].text == "NOT" && w[5].text == "NULL" && w[6].text == ")" {
		column := s.original(Drop{table, plain(w[2].text)})
		s.checks[name], s.filled[column] = column, !notValid(cur)
	}
	switch {
	case cur.accept("PRIMARY", "KEY", "USING", "INDEX"):
		return one(Lock{Kind: Scans, Mode: AccessExclusive, index: folded(plain(cur.next())), Why: "columns of the primary key may be null: every row is looked at",
			Do: "add CHECK (… IS NOT NULL) NOT VALID and VALIDATE it first"})
	case cur.accept("UNIQUE", "USING", "INDEX"):
		return nil
	case cur.accept("UNIQUE"), cur.accept("PRIMARY"), cur.accept("EXCLUDE"):
		return one(Lock{Kind: Indexes, Mode: AccessExclusive, Why: "nobody reads or writes while its index is built",
			Do: "CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"})
	case notValid(cur):
		return nil
	case cur.accept("FOREIGN"):
		return one(Lock{Kind: Scans, Mode: ShareRowExclusive, Why: "every row is looked up in the other table, nobody writes to either meanwhile", Do: "ADD … NOT VALID, then VALIDATE CONSTRAINT"})
	}
	return one(Lock{Kind: Scans, Mode: AccessExclusive, Why: "every row is looked at, nobody reads or writes meanwhile", Do: "ADD … NOT VALID, then VALIDATE CONSTRAINT"})
}

var serial = regexp.MustCompile(`^(SMALL|BIG)?SERIAL[248]?$`)

// newColumn is ADD COLUMN from the type on.
func (s lockScanner) newColumn(column Drop, cur *cursor) []Lock {
	l := Lock{Kind: Rewrites, Mode: AccessExclusive, added: true, Do: "add it without the default, fill it in batches, then set the default"}
	if serial.MatchString(cur.peek()) {
		l.Why = "the new column gets a number in every row"
		return one(l)
	}
	l.to = text(&cursor{w: cur.until(columnWords...)})
	s.types[column] = l.to
	var more []Lock
	notNull, constant, rewrites := false, false, false
	for !cur.done() {
		switch {
		case cur.accept("NOT", "NULL"):
			notNull = true
		case cur.accept("DEFAULT"):
			value := cur.until(columnWords...)
			if l.functions = calls(value); len(l.functions) > 0 && !rewrites {
				l.Why = "the new column's default is not the same in every row"
			}
			constant = !(len(value) == 1 && value[0].text == "NULL")
		case cur.accept("GENERATED"):
			if rewrites = !slices.ContainsFunc(cur.w, func(w word) bool { return w.text == "VIRTUAL" }); rewrites {
				l.Why, l.functions, l.to, constant = "the new column is computed in every row", nil, "", true
			}
		case cur.accept("CONSTRAINT"):
			cur.next()
		case cur.peek() == "UNIQUE", cur.peek() == "PRIMARY", cur.peek() == "CHECK":
			more = append(more, s.constraint(column.Table, "", &cursor{w: cur.until(columnWords...)})...)
		case cur.accept("REFERENCES"):
			if constant {
				more = append(more, s.constraint(column.Table, "", &cursor{w: words("FOREIGN")})...)
				more[len(more)-1].Mode = AccessExclusive
			}
		default:
			cur.nextTop()
		}
	}
	if l.Why == "" {
		l.Why, l.plain = "the new column's type is a domain with constraints", true
	} else if l.functions == nil {
		return append([]Lock{l}, more...)
	}
	if notNull && !constant {
		more = append(more, Lock{Kind: Scans, Mode: AccessExclusive, Why: "the new column must not be null and has no default: it fails unless the table is empty", Do: "give it a default"})
	}
	return append([]Lock{l}, more...)
}

// columnWords begin another part of a column's definition.
var columnWords = []string{"DEFAULT", "NOT", "NULL", "UNIQUE", "PRIMARY", "CHECK", "REFERENCES", "GENERATED", "CONSTRAINT", "COLLATE", "STORAGE", "COMPRESSION"}

// column is ALTER COLUMN behind the name.
func (s lockScanner) column(table string, column Drop, cur *cursor) []Lock {
	switch {
	case cur.accept("SET", "NOT", "NULL"):
		return s.notNull(column)
	case cur.accept("SET", "EXPRESSION"):
		return one(Lock{Kind: Rewrites, Mode: AccessExclusive, Why: "the column is computed anew in every row", Do: "add another column, and fill it in batches"})
	case cur.accept("SET", "DATA", "TYPE"), cur.accept("TYPE"):
	default:
		return nil
	}
	l := Lock{Kind: Rewrites, Mode: AccessExclusive, column: folded(column.Column), from: s.types[column],
		Why: "every row is written with the column's new type", Do: "add a column of the new type, fill it in batches, and change over"}
	typ := &cursor{w: cur.until("USING", "COLLATE")}
	l.to = text(typ)
	s.types[column] = l.to
	if cur.accept("COLLATE") {
		cur.name()
		l.Kind, l.Why = Indexes, "indexes of the column are built anew for another collation"
	}
	if cur.accept("USING") && !sameValue(cur.rest().w, plain(column.Column), typ.w) {
		l.to, l.Why = "", "every row is written with what USING computes"
	}
	return one(l)
}

// sameValue reports whether USING says no more than ALTER TYPE does by itself:
// the column, or the column cast to the type.
func sameValue(w []word, column string, typ []word) bool {
	if len(w) > 4 && w[0].text == "CAST" {
		w = append(append([]word{w[2], {text: ":"}, {text: ":"}}, w[4:len(w)-1]...), []word{}...)
	}
	if len(w) == 0 || plain(w[0].text) != column {
		return false
	}
	return len(w) == 1 || len(w) > 3 && w[1].text == ":" && w[2].text == ":" && text(&cursor{w: w[3:]}) == text(&cursor{w: typ})
}

func (s lockScanner) notNull(column Drop) []Lock {
	if s.filled[column] {
		return nil
	}
	return one(Lock{Kind: Scans, Mode: AccessExclusive, column: folded(column.Column), Why: "every row is looked at for a null, nobody reads or writes meanwhile",
		Do: "ADD CONSTRAINT … CHECK (" + folded(column.Column) + " IS NOT NULL) NOT VALID, VALIDATE CONSTRAINT, then SET NOT NULL"})
}

// notFunctions stand before a parenthesis and are none, or ask for nothing
// that differs by row.
var notFunctions = []string{"CAST", "COALESCE", "NULLIF", "GREATEST", "LEAST", "EXTRACT", "ROW", "IN", "AND", "OR", "NOT", "VALUES",
	"DECIMAL", "DEC", "CHARACTER", "VARYING", "CHAR", "VARCHAR", "NUMERIC", "BIT", "TIME", "TIMESTAMP", "INTERVAL", "FLOAT", "ARRAY",
	"CURRENT_TIMESTAMP", "CURRENT_TIME", "LOCALTIMESTAMP", "LOCALTIME"}

// calls are the functions that an expression calls, as the server folds them.
func calls(value []word) (names []string) {
	for i, w := range value {
		if w.kind == tokenName && i+1 < len(value) && value[i+1].text == "(" && !slices.Contains(notFunctions, w.text) {
			names = append(names, folded(plain(w.text)))
		}
	}
	return names
}

// text is what the words stand for, with a space between names.
func text(cur *cursor) string {
	var b strings.Builder
	for i, w := range cur.w {
		if i > 0 && w.kind == tokenName && cur.w[i-1].kind == tokenName {
			b.WriteByte(' ')
		}
		b.WriteString(w.text)
	}
	return b.String()
}
