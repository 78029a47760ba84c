package monitoring

import (
	"regexp"
	"slices"
)

// The parts of an expression.
var (
	quoted    = regexp.MustCompile("\"(?:[^\"\\\\]|\\\\.)*\"|'(?:[^'\\\\]|\\\\.)*'|`[^`]*`")
	window    = regexp.MustCompile(`\[([^\[\]]*)\]`)
	named     = regexp.MustCompile(`[a-zA-Z_:$][a-zA-Z0-9_:]*`)
	operators = []string{"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2", "by", "without", "on", "ignoring", "group_left", "group_right"}
)

// MetricsIn returns the names of the series that an expression of PromQL
// asks for, sorted, each once.
func MetricsIn(expr string) []string {
	var found []string
	for _, one := range scanned(expr).selectors {
		found = append(found, one.metric)
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
