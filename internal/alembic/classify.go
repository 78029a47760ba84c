package alembic

import (
	"fmt"
	"regexp"
	"strings"
)

// expanding are the statements under which code that does not know them can go
// on running. Everything else counts as breaking it.
var expanding = []*regexp.Regexp{
	regexp.MustCompile(`^(BEGIN|COMMIT)$`),
	regexp.MustCompile(`^SET `),
	regexp.MustCompile(`^CREATE TABLE `),
	regexp.MustCompile(`^(CREATE|DROP) INDEX `),
	regexp.MustCompile(`^CREATE (SEQUENCE|TYPE|VIEW|MATERIALIZED VIEW|SCHEMA|EXTENSION) `),
	regexp.MustCompile(`^COMMENT ON `),
	regexp.MustCompile(`^(INSERT INTO|UPDATE|DELETE FROM) ALEMBIC_VERSION\b`),
	regexp.MustCompile(`^INSERT INTO `),
	regexp.MustCompile(`^GRANT `),
	regexp.MustCompile(`^ALTER TYPE \S+ ADD VALUE `),
	regexp.MustCompile(`^ALTER TABLE (ONLY )?(IF EXISTS )?\S+ ADD (COLUMN )?(IF NOT EXISTS )?\S+ [^,]*$`),
}

// A new column breaks the old code's INSERTs when it must be given, and a
// constraint breaks what the old code may write.
var (
	addedConstraint = regexp.MustCompile(`^ALTER TABLE .* ADD (CONSTRAINT|CHECK|PRIMARY|UNIQUE|FOREIGN|EXCLUDE)\b`)
	mustBeGiven     = regexp.MustCompile(`\bNOT NULL\b`)
	hasDefault      = regexp.MustCompile(`\b(DEFAULT|GENERATED)\b`)
)

// Classify reads the SQL of migrations: compatible means that the release
// before can go on running while and after they run; otherwise the reasons name
// the statements. A unique index on an existing table counts as a constraint.
func Classify(sql string) (compatible bool, reasons []string) {
	for _, statement := range Statements(sql) {
		if !expands(statement) {
			reasons = append(reasons, fmt.Sprintf("%q", shorten(statement, 120)))
		}
	}
	return len(reasons) == 0, reasons
}

func expands(statement string) bool {
	s := strings.ToUpper(strings.Join(strings.Fields(withoutParentheses(statement)), " "))
	if addedConstraint.MatchString(s) || strings.HasPrefix(s, "CREATE UNIQUE INDEX") {
		return false
	}
	for _, form := range expanding {
		if !form.MatchString(s) {
			continue
		}
		return !strings.HasPrefix(s, "ALTER TABLE") || !mustBeGiven.MatchString(s) || hasDefault.MatchString(s)
	}
	return false
}

// withoutParentheses drops what stands in parentheses: types' sizes, lists of
// columns, expressions. A comma that is left parts two actions.
func withoutParentheses(s string) string {
	depth := 0
	return strings.Map(func(r rune) rune {
		switch {
		case r == '(':
			depth++
			return ' '
		case r == ')':
			depth = max(0, depth-1)
			return ' '
		case depth > 0:
			return -1
		}
		return r
	}, s)
}

func shorten(s string, n int) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > n {
		return s[:n] + "…"
	}
	return s
}

var dollarTag = regexp.MustCompile(`^\$[A-Za-z_]*\$`)

// Statements splits SQL at the semicolons that end statements: not those in
// quotes, dollar quotes or comments. Comments are dropped.
func Statements(sql string) []string {
	var all []string
	var b strings.Builder
	flush := func() {
		if s := strings.TrimSpace(b.String()); s != "" {
			all = append(all, s)
		}
		b.Reset()
	}
	for i := 0; i < len(sql); {
		rest := sql[i:]
		n := 1
		switch {
		case strings.HasPrefix(rest, "--"):
			i += until(rest, "\n")
			b.WriteByte(' ')
			continue
		case strings.HasPrefix(rest, "/*"):
			i += until(rest, "*/")
			b.WriteByte(' ')
			continue
		case rest[0] == '\'' || rest[0] == '"':
			n = 1 + until(rest[1:], rest[:1]) // a doubled quote begins the next piece
		case dollarTag.MatchString(rest):
			tag := dollarTag.FindString(rest)
			n = len(tag) + until(rest[len(tag):], tag)
		case rest[0] == ';':
			flush()
			i++
			continue
		}
		b.WriteString(rest[:n])
		i += n
	}
	flush()
	return all
}

// until is the number of bytes up to and with the end mark, or all there are.
func until(s, mark string) int {
	if i := strings.Index(s, mark); i >= 0 {
		return i + len(mark)
	}
	return len(s)
}
