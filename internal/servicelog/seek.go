package servicelog

import (
	"bytes"
	"context"
	"time"
)

const (
	seekFrom = 8 << 20 // smaller files are read whole
	seekTo   = 1 << 20 // near enough to where what counts begins
	// disorder is how much older than a record those before it are taken to
	// be: several processes write to one file.
	disorder = 2 * time.Minute
)

// seek finds in a large file the beginning of a line before which everything
// is older than what counts, by halving: records are roughly in the order of
// their times.
func (p *pass) seek(ctx context.Context, s source) (int64, error) {
	before := p.since.Add(-disorder).UnixNano()
	low, high := int64(0), s.info.Size
	for high-low > seekTo {
		mid := low + (high-low)/2
		at, found, err := p.firstFrom(ctx, s, mid)
		if err != nil {
			return 0, err
		}
		if found.known && !found.zoned {
			found.ns -= int64(p.report.Offset)
		}
		if found.known && found.ns < before && at < high {
			low = at
		} else {
			high = mid
		}
	}
	return low, nil
}

// firstFrom is the first line with a time that begins behind an offset, and
// where it begins. It gives up after two lines of the longest kind.
func (p *pass) firstFrom(ctx context.Context, s source, offset int64) (int64, stamp, error) {
	r, err := p.at(ctx, s, offset)
	if err != nil {
		return 0, stamp{}, err
	}
	defer r.Close()
	l := newLines(r)
	l.next() // the end of some line
	for l.read < 2*maxLine {
		line, ok := l.next()
		if !ok {
			return 0, stamp{}, l.failed()
		}
		if r, ok := parsed(line); ok && r.at.known {
			return offset + l.read - int64(l.end-l.start+len(line)+1), r.at, nil
		}
	}
	return 0, stamp{}, nil
}

func firstStamp(head []byte) stamp {
	for line := range bytes.Lines(head) {
		if r, ok := parsed(line); ok && r.at.known {
			return r.at
		}
	}
	return stamp{}
}

func lastStamp(tail []byte) (last stamp) {
	for line := range bytes.Lines(tail) {
		if r, ok := parsed(line); ok && r.at.known {
			last = r.at
		}
	}
	return last
}
