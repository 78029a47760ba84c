package alembic

import (
	"regexp"
	"strings"
	"unicode"
)

// A statement is one SQL statement without comments, with single spaces where
// there was any white space outside of quotes, and the line comments that
// stood before or in it.
type statement struct {
	text     string
	comments []string
}

// split takes SQL apart at semicolons outside of quotes, dollar quotes,
// comments and BEGIN ATOMIC bodies (which none of ours may have: they come out
// in pieces, which no rule takes for compatible).
func split(sql string) (all []statement) {
	var cur statement
	var b strings.Builder
	end := func() {
		cur.text = strings.TrimSpace(b.String())
		if cur.text != "" || len(cur.comments) > 0 {
			all = append(all, cur)
		}
		cur = statement{}
		b.Reset()
	}
	for i := 0; i < len(sql); {
		n, kind := token(sql[i:])
		word := sql[i : i+n]
		i += n
		switch {
		case kind == tokenComment:
			cur.comments = append(cur.comments, word)
			fallthrough
		case kind == tokenSpace:
			if s := b.String(); s != "" && !strings.HasSuffix(s, " ") {
				b.WriteByte(' ')
			}
		case word == ";":
			end()
		default:
			b.WriteString(word)
		}
	}
	end()
	return all
}

type tokenKind int

const (
	tokenOther tokenKind = iota
	tokenSpace
	tokenComment
	tokenQuoted // a string, in whatever quotes
	tokenName   // a word, quoted or not
)

var dollarTag = regexp.MustCompile(`^\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$`)

// token returns the length in bytes and the kind of what s begins with; s is
// not empty. What is never closed reaches to the end.
func token(s string) (int, tokenKind) {
	upTo := func(end string, from int) int {
		if at := strings.Index(s[from:], end); at >= 0 {
			return from + at + len(end)
		}
		return len(s)
	}
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		return upTo("\n", 0), tokenComment
	case strings.HasPrefix(s, "/*"):
		return blockComment(s), tokenComment
	case c == '\'':
		return quoted(s, '\'', false), tokenQuoted
	case (c == 'e' || c == 'E') && strings.HasPrefix(s[1:], "'"):
		return 1 + quoted(s[1:], '\'', true), tokenQuoted
	case c == '"':
		return quoted(s, '"', false), tokenName
	case c == '$':
		if tag := dollarTag.FindString(s); tag != "" {
			return upTo(tag, len(tag)), tokenQuoted
		}
		return 1, tokenOther
	case strings.ContainsRune(" \t\r\n\f\v", rune(c)):
		return len(s) - len(strings.TrimLeft(s, " \t\r\n\f\v")), tokenSpace
	}
	for i, r := range s {
		// A dollar inside a name begins no quote.
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || r != '$' && !unicode.IsDigit(r)) {
			return max(i, 1), map[bool]tokenKind{true: tokenName, false: tokenOther}[i > 0]
		}
	}
	return len(s), tokenName
}

func quoted(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && backslash:
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return len(s)
}

// blockComment knows that comments nest.
func blockComment(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return len(s)
}

// A word is one token of a statement: names in upper case unless quoted.
type word struct {
	text  string
	kind  tokenKind
	depth int // of parentheses around it; they themselves are outside
}

// words takes a statement apart.
func words(text string) (all []word) {
	depth := 0
	for i := 0; i < len(text); {
		n, kind := token(text[i:])
		w := word{text: text[i : i+n], kind: kind, depth: depth}
		i += n
		switch {
		case kind == tokenSpace || kind == tokenComment:
			continue
		case kind == tokenName && w.text[0] != '"':
			w.text = strings.ToUpper(w.text)
		case w.text == "(":
			depth++
		case w.text == ")":
			depth--
			w.depth = depth
		}
		all = append(all, w)
	}
	return all
}
