package servicelog

import (
	"bytes"
	"errors"
	"io"
)

const (
	bufferSize = 256 << 10
	// maxLine is how much of a line is looked at: the rest of a longer one is
	// read over.
	maxLine = 4 << 20
)

// lines parts what it reads into lines, in memory that stays flat.
type lines struct {
	r          io.Reader
	buf        []byte
	start, end int   // of what is in buf and not yet given out
	read       int64 // bytes
	long       int64 // lines of which the end was not looked at
	skipping   bool
	err        error
}

func newLines(r io.Reader) *lines { return &lines{r: r, buf: make([]byte, bufferSize)} }

// next returns a line without its end, valid until the next call; false when
// there is none any more or reading failed, which err tells.
func (l *lines) next() ([]byte, bool) {
	searched := 0 // of the rest, without finding an end
	for {
		rest := l.buf[l.start:l.end]
		if n := bytes.IndexByte(rest[searched:], '\n'); n >= 0 {
			n += searched
			l.start += n + 1
			if l.skipping {
				l.skipping, searched = false, 0
				continue
			}
			return rest[:n], true
		}
		if l.skipping {
			l.start, l.end, rest = 0, 0, nil
		}
		if searched = len(rest); searched >= maxLine {
			l.long++
			l.skipping, l.start, l.end = true, 0, 0
			return rest, true
		}
		if l.err != nil {
			l.start = l.end
			return rest, len(rest) > 0
		}
		l.fill()
	}
}

// fill reads more behind what is left.
func (l *lines) fill() {
	if l.start > 0 {
		l.end = copy(l.buf, l.buf[l.start:l.end])
		l.start = 0
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, min(len(l.buf), maxLine-len(l.buf)))...)
	}
	n, err := l.r.Read(l.buf[l.end:])
	l.end += n
	l.read += int64(n)
	l.err = err
}

// failed is why reading ended before the end.
func (l *lines) failed() error {
	if errors.Is(l.err, io.EOF) {
		return nil
	}
	return l.err
}
