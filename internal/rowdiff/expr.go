package rowdiff

import "strings"

// each joins what f makes of every column.
func each(columns []column, separator string, f func(c column) string) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = f(c)
	}
	return strings.Join(parts, separator)
}

// columnNames is the names of columns.
func columnNames(columns []column) []string {
	list := make([]string, len(columns))
	for i, c := range columns {
		list[i] = c.name
	}
	return list
}

// names lists the columns, with the alias of their table where there is one.
func names(alias string, columns []column) string {
	return each(columns, ", ", func(c column) string { return alias + quote(c.name) })
}

// document is the expression for the columns of a row as a jsonb object:
// to_jsonb, but text where that would not keep the value exactly (the form of a
// json, a jsonb null, an array that does not begin at 1).
func document(alias string, columns []column) string {
	return `(SELECT to_jsonb("rowdiff r") FROM (SELECT ` + each(columns, ", ", func(c column) string {
		value := alias + quote(c.name)
		switch c.kind {
		case textual:
			value += "::text"
		case array:
			value = "CASE WHEN array_dims(" + value + `) !~ '^(\[1:\d+\])+$' THEN to_jsonb(` + value + "::text) ELSE to_jsonb(" + value + ") END"
		}
		return value + " AS " + quote(c.name)
	}) + `) "rowdiff r")` // a name that no column has
}

// record is a FROM item that turns such an object back into columns.
func record(doc, alias string, columns []column) string {
	return "jsonb_to_record(" + doc + ") AS " + alias + "(" + each(columns, ", ", func(c column) string {
		if c.kind == textual {
			return quote(c.name) + " text"
		}
		return quote(c.name) + " " + c.typ
	}) + ")"
}

// value is one column of a record.
func value(alias string, c column) string {
	if c.kind == textual {
		return alias + quote(c.name) + "::" + c.typ
	}
	return alias + quote(c.name)
}

// differs is the condition that one column of two rows differs.
func differs(a, b string, c column) string {
	if c.kind == textual {
		return a + quote(c.name) + `::text COLLATE "C" IS DISTINCT FROM ` + b + quote(c.name) + `::text COLLATE "C"`
	}
	return a + quote(c.name) + " IS DISTINCT FROM " + b + quote(c.name)
}

// sameKey is the condition that two rows have the same key.
func sameKey(a, b string, key []column) string {
	return each(key, " AND ", func(c column) string { return a + quote(c.name) + " = " + b + quote(c.name) })
}

// namesArray lists the columns as a text[].
func namesArray(columns []column) string {
	return "ARRAY[" + each(columns, ", ", func(c column) string { return literal(c.name) }) + "]::text[]"
}
