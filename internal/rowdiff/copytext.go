package rowdiff

import (
	"bytes"
	"errors"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// A copyText reads what pg_restore prints of one table, in pieces of any size.
//
// The rows lie between the line "COPY schema.table (columns) FROM stdin;" and
// the line "\.". No row can look like that end: in this format a backslash in
// the data is written as two.
type copyText struct {
	begin func(columns []string) error
	row   func(line []byte) error // with its line end; valid during the call
	rows  int64
	state int
	rest  []byte // the beginning of a line
}

// States of a copyText.
const (
	beforeRows = iota
	amongRows
	afterRows
)

// Write takes the next piece.
func (c *copyText) Write(p []byte) (int, error) {
	n := len(p)
	if c.state == afterRows {
		return n, nil
	}
	if len(c.rest) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			c.rest = append(c.rest, p...)
			return n, nil
		}
		c.rest = append(c.rest, p[:end+1]...)
		p = p[end+1:]
		if err := c.line(c.rest); err != nil {
			return 0, err
		}
		c.rest = c.rest[:0]
	}
	for c.state != afterRows {
		end := bytes.IndexByte(p, '\n')
		if end < 0 {
			c.rest = append(c.rest, p...)
			break
		}
		if err := c.line(p[:end+1]); err != nil {
			return 0, err
		}
		p = p[end+1:]
	}
	return n, nil
}

func (c *copyText) line(line []byte) error {
	if c.state == amongRows {
		if len(line) == 3 && line[0] == '\\' && line[1] == '.' {
			c.state = afterRows
			return nil
		}
		c.rows++
		return c.row(line)
	}
	columns, ok := copyColumns(bytes.TrimSuffix(line, []byte("\n")))
	if !ok {
		return nil
	}
	c.state = amongRows
	return c.begin(columns)
}

// finish says whether the rows had a beginning and an end.
func (c *copyText) finish() error {
	switch c.state {
	case beforeRows:
		return errors.New("it holds no rows of this table, nor that there are none")
	case amongRows:
		return errors.New("its rows do not end")
	}
	return nil
}

// copyColumns reads a line "COPY schema.table (a, "b c") FROM stdin;".
func copyColumns(line []byte) (columns []string, ok bool) {
	rest, ok := bytes.CutPrefix(line, []byte("COPY "))
	if !ok || !bytes.HasSuffix(line, []byte(" FROM stdin;")) {
		return nil, false
	}
	for range 2 { // schema and table
		_, rest = postgres.CutIdentifier(rest)
		if len(rest) == 0 || rest[0] != '.' && rest[0] != ' ' {
			return nil, false
		}
		rest = rest[1:]
	}
	if len(rest) == 0 || rest[0] != '(' {
		return nil, false
	}
	columns = []string{} // a table may have none
	for rest = rest[1:]; len(rest) > 0 && rest[0] != ')'; {
		var name string
		name, rest = postgres.CutIdentifier(rest)
		columns = append(columns, name)
		rest = bytes.TrimPrefix(rest, []byte(", "))
	}
	return columns, len(rest) > 0
}

// A keyReader takes the fields of the key out of a row.
type keyReader struct {
	positions []int // of the fields, in the key's order
	last      int   // the greatest
	fields    [][]byte
	buf       []byte
}

// newKeyReader gives nil when a column of the key is missing.
func newKeyReader(columns, key []string) *keyReader {
	r := &keyReader{}
	for _, name := range key {
		at := slices.Index(columns, name)
		if at < 0 {
			return nil
		}
		r.positions, r.last = append(r.positions, at), max(r.last, at)
	}
	r.fields = make([][]byte, r.last+1)
	return r
}

// key is the key of a row as COPY would write it, without a line end; valid
// until the next call.
func (r *keyReader) key(line []byte) []byte {
	line = line[:len(line)-1]
	for i := 0; i <= r.last; i++ {
		end := bytes.IndexByte(line, '\t')
		if end < 0 {
			end = len(line)
		}
		r.fields[i] = line[:end]
		line = line[min(end+1, len(line)):]
	}
	if len(r.positions) == 1 {
		return r.fields[r.positions[0]]
	}
	r.buf = r.buf[:0]
	for i, at := range r.positions {
		if i > 0 {
			r.buf = append(r.buf, '\t')
		}
		r.buf = append(r.buf, r.fields[at]...)
	}
	return r.buf
}
