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
