package servicelog

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"path"
	"strings"
	"time"
)

// errMoved: the path names another file than it did when it was listed.
var errMoved = errors.New("the file was rotated away")

// ErrBinary is of a file that is no text.
var ErrBinary = errors.New("it is no text, and no log")

const (
	headSize = 64 << 10 // of a file's beginning, and of its end, for its times
	headKept = 1 << 10  // of it, by which its copy is known
)

// An opened file is read from where it may matter on.
type opened struct {
	io.Reader
	io.Closer
	first  int64 // time of its first record, for what stands before that
	binary bool
}

// open opens a file where what counts begins. late: it may be a copy, or the
// packed form, of one that was read before.
func (p *pass) open(ctx context.Context, s *source, late bool) (*opened, error) {
	file, err := p.at(ctx, *s, 0)
	if err != nil {
		return nil, err
	}
	r, err := unpacked(file, path.Ext(s.path))
	if err != nil {
		file.Close()
		return nil, err
	}
	head, err := r.Peek(headSize)
	if err != nil && !errors.Is(err, io.EOF) && len(head) == 0 {
		file.Close()
		return nil, err
	}
	s.head = string(head[:min(len(head), headKept)])
	first := firstStamp(head)
	if !packed[path.Ext(s.path)] {
		if err := p.zoneOf(ctx, *s, first); err != nil {
			file.Close()
			return nil, err
		}
	}
	o := &opened{r, file, first.ns, bytes.IndexByte(head, 0) >= 0}
	if first.known && !first.zoned {
		o.first -= int64(p.report.Offset)
	}
	if late {
		s.upTo = p.readOf(*s)
	}
	if s.upTo == 0 && s.info.Size > seekFrom && !packed[path.Ext(s.path)] {
		if s.upTo, err = p.seek(ctx, *s); err != nil {
			file.Close()
			return nil, err
		}
	}
	if s.upTo == 0 {
		return o, nil
	}
	if packed[path.Ext(s.path)] {
		_, err = io.CopyN(io.Discard, r, s.upTo)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return o, err
	}
	file.Close()
	from, err := p.at(ctx, *s, s.upTo)
	o.Reader, o.Closer = from, from
	return o, err
}

// at opens the very file that was listed.
func (p *pass) at(ctx context.Context, s source, offset int64) (io.ReadCloser, error) {
	r, info, err := p.h.Open(ctx, s.path, offset)
	if err == nil && info.ID != s.info.ID {
		r.Close()
		return nil, errMoved
	}
	return r, err
}

// unpacked reads what a packed file holds.
func unpacked(r io.Reader, ext string) (*bufio.Reader, error) {
	switch ext {
	case ".gz":
		z, err := gzip.NewReader(bufio.NewReaderSize(r, headSize))
		if err != nil {
			return nil, err
		}
		r = z
	case ".bz2":
		r = bzip2.NewReader(r)
	case ".xz", ".zst":
		return nil, errors.New("this program cannot unpack it: let logrotate pack with gzip, or leave it out of logs.files")
	}
	return bufio.NewReaderSize(r, headSize), nil
}

// readOf is how much of the file was read before, under another name: 0 for
// one that is new. Rotation may copy or pack what is being read.
func (p *pass) readOf(s source) int64 {
	for _, d := range p.done {
		n := min(len(d.head), len(s.head))
		if n > 0 && n == len(d.head) && d.head == s.head[:n] && strings.HasPrefix(s.path, strings.TrimSuffix(d.path, path.Ext(d.path))) {
			return d.upTo
		}
	}
	return 0
}

// zoneOf finds out in which zone a service writes that does not say so: the
// file was last written when its last record was. Where that cannot be seen it
// is UTC.
func (p *pass) zoneOf(ctx context.Context, s source, first stamp) error {
	if !first.known || first.zoned {
		return nil
	}
	r, err := p.at(ctx, s, max(0, s.info.Size-headSize))
	if err != nil {
		return err
	}
	defer r.Close()
	tail, err := io.ReadAll(io.LimitReader(r, headSize))
	if err != nil {
		return err
	}
	last := lastStamp(tail)
	if !last.known || last.zoned {
		return nil
	}
	apart := time.Unix(0, last.ns).Sub(s.info.ModTime)
	offset := apart.Round(30 * time.Minute)
	if rest := apart - offset; rest.Abs() < 5*time.Second && offset.Abs() <= 14*time.Hour {
		p.report.Offset = offset
	}
	return nil
}

// judged is why nothing can be said of a file that was read; nil when it can.
func (f *File) judged() error {
	switch {
	case f.undated && f.binary:
		return ErrBinary
	case f.undated && f.Bytes > 0:
		return errors.New("no line of it has a time: what was written since the cut-over cannot be told from the rest")
	case f.leveled == 0 && f.unleveled > 0:
		return errors.New("no line of it has a level: errors cannot be told from the rest")
	}
	return nil
}
