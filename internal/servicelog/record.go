package servicelog

import "bytes"

// A level as Python's logging has it; 0 is one that could not be made out.
type level int8

const (
	debug level = iota + 1
	info
	warning
	failure // ERROR
	critical
)

// levelOf knows the names of Python's levels, in any case, and those that
// other formatters have for the same.
func levelOf(name []byte) level {
	if len(name) < 3 || len(name) > 9 {
		return 0
	}
	var low [9]byte
	for i, c := range name {
		low[i] = c | 0x20 // letters only; anything else matches none of these
	}
	switch string(low[:len(name)]) {
	case "debug", "trace":
		return debug
	case "info", "notice":
		return info
	case "warning", "warn":
		return warning
	case "error", "exception":
		return failure
	case "critical", "fatal", "alert", "emergency":
		return critical
	}
	return 0
}

// A record is what one line says, as it stands there: of JSON, with its
// escapes. The slices are the line's.
type record struct {
	at        stamp
	level     level
	logger    []byte
	message   []byte
	exception []byte
	json      bool
}

// spaced cuts white space off the beginning.
func spaced(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t') {
		b = b[1:]
	}
	return b
}

// parsed is what a line says; false where it begins no record.
func parsed(line []byte) (record, bool) {
	if len(line) > 0 && line[0] == '{' {
		if r, ok := scanJSON(line); ok {
			return r, true
		}
	}
	return scanPlain(line)
}

// scanPlain reads the beginning of a line as Python's usual forms have it:
//
//	2026-11-23 01:44:52,123 ERROR logger: message
//	2026-11-23 01:44:52,123 - logger - ERROR - message
//	[2026-11-23 01:44:52,123: ERROR/MainProcess] message     (Celery)
//	[2026-11-23 01:44:52 +0000] [123] [ERROR] message         (gunicorn)
//	ERROR:logger:message                                      (no format)
//	ERROR:    message                                         (uvicorn)
//
// A line that begins otherwise belongs to the record before it.
func scanPlain(line []byte) (record, bool) {
	var r record
	head := line
	if len(head) > 0 && head[0] == '[' {
		head = head[1:]
	}
	at, n := parseStamp(head)
	if n == 0 {
		return undated(line)
	}
	r.at = at
	rest := head[n:]
	from, to := levelWord(rest[:min(len(rest), maxHeader)])
	if from < 0 {
		r.message = bytes.TrimLeft(rest, "] :-")
		return r, true
	}
	r.level = levelOf(rest[from:to])
	// The logger stands before the level, " - logger - ERROR - ", or after it.
	r.logger = bytes.Trim(rest[:from], " -|:[]()")
	r.message = bytes.TrimLeft(rest[to:], " -|:])")
	if process, after, ok := bytes.Cut(rest[to:], []byte("] ")); ok && len(process) > 0 && process[0] == '/' {
		r.message = after
	} else if len(r.logger) == 0 || isNumber(r.logger) {
		r.logger, r.message = leadingLogger(r.message)
	}
	return r, true
}

// maxHeader is how far into a line its level is looked for: further on it
// would be a word of the message.
const maxHeader = 160

// levelWord finds the first level in capitals.
func levelWord(b []byte) (from, to int) {
	for i := 0; i < len(b); {
		if b[i] < 'A' || b[i] > 'Z' {
			i++
			continue
		}
		j := i
		for j < len(b) && b[j] >= 'A' && b[j] <= 'Z' {
			j++
		}
		if (i == 0 || !isWord(b[i-1])) && (j == len(b) || !isWord(b[j])) && levelOf(b[i:j]) != 0 {
			return i, j
		}
		i = j
	}
	return -1, -1
}

// undated reads a line that begins with its level and a colon.
func undated(line []byte) (record, bool) {
	name, rest, ok := bytes.Cut(line[:min(len(line), maxHeader)], []byte(":"))
	if from, _ := levelWord(name); !ok || from != 0 || levelOf(name) == 0 {
		return record{}, false
	}
	r := record{level: levelOf(name), message: line[len(name)+1:]}
	if len(rest) > 0 && rest[0] == ' ' {
		r.message = spaced(r.message)
		return r, true
	}
	if logger, message, ok := bytes.Cut(r.message, []byte(":")); ok {
		r.logger, r.message = logger, message
	}
	return r, true
}

// leadingLogger parts "logger: message", where it begins so.
func leadingLogger(b []byte) (logger, message []byte) {
	for i, c := range b {
		switch {
		case c == ':' && i > 0 && i+1 < len(b) && b[i+1] == ' ':
			return b[:i], b[i+2:]
		case !isWord(c) && c != '.' && c != '-':
			return nil, b
		}
	}
	return nil, b
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_'
}

func isNumber(b []byte) bool {
	for _, c := range b {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
