package alembic

import (
	"slices"
	"strings"
)

// Kinds of work that a statement does on a table while it locks it.
const (
	Rewrites = "rewrite" // every row is written anew
	Scans    = "scan"    // every row is read
	Indexes  = "index"   // an index is built
	Changes  = "rows"    // rows are changed, each locked until the end of the transaction
	Holds    = "lock"    // it does nothing but lock
	Unknown  = "unknown" // it can do anything
)

// Modes of a table's lock that keep others out.
const (
	AccessExclusive   = "ACCESS EXCLUSIVE"    // nobody reads or writes
	ShareRowExclusive = "SHARE ROW EXCLUSIVE" // nobody writes
	Share             = "SHARE"               // nobody writes
	RowExclusive      = "ROW EXCLUSIVE"       // nobody changes the same rows
)

// A Lock is a statement that keeps others from a table for as long as it works
// on the whole of it.
type Lock struct {
	Statement string `json:"statement"`       // its beginning
	Table     string `json:"table,omitempty"` // as the server folds it, with the schema that the statement names; empty: all tables, or not known
	Kind      string `json:"kind"`            // Rewrites, Scans, …
	Mode      string `json:"mode,omitempty"`  // AccessExclusive, …; empty: not known
	Why       string `json:"why"`
	Do        string `json:"do"` // the way that holds nobody up

	// What Weigh finds out:
	Bytes int64 `json:"bytes"` // of the table with its indexes and partitions; -1: there is no such table
	Rows  int64 `json:"rows"`  // as the planner counts them; -1: not known

	// What Weigh asks the catalog, as it may be that there is nothing to do:
	added     bool     // a new column of type to; or
	column    string   // one whose type becomes to, or which must not be null any more
	from, to  string   // types; from is empty where it is the stored one
	plain     bool     // only the type of the new column can rewrite the table
	functions []string // in its default: they do where one is volatile
	index     string   // stands for its table, or becomes the primary key
}

// Locks lists the statements that lock a table for long, in order. Tables that
// the same SQL makes are not counted, those that it renames are named as they
// are called now. What depends on the database, such as the present type of a
// column, is taken for the worst: Weigh drops what is harmless there.
func Locks(sql string) []Lock { return LocksEach([]string{sql})[0] }

// LocksEach is Locks for pieces of SQL that are run one after the other.
func LocksEach(pieces []string) [][]Lock {
	s := lockScanner{
		renamed: renamed{made: map[string]bool{}, was: map[Drop]Drop{}},
		types:   map[Drop]string{}, filled: map[Drop]bool{}, checks: map[string]Drop{},
	}
	all := make([][]Lock, len(pieces))
	for i, sql := range pieces {
		for _, statement := range split(sql) {
			all[i] = append(all[i], s.judge(statement.text)...)
		}
	}
	return all
}

func (s lockScanner) judge(statement string) (all []Lock) {
	cur := &cursor{w: words(statement)}
	if len(cur.w) == 0 || bookkeeping.MatchString(strings.ToUpper(statement)) || s.making(cur) || s.rename(&cursor{w: cur.w}) {
		return nil
	}
	for _, l := range s.statement(cur) {
		if s.made[l.Table] {
			continue
		}
		l.Table = folded(s.original(Drop{Table: l.Table}).Table)
		l.Statement = shown(statement)
		all = append(all, l)
	}
	return all
}

// A lockScanner remembers what the SQL has done so far.
type lockScanner struct {
	renamed
	types  map[Drop]string // that columns have by now
	filled map[Drop]bool   // columns of which a validated check says that they hold no null
	checks map[string]Drop // and the names of those that say so
}

// making takes note of a new table.
func (s lockScanner) making(from *cursor) bool {
	cur := &cursor{w: from.w}
	if !cur.accept("CREATE") {
		return false
	}
	for slices.Contains([]string{"GLOBAL", "LOCAL", "TEMP", "TEMPORARY", "UNLOGGED", "MATERIALIZED"}, cur.peek()) {
		cur.next()
	}
	if !cur.accept("TABLE") && !cur.accept("VIEW") {
		return false
	}
	if there := cur.accept("IF", "NOT", "EXISTS"); !there {
		s.made[cur.name()] = true
	}
	return true
}

func (s lockScanner) statement(cur *cursor) []Lock {
	switch first := cur.next(); first {
	case "ALTER":
		return s.alter(cur)
	case "CREATE":
		unique := cur.accept("UNIQUE")
		if cur.accept("INDEX") {
			return one(createIndex(cur, unique))
		}
	case "REINDEX":
		return one(reindex(cur))
	case "CLUSTER":
		return one(cluster(cur))
	case "VACUUM":
		return vacuumFull(cur)
	case "REFRESH":
		cur.accept("MATERIALIZED", "VIEW")
		if !cur.accept("CONCURRENTLY") {
			return one(Lock{Table: cur.name(), Kind: Rewrites, Mode: AccessExclusive, Why: "the view is filled anew and cannot be read meanwhile", Do: "REFRESH MATERIALIZED VIEW CONCURRENTLY"})
		}
	case "LOCK":
		return lockTable(cur)
	case "UPDATE", "DELETE", "MERGE", "WITH":
		return changed(first, cur)
	case "DO", "CALL", "EXECUTE":
		return one(Lock{Kind: Unknown, Why: "what " + first + " runs is not read here", Do: "look at what it does to which tables"})
	}
	return nil
}

func one(l Lock) []Lock {
	if l.Kind == "" {
		return nil
	}
	return []Lock{l}
}

func createIndex(cur *cursor, unique bool) Lock {
	if cur.accept("CONCURRENTLY") {
		return Lock{}
	}
	cur.accept("IF", "NOT", "EXISTS")
	if cur.peek() != "ON" {
		cur.name()
	}
	if !cur.accept("ON") || cur.accept("ONLY") { // ONLY: of a partitioned table, nothing is built
		return Lock{}
	}
	what := "CREATE INDEX CONCURRENTLY"
	if unique {
		what = "CREATE UNIQUE INDEX CONCURRENTLY"
	}
	return Lock{Table: cur.name(), Kind: Indexes, Mode: Share, Why: "nobody writes while the index is built",
		Do: what + " (postgresql_concurrently=True in an autocommit_block)"}
}

// parenthesised are the words of an option list such as (FULL, VERBOSE).
func parenthesised(cur *cursor) (options []string) {
	if cur.peek() == "(" {
		from := cur.i
		cur.nextTop()
		for _, w := range cur.w[from:min(cur.i, len(cur.w))] {
			options = append(options, w.text)
		}
	}
	return options
}

func reindex(cur *cursor) Lock {
	concurrently := slices.Contains(parenthesised(cur), "CONCURRENTLY")
	kind := cur.next()
	if cur.accept("CONCURRENTLY") || concurrently {
		return Lock{}
	}
	l := Lock{Kind: Indexes, Mode: Share, Why: "nobody writes while the index is built anew", Do: "REINDEX CONCURRENTLY"}
	switch name := cur.name(); kind {
	case "TABLE":
		l.Table = name
	case "INDEX":
		l.index = folded(name)
	}
	return l
}

func cluster(cur *cursor) Lock {
	parenthesised(cur)
	cur.accept("VERBOSE")
	l := Lock{Kind: Rewrites, Mode: AccessExclusive, Why: "CLUSTER rewrites the table, nobody reads or writes meanwhile", Do: "leave it out, or use pg_repack outside of migrations"}
	if !cur.done() {
		l.Table = cur.name()
		if cur.accept("ON") {
			l.Table = cur.name()
		}
	}
	return l
}

func vacuumFull(cur *cursor) (all []Lock) {
	full := slices.Contains(parenthesised(cur), "FULL")
	for slices.Contains([]string{"FULL", "FREEZE", "VERBOSE", "ANALYZE", "ANALYSE"}, cur.peek()) {
		full = cur.next() == "FULL" || full
	}
	if !full {
		return nil
	}
	for _, part := range cur.rest().splitTop(",") {
		l := Lock{Kind: Rewrites, Mode: AccessExclusive, Why: "VACUUM FULL rewrites the table, nobody reads or writes meanwhile", Do: "VACUUM without FULL"}
		if !part.done() {
			l.Table = part.name()
		}
		all = append(all, l)
	}
	return all
}

func lockTable(cur *cursor) (all []Lock) {
	cur.accept("TABLE")
	mode := AccessExclusive
	var tables []string
	for _, part := range cur.rest().splitTop(",") {
		part.accept("ONLY")
		tables = append(tables, part.name())
		part.accept("*")
		if part.accept("IN") {
			var named []string
			for !part.done() && part.peek() != "MODE" {
				named = append(named, part.next())
			}
			mode = strings.Join(named, " ")
		}
	}
	if strings.HasPrefix(mode, "ACCESS SHARE") || strings.HasPrefix(mode, "ROW ") || mode == "SHARE UPDATE EXCLUSIVE" {
		return nil // rows can be read and written
	}
	for _, table := range tables {
		all = append(all, Lock{Table: table, Kind: Holds, Mode: mode, Why: "the table is locked until the migration ends", Do: "leave the lock out, or let nothing slow follow it"})
	}
	return all
}

// changed finds the table whose rows a statement changes, be it behind WITH.
// One with a LIMIT in it is taken for a batch.
func changed(first string, cur *cursor) (all []Lock) {
	if slices.ContainsFunc(cur.w, func(w word) bool { return w.text == "LIMIT" }) {
		return nil
	}
	for verb := first; ; verb = cur.next() {
		if verb == "UPDATE" && cur.i > 1 && cur.i-2 < len(cur.w) && slices.Contains([]string{"FOR", "DO", "KEY"}, cur.w[cur.i-2].text) {
			continue // SELECT … FOR UPDATE, ON CONFLICT DO UPDATE
		}
		if verb == "UPDATE" || verb == "DELETE" && cur.accept("FROM") || verb == "MERGE" && cur.accept("INTO") {
			cur.accept("ONLY")
			l := Lock{Table: cur.name(), Kind: Changes, Mode: RowExclusive, Why: "it changes every row in one transaction, and each is locked until its end",
				Do: "change them in batches, each in a transaction of its own"}
			if slices.ContainsFunc(cur.rest().w, func(w word) bool { return w.text == "WHERE" }) {
				l.Why = "it changes the rows of a condition in one transaction, and each is locked until its end"
			}
			all = append(all, l)
		}
		if cur.done() {
			return all
		}
	}
}
