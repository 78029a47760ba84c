// Package journal keeps what an operation was about to do and what came of
// it: one file an operation under <root>/ops/journal, one line of JSON a
// record, appended and synced to disk before and after each step. Whoever
// comes after a crash reads there what happened; nothing is kept elsewhere.
package journal

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Version of the records that this package writes. Records of a higher
// version are refused, not guessed at.
const Version = 1

// Type says what a record is about.
type Type string

// The records of an operation, in the order in which they may occur.
const (
	Begin      Type = "begin"       // the operation starts
	Note       Type = "note"        // a fact that later steps, an undo or a person need
	Start      Type = "start"       // a step is about to act
	Child      Type = "child"       // a process was started for a step
	Done       Type = "done"        // a step has acted
	Skipped    Type = "skipped"     // a step had nothing to do
	Failed     Type = "failed"      // a step could not act, or a check found a fault
	UndoStart  Type = "undo"        // a step is about to be taken back
	Undone     Type = "undone"      // a step was taken back
	UndoFailed Type = "undo-failed" // a step could not be taken back: a person is needed
	HandOver   Type = "hand-over"   // another process goes on with this operation
	Park       Type = "park"        // a stage is done; the next one comes in another process
	Torn       Type = "torn"        // the line before this one was cut off by a crash
	End        Type = "end"         // the operation is over
)

// Outcomes of an operation.
const (
	Succeeded = "succeeded" // everything done
	Unchanged = "unchanged" // failed or stopped before the service was touched
	TakenBack = "undone"    // failed or stopped, and undone
	Stuck     = "stuck"     // failed, and could not be undone; `resume -undo` tries again
	Left      = "left"      // failed, and was left as it is, as its target says
)

// Header is what the first record says of the operation.
type Header struct {
	ID      string       `json:"id"`
	Kind    string       `json:"kind"`             // the target: deploy, backup:create, …
	By      string       `json:"by"`               // user@machine
	Process host.Process `json:"process"`          // the suite's own
	Run     string       `json:"run,omitempty"`    // URL of the pipeline run
	Reason  string       `json:"reason,omitempty"` // given by the person, such as for an override
	Token   int64        `json:"token,omitempty"`  // of the lease, and of the fence in the database

	Options json.RawMessage `json:"options,omitempty"` // what the target was called with
}

// A Record is one line of a journal.
type Record struct {
	V       int             `json:"v"`
	Time    time.Time       `json:"t"`
	Type    Type            `json:"type"`
	Header  *Header         `json:"operation,omitempty"` // Begin
	Step    string          `json:"step,omitempty"`
	Digest  string          `json:"digest,omitempty"`  // Start: sha256 of the step's inputs
	Millis  int64           `json:"ms,omitempty"`      // Done, Failed, Undone: duration
	Text    string          `json:"text,omitempty"`    // result, reason or error, redacted
	Key     string          `json:"key,omitempty"`     // Note
	Value   json.RawMessage `json:"value,omitempty"`   // Note
	Process *host.Process   `json:"process,omitempty"` // Child, HandOver
	Token   int64           `json:"token,omitempty"`   // HandOver: of the lease by which it goes on
	By      string          `json:"by,omitempty"`      // HandOver: user@machine
	Outcome string          `json:"outcome,omitempty"` // End
}

// A Journal is the open file of one operation. Its methods may be called side
// by side.
type Journal struct {
	mu   sync.Mutex
	h    host.Host
	path string
	now  func() time.Time
	log  Log
	// unsure: the file may end within a line, after a crash or a full disk.
	unsure bool
}

var idForm = regexp.MustCompile(`^\d{8}T\d{6}Z-([a-z]+(?:-[a-z]+)*)-[0-9a-f]{6}$`)

// NewID names an operation by time and kind; it sorts by time.
func NewID(kind string, now time.Time) string {
	var b [3]byte
	rand.Read(b[:])
	kind = strings.ToLower(strings.ReplaceAll(kind, ":", "-"))
	return now.UTC().Format("20060102T150405Z") + "-" + kind + "-" + hex.EncodeToString(b[:])
}

// Create begins the journal of a new operation in dir.
func Create(ctx context.Context, h host.Host, dir string, header Header, now func() time.Time) (*Journal, error) {
	if !idForm.MatchString(header.ID) {
		return nil, fmt.Errorf("beginning a journal: %q is no operation id", header.ID)
	}
	if err := h.Mkdir(ctx, dir, 0o700); err != nil {
		return nil, fmt.Errorf("beginning the journal: %w", err)
	}
	j := &Journal{h: h, path: path.Join(dir, header.ID+".jsonl"), now: now}
	rec := Record{V: Version, Time: now().UTC(), Type: Begin, Header: &header}
	line, err := json.Marshal(rec)
	if err != nil {
		return nil, err
	}
	if err := h.Create(ctx, j.path, append(line, '\n'), 0o600); err != nil {
		return nil, fmt.Errorf("beginning the journal: %w", err)
	}
	j.log = Log{Path: j.path, Records: []Record{rec}}
	return j, nil
}

// Open goes on with an existing journal, such as an interrupted operation's.
// What a crash cut off is declared as such before anything is added, so that
// it is never taken for damage.
func Open(ctx context.Context, h host.Host, file string, now func() time.Time) (*Journal, error) {
	log, err := Read(ctx, h, file)
	if err != nil {
		return nil, err
	}
	j := &Journal{h: h, path: file, now: now, log: log, unsure: log.unended}
	if log.Torn != "" {
		err = j.Append(ctx, Record{Type: Torn, Text: fmt.Sprintf("%d bytes of a record were cut off", len(log.Torn))})
	}
	return j, err
}

// Path is where the journal lies on the host.
func (j *Journal) Path() string { return j.path }

// Reload reads what another process has appended meanwhile.
func (j *Journal) Reload(ctx context.Context) error {
	log, err := Read(ctx, j.h, j.path)
	if err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.log = log
	return nil
}

// Log is what has been recorded so far.
func (j *Journal) Log() Log {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.log
	l.Records = append([]Record(nil), l.Records...)
	return l
}

// ErrEnded says that a fact came too late: behind its end it would open the
// operation again.
var ErrEnded = errors.New("the operation has ended")

// Append records r and returns when it is on the disk. It does not end with
// the context's cancellation: that a step was stopped must be written too.
// Facts are kept as they are, texts redacted. The error is ErrEnded for a fact
// behind the end.
func (j *Journal) Append(ctx context.Context, r Record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if r.Type == Note && j.log.Last().Type == End {
		return fmt.Errorf("noting %s: %w", r.Key, ErrEnded)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if j.unsure && r.Type != Torn {
		cut := Record{Type: Torn, Text: "the record before this one may be cut off"}
		if err := j.append(ctx, cut); err != nil {
			return err
		}
	}
	return j.append(ctx, r)
}

func (j *Journal) append(ctx context.Context, r Record) error {
	r.V, r.Time, r.Text = Version, j.now().UTC(), host.Redact(r.Text)
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("writing the journal: %w", err)
	}
	line = append(line, '\n')
	if j.unsure {
		line = append([]byte("\n"), line...)
	}
	if err := j.h.Append(ctx, j.path, line, 0o600); err != nil {
		j.unsure = true
		return fmt.Errorf("writing the journal: %w", err)
	}
	j.unsure = false
	j.log.Records = append(j.log.Records, r)
	return nil
}
