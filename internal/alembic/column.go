package alembic

import (
	"slices"
	"strings"
)

// columnReason judges the definition of a new column, from its type on.
func columnReason(cur *cursor) string {
	if typ := cur.peek(); slices.Contains([]string{"SERIAL", "BIGSERIAL", "SMALLSERIAL", "SERIAL4", "SERIAL8", "SERIAL2"}, typ) {
		return "the new column rewrites the table"
	}
	notNull, constant := false, false
	for !cur.done() {
		switch {
		case cur.accept("NOT", "NULL"):
			notNull = true
		case cur.accept("DEFAULT"):
			value := cur.until("NOT", "NULL", "UNIQUE", "PRIMARY", "CHECK", "REFERENCES", "GENERATED", "CONSTRAINT", "COLLATE")
			if !constantValue(value) {
				return "the new column's default is not constant: it may rewrite the table"
			}
			constant = !(len(value) == 1 && value[0].text == "NULL")
		case cur.accept("UNIQUE"), cur.accept("PRIMARY"), cur.accept("CHECK"), cur.accept("GENERATED"), cur.accept("REFERENCES"), cur.accept("CONSTRAINT"):
			return "the new column has a constraint, is checked or is computed, which locks or rewrites the table"
		default:
			cur.nextTop()
		}
	}
	if notNull && !constant {
		return "the new column must not be null and has no default: the release before cannot insert any more"
	}
	return ""
}

// constantValue knows literals, with a cast or a sign, and the time of the
// transaction, which PostgreSQL evaluates once.
func constantValue(value []word) bool {
	if len(value) > 0 && (value[0].text == "-" || value[0].text == "+") {
		value = value[1:]
	}
	// A default of NULL is read as DEFAULT followed by NULL.
	if len(value) == 0 {
		return false
	}
	rest := value[1:]
	switch v := value[0]; {
	case v.kind == tokenQuoted:
	case slices.Contains([]string{"TRUE", "FALSE", "NULL", "CURRENT_TIMESTAMP", "CURRENT_DATE"}, v.text):
	case v.text[0] >= '0' && v.text[0] <= '9' || v.text == ".":
		for len(rest) > 0 && (rest[0].text == "." || rest[0].text[0] >= '0' && rest[0].text[0] <= '9' || rest[0].kind == tokenName && strings.HasPrefix(rest[0].text, "E")) {
			rest = rest[1:]
		}
	case v.text == "NOW" && len(value) >= 3 && value[1].text == "(" && value[2].text == ")":
		rest = value[3:]
	default:
		return false
	}
	// What may follow is a cast: ::name, with a length or brackets.
	if len(rest) == 0 {
		return true
	}
	if len(rest) < 3 || rest[0].text != ":" || rest[1].text != ":" {
		return false
	}
	for _, w := range rest[2:] {
		if w.kind != tokenName && !strings.Contains("()[],.", w.text) && (w.text[0] < '0' || w.text[0] > '9') {
			return false
		}
	}
	return true
}
