package monitoring

import (
	"regexp"
	"slices"
	"strings"
)

// The parts of an expression that hold names which are no metric's.
var (
	quoted    = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")
	comment   = regexp.MustCompile(`#[^\n]*`)
	matchers  = regexp.MustCompile(`\{[^{}]*\}`)
	window    = regexp.MustCompile(`\[([^\[\]]*)\]`)
	grouping  = regexp.MustCompile(`\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^()]*\)`)
	named     = regexp.MustCompile(`[a-zA-Z_:$][a-zA-Z0-9_:]*`)
	numbers   = regexp.MustCompile(`\b[0-9][0-9a-zA-Z_.]*`)
	operators = []string{"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2", "by", "without", "on", "ignoring", "group_left", "group_right"}
)

// MetricsIn returns the names of the series that an expression of PromQL
// asks for, sorted, each once.
func MetricsIn(expr string) []string {
	expr = quoted.ReplaceAllString(expr, `""`)
	for _, part := range []*regexp.Regexp{comment, matchers, window, grouping, numbers} {
		expr = part.ReplaceAllString(expr, " ")
	}
	var found []string
	for _, at := range named.FindAllStringIndex(expr, -1) {
		name := expr[at[0]:at[1]]
		isFunction := strings.HasPrefix(strings.TrimLeft(expr[at[1]:], " \t\n"), "(")
		if !isFunction && name[0] != '$' && !slices.Contains(operators, strings.ToLower(name)) {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// Windows returns what stands in the brackets of an expression's ranges.
func Windows(expr string) []string {
	var found []string
	for _, m := range window.FindAllStringSubmatch(quoted.ReplaceAllString(expr, `""`), -1) {
		found = append(found, m[1])
	}
	return found
}
