package journal

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

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
				damage = fmt.Errorf("reading the journal: %s line %d is damaged (%w); the lines before it can be trusted", file, i+1, err)
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
		return log, fmt.Errorf("reading the journal: %s does not begin with an operation: nothing in it can be trusted", file)
	}
	return log, nil
}

var errNewer = fmt.Errorf("a newer format than this program knows (%d): use the newer program that wrote it", Version)

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

// List reads the journals in dir, newest first. Those that cannot be read are
// reported as errors beside the good ones.
func List(ctx context.Context, h host.Host, dir string) ([]Log, error) {
	names, err := h.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the journals: %w", err)
	}
	var logs []Log
	var faults []error
	for i := len(names) - 1; i >= 0; i-- {
		id, isJournal := strings.CutSuffix(names[i], ".jsonl")
		if !isJournal || !idForm.MatchString(id) {
			continue
		}
		log, err := Read(ctx, h, path.Join(dir, names[i]))
		if err != nil {
			faults = append(faults, err)
			continue
		}
		logs = append(logs, log)
	}
	return logs, errors.Join(faults...)
}
