package servicelog

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"strings"
	"time"
	"unicode"
)

// A Group is errors that are the same but for numbers, names and the like.
type Group struct {
	Count     int64     `json:"count"`
	Logger    string    `json:"logger,omitempty"`
	Message   string    `json:"message"`             // of the first one, its first line
	Exception string    `json:"exception,omitempty"` // of the first one, the last line
	File      string    `json:"file"`                // in which the first one stands
	First     time.Time `json:"first"`
	Last      time.Time `json:"last"`
}

const (
	// maxGroups are told apart; the memory for more would grow with the log.
	maxGroups  = 200
	maxMessage = 300 // bytes of a message that tell groups apart and are shown
)

type groups struct {
	by        map[string]*Group
	key       []byte // of the last one, kept for its memory
	ungrouped int64  // errors that came when there were too many groups
}

// add counts an error and returns its group if it is a new one, nil otherwise.
func (g *groups) add(r record, at time.Time, file string) *Group {
	g.key = fingerprint(append(append(g.key[:0], r.logger...), ':'), firstOf(r))
	known := g.by[string(g.key)]
	switch {
	case known != nil:
		known.Count++
		known.First, known.Last = earlier(known.First, at), later(known.Last, at)
		return nil
	case len(g.by) >= maxGroups:
		g.ungrouped++
		return nil
	}
	if g.by == nil {
		g.by = map[string]*Group{}
	}
	n := &Group{Count: 1, Logger: r.text(r.logger), Message: r.text(firstOf(r)), File: file, First: at, Last: at}
	if r.exception != nil {
		n.Exception = r.text(lastLine(r.exception, r.json))
	}
	g.by[string(g.key)] = n
	return n
}

// list is the groups, the largest first.
func (g *groups) list() []Group {
	all := make([]Group, 0, len(g.by))
	for _, one := range g.by {
		all = append(all, *one)
	}
	slices.SortFunc(all, func(a, b Group) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), a.First.Compare(b.First), cmp.Compare(a.Message, b.Message))
	})
	return all
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// firstOf is the beginning of a message's first line, as it stands in the log.
func firstOf(r record) []byte {
	m := r.message
	if r.json {
		if n := bytes.Index(m, []byte(`\n`)); n > 0 && m[n-1] != '\\' {
			m = m[:n]
		}
	}
	return m[:min(len(m), maxMessage)]
}

// text makes a value of the line printable: escapes of JSON resolved, without
// control characters and without what is no UTF-8.
func (r record) text(b []byte) string {
	s := string(b)
	if r.json {
		s = unescaped(s)
	}
	return printable(s)
}

// unescaped resolves the escapes of JSON; of one that was cut off it leaves
// the rest as it stands.
func unescaped(s string) string {
	for cut := range 12 { // an escape, or a pair of them, is no longer
		var text string
		if cut > len(s) {
			break
		}
		if json.Unmarshal([]byte(`"`+s[:len(s)-cut]+`"`), &text) == nil {
			return text
		}
	}
	return s
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return '·'
	}, strings.ToValidUTF8(s, "·"))
}

// lastLine of a traceback is what was raised.
func lastLine(b []byte, escaped bool) []byte {
	end := []byte("\n")
	if escaped {
		end = []byte(`\n`)
	}
	for bytes.HasSuffix(b, end) {
		b = b[:len(b)-len(end)]
	}
	if n := bytes.LastIndex(b, end); n >= 0 {
		b = b[n+len(end):]
	}
	return b[:min(len(b), maxMessage)]
}

// fingerprint appends what a message has in common with others of its kind:
// without numbers, identifiers, names of ETFs and what stands in quotes.
func fingerprint(key, m []byte) []byte {
	afterETF := false
	for i := 0; i < len(m); {
		switch c := m[i]; {
		case c == '\'' || c == '"':
			if end := quoted(m, i); end > 0 {
				key, i = append(key, '?'), end
				continue
			}
			key, i = append(key, c), i+1
		case isWord(c):
			end := i
			for end < len(m) && isWord(m[end]) {
				end++
			}
			word, end := m[i:end], end
			suffix := symbolSuffix(m, word, end)
			switch {
			case len(m)-i >= 36 && isUUID(m[i:i+36]):
				key, end = append(key, '#'), i+36
			case suffix > 0:
				key, end = append(key, '#'), suffix
			case hasDigit(word), afterETF && isCapital(word):
				key = append(key, '#')
			default:
				key = append(key, word...)
			}
			afterETF, i = bytes.EqualFold(word, []byte("etf")), end
		default:
			key, i = append(key, c), i+1
		}
	}
	return key
}

// quoted is where a quotation has ended that begins at m[i]; 0 where it is
// none, as in "can't".
func quoted(m []byte, i int) int {
	if m[i] == '\'' && i > 0 && isWord(m[i-1]) {
		return 0
	}
	n := bytes.IndexByte(m[i+1:], m[i])
	if n < 0 {
		return 0
	}
	return i + n + 2
}

// symbolSuffix is where the name of an ETF has ended that begins with word,
// such as VWCE.DE; 0 where it is none.
func symbolSuffix(m, word []byte, end int) int {
	if !isCapital(word) || end >= len(m) || m[end] != '.' {
		return 0
	}
	to := end + 1
	for to < len(m) && m[to] >= 'A' && m[to] <= 'Z' {
		to++
	}
	if n := to - end - 1; n < 1 || n > 3 || to < len(m) && isWord(m[to]) {
		return 0
	}
	return to
}

func isCapital(word []byte) bool {
	for _, c := range word {
		if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(word) <= 12
}

func hasDigit(word []byte) bool {
	return bytes.IndexFunc(word, func(r rune) bool { return r >= '0' && r <= '9' }) >= 0
}

func isUUID(b []byte) bool {
	for i, c := range b {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		hex := c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
		if dash != (c == '-') || !dash && !hex {
			return false
		}
	}
	return true
}
