package alembic

import (
	"slices"
	"strings"
)

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
