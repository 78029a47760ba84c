package postgres

import "bytes"

// A copyCounter counts the rows of each table in what pg_restore prints of a
// dump. It is an io.Writer that looks at bytes only: no line is copied or
// allocated.
//
// A table's rows lie between the line "COPY schema.table (…) FROM stdin;" and
// the line "\.". No row can look like that end: in this format a backslash in
// the data is written as two. A row may well look like a COPY line, which is
// why those count only outside of a table.
type copyCounter struct {
	rows   map[string]int64 // by schema.table
	table  string           // the one whose rows are being read
	inside bool
	n      int64  // of its rows; the line end of the COPY line counts as -1
	buf    []byte // not yet understood: part of a line, or of an end
}

var copyEnd = []byte("\n\\.\n")

// maxCopyLine is the length in bytes above which a line outside of tables is
// no longer kept to see whether it is a COPY line.
const maxCopyLine = 1 << 20

// Write takes the next piece.
func (c *copyCounter) Write(p []byte) (int, error) {
	b := p
	if len(c.buf) > 0 {
		c.buf = append(c.buf, p...)
		b = c.buf
	}
	rest := b[c.consume(b):]
	c.buf = append(c.buf[:0], rest...)
	return len(p), nil
}

// consume counts what is complete and returns how much that was.
func (c *copyCounter) consume(b []byte) (used int) {
	for {
		if !c.inside {
			end := bytes.IndexByte(b[used:], '\n')
			if end < 0 {
				if len(b)-used > maxCopyLine {
					return len(b)
				}
				return used
			}
			if table, ok := copyLine(b[used : used+end]); ok {
				c.table, c.inside, c.n = table, true, -1
				used += end // its line end may begin the end already
			} else {
				used += end + 1
			}
			continue
		}
		at := bytes.Index(b[used:], copyEnd)
		if at < 0 {
			// The last three bytes may be the beginning of the end.
			keep := max(used, len(b)-len(copyEnd)+1)
			c.n += int64(bytes.Count(b[used:keep], []byte{'\n'}))
			return keep
		}
		c.n += int64(bytes.Count(b[used:used+at+1], []byte{'\n'}))
		if c.rows == nil {
			c.rows = map[string]int64{}
		}
		c.rows[c.table] += c.n
		c.inside = false
		used += at + len(copyEnd)
	}
}

// copyLine gives "schema.table" of a COPY line.
func copyLine(line []byte) (string, bool) {
	rest, ok := bytes.CutPrefix(line, []byte("COPY "))
	if !ok || !bytes.HasSuffix(line, []byte(" FROM stdin;")) {
		return "", false
	}
	schema, rest := CutIdentifier(rest)
	if len(rest) == 0 || rest[0] != '.' {
		return "", false
	}
	name, _ := CutIdentifier(rest[1:])
	return schema + "." + name, name != ""
}

// CutIdentifier reads one SQL name, quoted or not, from the front of what
// pg_dump writes; empty where there is none.
func CutIdentifier(b []byte) (name string, rest []byte) {
	if len(b) == 0 || b[0] != '"' {
		end := bytes.IndexAny(b, ". (),")
		if end < 0 {
			end = len(b)
		}
		return string(b[:end]), b[end:]
	}
	var out []byte
	for i := 1; i < len(b); i++ {
		if b[i] == '"' {
			if i+1 == len(b) || b[i+1] != '"' {
				return string(out), b[i+1:]
			}
			i++
		}
		out = append(out, b[i])
	}
	return "", nil
}
