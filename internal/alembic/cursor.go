package alembic

import (
	"slices"
	"strings"
)

// A cursor reads the words of one statement.
type cursor struct {
	w []word
	i int
}

func (c *cursor) done() bool { return c.i >= len(c.w) }

// peek is the next word; empty at the end.
func (c *cursor) peek() string {
	if c.done() {
		return ""
	}
	return c.w[c.i].text
}

func (c *cursor) next() string {
	text := c.peek()
	c.i++
	return text
}

// nextTop goes on by one word, or by all that stands in parentheses.
func (c *cursor) nextTop() {
	depth, open := c.w[c.i].depth, c.w[c.i].text == "("
	c.i++
	for open && !c.done() && (c.w[c.i].depth > depth || c.w[c.i-1].text != ")") {
		c.i++
	}
}

// accept goes past these words if they come next.
func (c *cursor) accept(texts ...string) bool {
	for k, text := range texts {
		if c.i+k >= len(c.w) || c.w[c.i+k].text != text {
			return false
		}
	}
	c.i += len(texts)
	return true
}

// name reads a name with or without its schema. Unquoted and quoted spelling
// of the same name come out alike where that is unambiguous.
func (c *cursor) name() string {
	name := plain(c.next())
	for c.accept(".") {
		name += "." + plain(c.next())
	}
	if rest, ok := cutPublic(name); ok {
		return rest
	}
	return name
}

// until reads the words, at the present depth of parentheses, before the
// first of these; at least one.
func (c *cursor) until(texts ...string) []word {
	from := min(c.i, len(c.w)) // a statement that is cut short
	for !c.done() && (c.i == from || !slices.Contains(texts, c.peek())) {
		c.nextTop()
	}
	return c.w[from:max(from, min(c.i, len(c.w)))]
}

func (c *cursor) rest() *cursor { return &cursor{w: c.w[min(c.i, len(c.w)):]} }

// splitTop cuts the words at a separator outside of parentheses.
func (c *cursor) splitTop(separator string) (parts []*cursor) {
	base := 0
	if len(c.w) > 0 {
		base = c.w[0].depth
	}
	from := 0
	for i, w := range c.w {
		if w.text == separator && w.depth == base {
			parts = append(parts, &cursor{w: c.w[from:i]})
			from = i + 1
		}
	}
	return append(parts, &cursor{w: c.w[from:]})
}

// plain brings a name to the form of unquoted ones, which the server folds to
// lower case: "prices" and prices are the same, "Prices" is another.
func plain(name string) string {
	if len(name) > 1 && name[0] == '"' {
		if inner := name[1 : len(name)-1]; inner == strings.ToLower(inner) && !strings.Contains(inner, `"`) {
			return strings.ToUpper(inner)
		}
	}
	return name
}

// cutPublic drops the schema that names have by default.
func cutPublic(name string) (string, bool) { return strings.CutPrefix(name, "PUBLIC.") }
