package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Log is a journal as read.
type Log struct {
	Path    string
	Records []Record
	Torn    string // a last line that was cut off while being written, if any
	unended bool   // the last line has no line feed
}

// Read returns the records of a journal. What cannot be read at its end, or
// just before a record that says so, is what a crash leaves: it is set aside
// in Log.Torn or passed over. Anywhere else it is damage, and an error that
// names the line; the records before it are returned beside the error.
func Read(ctx context.Context, h host.Host, file string) (Log, error) {
	b, err := h.ReadFile(ctx, file)
	if err != nil {
		return Log{}, fmt.Errorf("reading the journal: %w", err)
	}
	log := Log{Path: file, unended: len(b) > 0 && b[len(b)-1] != '\n'}
	var unread []byte // lines since the last record
	var damage error  // of the first of them
	for i, line := range bytes.Split(b, []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		r, err := decode(line)
		if errors.Is(err, errNewer) {
			return log, fmt.Errorf("reading the journal: %s line %d has %w", file, i+1, err)
		}
		if err != nil {
			if damage == nil {
				damage = fmt.Errorf("reading the journal: %s line %d is damaged (%w); the lines before it can be trusted, up to %s: compare the service with them (`status`), then mend or take out the line, keeping a copy", file, i+1, err, log.upTo())
			}
			unread = append(unread, line...)
			continue
		}
		if damage != nil && r.Type != Torn {
			return log, damage
		}
		unread, damage = nil, nil
		log.Records = append(log.Records, r)
	}
	log.Torn = string(unread)
	if len(log.Records) == 0 || log.Records[0].Type != Begin || log.Records[0].Header == nil {
		return log, fmt.Errorf("reading the journal: %s does not begin with an operation, as every journal is made: nothing in it can be trusted; look at the service (`status`), look for a copy of the file, then move it away", file)
	}
	return log, nil
}

// upTo names the last record that was read.
func (l Log) upTo() string {
	if len(l.Records) == 0 {
		return "none"
	}
	last := l.Last()
	return strings.TrimSpace(fmt.Sprintf("%s %s at %s", last.Type, last.Step, last.Time.UTC().Format(time.RFC3339)))
}

var errNewer = fmt.Errorf("a newer format than this program knows (%d): it is not damaged, use the newer program that wrote it", Version)

// decode reads one line. The version is looked at first: what else a newer
// format changed cannot be known.
func decode(line []byte) (Record, error) {
	var r Record
	var format struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(line, &format); err != nil {
		return r, err
	}
	if format.V > Version {
		return r, errNewer
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return r, err
	}
	if r.V < 1 || r.Type == "" {
		return r, errors.New("it is no record")
	}
	return r, nil
}

// NewestTime is that in the name of the newest journal in dir; zero when there
// is none.
func NewestTime(ctx context.Context, h host.Host, dir string) (time.Time, error) {
	names, err := h.List(ctx, dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, fmt.Errorf("listing the journals: %w", err)
	}
	for _, name := range slices.Backward(names) {
		if id, isJournal := strings.CutSuffix(name, ".jsonl"); isJournal && idForm.MatchString(id) {
			stamp, _, _ := strings.Cut(id, "-")
			return time.Parse("20060102T150405Z", stamp)
		}
	}
	return time.Time{}, nil
}

// Newest reads the journals in dir, newest first, as far as the first one that
// is last, which it includes: there may be a thousand. With nil it reads them
// all. Those that cannot be read are reported as errors beside the good ones.
func Newest(ctx context.Context, h host.Host, dir string, last func(Log) bool) (logs []Log, err error) {
	enough := false
	err = Each(ctx, h, dir, func(string, string) bool { return !enough }, func(log Log) {
		logs = append(logs, log)
		enough = last != nil && last(log)
	})
	return logs, err
}

// Each reads those of the journals in dir that are chosen, newest first, each
// before the next one is chosen. A kind is written as in their names:
// rollback-immediate. Those that cannot be read are reported as errors.
func Each(ctx context.Context, h host.Host, dir string, choose func(id, kind string) bool, see func(Log)) error {
	names, err := h.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listing the journals: %w", err)
	}
	var faults []error
	for _, name := range slices.Backward(names) {
		id, isJournal := strings.CutSuffix(name, ".jsonl")
		parts := idForm.FindStringSubmatch(id)
		if !isJournal || parts == nil || !choose(id, parts[1]) {
			continue
		}
		if ctx.Err() != nil {
			return errors.Join(append(faults, fmt.Errorf("listing the journals: %w", context.Cause(ctx)))...)
		}
		log, err := Read(ctx, h, path.Join(dir, name))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		see(log)
	}
	return errors.Join(faults...)
}

// endOf is how much of a journal's end Outcome reads at first.
const endOf = 8 << 10

// Outcome is how the operation of a journal ended, empty where it has not,
// from the end of the file alone if possible.
func Outcome(ctx context.Context, h host.Host, file string) (string, error) {
	info, err := h.Stat(ctx, file)
	if err != nil {
		return "", fmt.Errorf("reading the journal: %w", err)
	}
	r, _, err := h.Open(ctx, file, max(0, info.Size-endOf))
	if err != nil {
		return "", fmt.Errorf("reading the journal: %w", err)
	}
	defer r.Close()
	end, err := io.ReadAll(io.LimitReader(r, endOf))
	if err != nil {
		return "", fmt.Errorf("reading the journal: %w", err)
	}
	end = bytes.TrimSuffix(end, []byte("\n"))
	if last, err := decode(end[bytes.LastIndexByte(end, '\n')+1:]); err == nil {
		return Log{Records: []Record{last}}.Outcome(), nil
	}
	log, err := Read(ctx, h, file)
	if err != nil {
		return "", err
	}
	return log.Outcome(), nil
}
