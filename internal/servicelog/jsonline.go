package servicelog

import "bytes"

// scanJSON reads what a line of JSON says, by its own keys only: what looks
// like a level within a text, or within an object in the record, is none. It
// stops as soon as time and level are known and it is no error, so that most
// lines cost a few dozen bytes of reading. ok is false for what is no object
// with a time or a level.
//
// The keys are those of logging.conf and the usual others of
// python-json-logger, structlog and ECS.
func scanJSON(line []byte) (r record, ok bool) {
	r.json = true
	known := func() bool { return r.at.known || r.level != 0 }
	for i := 1; ; {
		i = blank(line, i)
		if i >= len(line) || line[i] != '"' {
			return r, known()
		}
		key, after := text(line, i)
		i = blank(line, after)
		if i >= len(line) || line[i] != ':' {
			return r, known()
		}
		i = blank(line, i+1)
		if i >= len(line) {
			return r, known()
		}
		var value []byte
		switch line[i] {
		case '"':
			value, after = text(line, i)
		case '{', '[':
			value, after = nil, nested(line, i)
		default:
			after = i
			for after < len(line) && line[after] != ',' && line[after] != '}' {
				after++
			}
			value = bytes.TrimSpace(line[i:after])
		}
		r.take(key, value)
		if r.at.known && r.level != 0 && r.level < failure {
			return r, true
		}
		if i = blank(line, after); i >= len(line) || line[i] != ',' {
			return r, known()
		}
		i++
	}
}

// take keeps the value of a key that it knows; of several for the same the
// first.
func (r *record) take(key, value []byte) {
	switch string(key) {
	case "time", "asctime", "timestamp", "@timestamp", "ts", "created":
		if !r.at.known {
			r.at = stampOf(value)
		}
	case "level", "levelname", "severity", "log.level":
		if r.level == 0 {
			r.level = levelOf(value)
		}
	case "logger", "name", "log.logger":
		if r.logger == nil {
			r.logger = value
		}
	case "message", "msg", "event":
		if r.message == nil {
			r.message = value
		}
	case "exception", "exc_info", "exc_text", "error.stack_trace":
		if r.exception == nil && string(value) != "null" {
			r.exception = value
		}
	}
}

func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// text is the string that begins at the quote b[i], without its quotes, and
// where it has ended.
func text(b []byte, i int) (value []byte, after int) {
	i++
	for from := i; ; {
		n := bytes.IndexByte(b[from:], '"')
		if n < 0 {
			return b[i:], len(b)
		}
		end, slashes := from+n, 0
		for k := end - 1; k >= i && b[k] == '\\'; k-- {
			slashes++
		}
		if slashes%2 == 0 {
			return b[i:end], end + 1
		}
		from = end + 1
	}
}

// nested is where the object or list has ended that begins at b[i].
func nested(b []byte, i int) int {
	depth := 0
	for i < len(b) {
		switch b[i] {
		case '"':
			_, i = text(b, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
	return i
}
