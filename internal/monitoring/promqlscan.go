package monitoring

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A scan is what an expression of PromQL says about labels: which it asks
// series for, which it keeps, and by which it joins.
type scan struct {
	selectors    []selector
	aggregations []aggregation
	joins        []string // of on, ignoring, group_left and group_right
	unnamed      bool     // it asks for series without naming the metric
	size         int      // in tokens
}

// A selector is where an expression asks for series.
type selector struct {
	metric  string
	asks    []labelMatch
	matched int // its token
}

type labelMatch struct{ label, op, value string }

// An aggregation stands over the tokens between its parentheses and keeps
// labels, or drops them.
type aggregation struct {
	from, to int
	labels   []string
	without  bool
}

var (
	tokens = regexp.MustCompile("#[^\n]*|" + quoted.String() +
		`|[a-zA-Z_:$][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z_.]*|=~|!~|!=|\S`)
	aggregators = []string{"sum", "min", "max", "avg", "group", "stddev", "stdvar", "count", "count_values", "bottomk", "topk", "quantile", "limitk", "limit_ratio"}
	joining     = []string{"on", "ignoring", "group_left", "group_right"}
)

// scanned reads an expression. It understands labels alone and accepts what
// promtool would not.
func scanned(expr string) scan {
	all := slices.DeleteFunc(tokens.FindAllString(expr, -1), func(t string) bool { return t[0] == '#' })
	s := scan{size: len(all)}
	for i := 0; i < len(all); i++ {
		word, next := strings.ToLower(all[i]), at(all, i+1)
		switch {
		case word == "[" || word == "{":
			s.unnamed = s.unnamed || word == "{"
			i = closing(all, i)
		case !named.MatchString(word) || isQuoted(word) || word[0] == '$':
		case next == "(" && slices.Contains(joining, word):
			s.joins = append(s.joins, list(all, i+1)...)
			i = closing(all, i+1)
		case next == "(" && isGrouping(word):
			i = closing(all, i+1)
		case slices.Contains(aggregators, word) && (next == "(" || isGrouping(next)):
			s.aggregations = append(s.aggregations, aggregationAt(all, i))
		case next == "(" || slices.Contains(operators, word) || word[0] >= '0' && word[0] <= '9':
		default:
			one := selector{metric: all[i], matched: i}
			if next == "{" {
				end := closing(all, i+1)
				one.asks = asked(all[i+2 : end])
				s.unnamed = s.unnamed || slices.ContainsFunc(one.asks, func(m labelMatch) bool { return m.label == "__name__" })
				i = end
			}
			s.selectors = append(s.selectors, one)
		}
	}
	return s
}

// aggregationAt reads sum by (a) (x) and sum(x) by (a).
func aggregationAt(all []string, i int) aggregation {
	a, open := aggregation{}, i+1
	grouped := func(i int) {
		a.labels, a.without = list(all, i+1), strings.EqualFold(all[i], "without")
	}
	if isGrouping(all[open]) {
		grouped(open)
		open = closing(all, open+1) + 1
	}
	a.from, a.to = open, closing(all, open)
	if behind := a.to + 1; isGrouping(at(all, behind)) && at(all, behind+1) == "(" {
		grouped(behind)
	}
	return a
}

// kept are the labels that a selector's series still have outside of the
// aggregations between two tokens.
func (s scan) kept(one selector, labels []string, from, to int) []string {
	around := slices.DeleteFunc(slices.Clone(s.aggregations), func(a aggregation) bool {
		return a.from <= from || a.to >= to || one.matched < a.from || one.matched > a.to
	})
	slices.SortFunc(around, func(a, b aggregation) int { return b.from - a.from })
	for _, a := range around {
		labels = slices.DeleteFunc(slices.Clone(labels), func(l string) bool { return slices.Contains(a.labels, l) == a.without })
	}
	return labels
}

// visible are the labels that what stands between two tokens may have; it is
// not ok where those of a series are not known.
func (s scan) visible(of func(metric string) ([]string, bool), from, to int) (all []string, ok bool) {
	for _, one := range s.selectors {
		if one.matched < from || one.matched > to {
			continue
		}
		labels, known := of(one.metric)
		if !known {
			return nil, false
		}
		all = append(all, s.kept(one, labels, from, to)...)
	}
	return all, true
}

func asked(parts []string) (all []labelMatch) {
	for i := 0; i+2 < len(parts); i++ {
		if op := parts[i+1]; isQuoted(parts[i+2]) && slices.Contains([]string{"=", "!=", "=~", "!~"}, op) {
			all = append(all, labelMatch{parts[i], op, unquoted(parts[i+2])})
			i += 2
		}
	}
	return all
}

func at(all []string, i int) string {
	if i < len(all) {
		return all[i]
	}
	return ""
}

// closing is the token that ends what begins here, or the last one.
func closing(all []string, open int) int {
	depth := 0
	for i := open; i < len(all); i++ {
		switch all[i] {
		case "(", "[", "{":
			depth++
		case ")", "]", "}":
			if depth--; depth == 0 {
				return i
			}
		}
	}
	return len(all) - 1
}

// list are the names between parentheses.
func list(all []string, open int) []string {
	return slices.DeleteFunc(slices.Clone(all[open+1:closing(all, open)]), func(t string) bool { return t == "," })
}

func isGrouping(word string) bool {
	return strings.EqualFold(word, "by") || strings.EqualFold(word, "without")
}

func isQuoted(word string) bool { return word != "" && strings.ContainsAny(word[:1], "\"'`") }

// unquoted is the text of a string, in whichever quotes it stands.
func unquoted(s string) string {
	if s[0] == '\'' {
		s = `"` + strings.ReplaceAll(s[1:len(s)-1], `"`, `\"`) + `"`
	}
	if text, err := strconv.Unquote(s); err == nil {
		return text
	}
	return s[1 : len(s)-1]
}
