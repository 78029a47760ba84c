package servicelog

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// list names the files that are to be read and were not yet. In the first
// round it reports what cannot be looked at and what is too old to matter.
func (p *pass) list(ctx context.Context, patterns []string, first bool) ([]source, error) {
	var fresh []source
	for _, pattern := range patterns {
		names, err := expand(ctx, p.h, pattern)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("listing %s: %w", pattern, context.Cause(ctx))
		}
		if err == nil && len(names) == 0 {
			err = errors.New("there is no such log file")
		}
		if err != nil && first {
			p.report.Files = append(p.report.Files, File{Path: pattern, Err: err})
		}
		for _, name := range names {
			if ext := path.Ext(name); packed[ext] && slices.Contains(names, strings.TrimSuffix(name, ext)) {
				continue // it is being packed: the whole one is read
			}
			info, err := p.h.Stat(ctx, name)
			switch {
			case errors.Is(err, fs.ErrNotExist), err == nil && !info.Mode.IsRegular():
			case err != nil && first:
				p.report.Files = append(p.report.Files, File{Path: name, Err: err})
			case err != nil:
			case p.isDone(info) || slices.ContainsFunc(fresh, func(s source) bool { return s.info.ID == info.ID }):
			case info.ModTime.Before(p.since.Add(-time.Second)):
				p.older[info.ID] = true
			default:
				fresh = append(fresh, source{path: name, info: info})
			}
		}
	}
	return fresh, nil
}

// isDone holds for a file that was read, under whatever name, and was not cut
// off since.
func (p *pass) isDone(info host.FileInfo) bool {
	for _, s := range slices.Backward(p.done) {
		if s.info.ID == info.ID {
			return packed[path.Ext(s.path)] || info.Size >= s.upTo
		}
	}
	return false
}

// packed are the endings of rotated files that were packed.
var packed = map[string]bool{".gz": true, ".bz2": true, ".xz": true, ".zst": true}

// expand lists the paths that match a pattern, sorted. A folder that the
// pattern names outright has to be there.
func expand(ctx context.Context, h host.Host, pattern string) ([]string, error) {
	dir, base := path.Split(pattern)
	dirs := []string{path.Clean(dir)}
	if isPattern(dir) {
		var err error
		if dirs, err = expand(ctx, h, path.Clean(dir)); err != nil {
			return nil, err
		}
	}
	var all []string
	for _, dir := range dirs {
		names, err := h.List(ctx, dir)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if ok, err := path.Match(base, name); err != nil {
				return nil, fmt.Errorf("%s: %w", pattern, err)
			} else if ok {
				all = append(all, path.Join(dir, name))
			}
		}
	}
	return all, nil
}

func isPattern(s string) bool { return strings.ContainsAny(s, `*?[\`) }
