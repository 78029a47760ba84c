package etfdata

import (
	"bytes"
	"fmt"
)

// A copyReader takes the rows out of what COPY sends in its binary form,
// however that is cut.
type copyReader struct {
	row   func(fields [][]byte) error // a nil field is NULL; they are valid during the call
	begun bool
	rest  []byte // of a row that has not come wholly
	one   [][]byte
}

func (c *copyReader) Write(p []byte) (int, error) {
	n := len(p)
	if len(c.rest) > 0 {
		c.rest = append(c.rest, p...)
		p = c.rest
	}
	for {
		used, err := c.next(p)
		if err != nil {
			return 0, err
		}
		if used == 0 {
			c.rest = append(c.rest[:0], p...)
			return n, nil
		}
		p = p[used:]
	}
}

var copySignature = []byte("PGCOPY\n\xff\r\n\x00")

// next reads one row, or the header, and says how long it was: 0 where more
// is to come.
func (c *copyReader) next(p []byte) (int, error) {
	if !c.begun {
		const header = 19 // signature, flags, length of an extension
		if len(p) < header {
			return 0, nil
		}
		extension := int(int32At(p[15:]))
		if !bytes.HasPrefix(p, copySignature) || extension < 0 {
			return 0, fmt.Errorf("the server's COPY is not in the binary form")
		}
		if len(p) < header+extension {
			return 0, nil
		}
		c.begun = true
		return header + extension, nil
	}
	if len(p) < 2 {
		return 0, nil
	}
	fields, at := int(int16At(p)), 2
	if fields < 0 {
		return at, nil // the end
	}
	c.one = c.one[:0]
	for range fields {
		if len(p) < at+4 {
			return 0, nil
		}
		size := int(int32At(p[at:]))
		if at += 4; size < 0 {
			c.one = append(c.one, nil)
			continue
		}
		if len(p) < at+size {
			return 0, nil
		}
		c.one = append(c.one, p[at:at+size:at+size])
		at += size
	}
	return at, c.row(c.one)
}
