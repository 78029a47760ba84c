// Package servicelog judges what a Python service has written to its logs
// since a moment: JSON or plain, rotated files included, at hundreds of
// megabytes a second and in memory that does not grow with them.
package servicelog

import (
	"context"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Report is what was found.
type Report struct {
	Files     []File        `json:"files"`     // that were read
	Older     int           `json:"older"`     // files that were left out: last written before
	Bytes     int64         `json:"bytes"`     // read, unpacked
	Lines     int64         `json:"lines"`     // since then
	Errors    int64         `json:"errors"`    // records since then of level ERROR and above
	Groups    []Group       `json:"groups"`    // of errors, the largest first
	Ungrouped int64         `json:"ungrouped"` // errors of further groups
	Offset    time.Duration `json:"-"`         // of times that name no zone, as the last file had it
}

// A pass is one reading of all the logs.
type pass struct {
	h      host.Host
	since  time.Time
	groups groups
	report Report
	done   []source        // files that were read
	older  map[string]bool // files that were left out, by their ids
}

// A source is a file as it was when it was read.
type source struct {
	path string
	info host.FileInfo
	head string // how it begins, unpacked
	upTo int64  // bytes of it that were read or known to be older, unpacked
}

// rounds is how often files are looked for again that a rotation has made
// meanwhile.
const rounds = 5

// Read judges what the files that the patterns name hold since then. A file
// that could not be read, or judged, has its Err; the error is that of a
// pattern, or of ctx.
func Read(ctx context.Context, h host.Host, patterns []string, since time.Time) (Report, error) {
	if since.Before(time.Unix(0, 0)) {
		since = time.Unix(0, 0) // everything
	}
	p := &pass{h: h, since: since, older: map[string]bool{}}
	for round := range rounds {
		fresh, err := p.list(ctx, patterns, round == 0)
		if err != nil {
			return p.report, err
		}
		for _, s := range fresh {
			if err := p.read(ctx, s, round > 0); err != nil {
				return p.report, err
			}
		}
		if round > 0 && len(fresh) == 0 {
			break
		}
	}
	p.report.Older = len(p.older)
	p.report.Groups, p.report.Ungrouped = p.groups.list(), p.groups.ungrouped
	return p.report, nil
}

// read judges one file; late tells that it has come while others were read.
func (p *pass) read(ctx context.Context, s source, late bool) error {
	f := File{Path: s.path}
	r, err := p.open(ctx, &s, late)
	if err == errMoved {
		return nil // the next listing has it under its new name
	}
	if err == nil {
		f.binary = r.binary
		j := &judge{since: p.since.UnixNano(), offset: int64(p.report.Offset), groups: &p.groups, file: &f, at: r.first}
		j.stream(r)
		r.Close()
		s.upTo += f.Bytes
	}
	if ctx.Err() != nil {
		return fmt.Errorf("reading %s: %w", s.path, context.Cause(ctx))
	}
	if err != nil {
		f.Err = err
	}
	if f.Err == nil {
		f.Err = f.judged()
	}
	p.done = append(p.done, s)
	p.report.Bytes, p.report.Lines, p.report.Errors = p.report.Bytes+f.Bytes, p.report.Lines+f.Lines, p.report.Errors+f.Errors
	p.report.Files = append(p.report.Files, f)
	return nil
}
