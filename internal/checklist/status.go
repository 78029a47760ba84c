package checklist

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// Status is what a person who is called at night asks first. What could not be
// looked at is in Unseen, never left out.
type Status struct {
	Version       int              `json:"version"`
	Environment   string           `json:"environment"`
	At            time.Time        `json:"at"`
	Live          *release.Release `json:"live"`
	Current       string           `json:"current,omitempty"` // where the link points, also when it is no recorded release
	Activated     *Activation      `json:"activated,omitempty"`
	Database      string           `json:"alembic_head"` // of the database
	Processes     []ProcessStatus  `json:"processes"`
	Lease         *lease.Holder    `json:"lease,omitempty"`       // while it is not free
	LeaseState    lease.State      `json:"lease_state,omitempty"` // empty: not seen
	Operation     *HistoryEntry    `json:"operation,omitempty"`   // the last one, or one that is not finished
	Paused        string           `json:"paused,omitempty"`      // who paused updates, since when and why, in one line
	Pause         *cache.Pause     `json:"pause,omitempty"`       // the same in its parts
	Backup        *Manifest        `json:"backup,omitempty"`      // the newest
	GoodBackup    *Manifest        `json:"good_backup,omitempty"` // the newest whose contents were proven
	Alerts        []Alert          `json:"alerts,omitempty"`      // that fire now
	Kept          []KeptDatabase   `json:"kept,omitempty"`
	Disagreements []string         `json:"disagreements,omitempty"` // between records, folders and `current`
	Damaged       []string         `json:"damaged,omitempty"`       // files that cannot be read, with what to do
	Next          string           `json:"next"`                    // the one command to run
	Command       string           `json:"next_command,omitempty"`  // that alone; empty when there is none to run
	Unseen        []string         `json:"unseen,omitempty"`

	blocked []string // those of Disagreements that no operation begins over
}

// unknownHead stands for a head that could not be looked at.
const unknownHead = "not seen"

// An Activation is how the live release became current.
type Activation struct {
	At        *time.Time `json:"at,omitempty"`
	By        string     `json:"by,omitempty"` // empty: the journal of the operation is gone
	Operation string     `json:"operation,omitempty"`
	Run       string     `json:"run,omitempty"` // URL of the pipeline run
}

// lookTime is what a person waits at most: each look ends by itself when it is
// over, and who does not is not waited for.
const lookTime = 850 * time.Millisecond

// A statusLook sees one thing. What it saw is set by the function that it returns,
// also beside an error.
type statusLook struct {
	what string
	see  func(ctx context.Context) (set func(*Status), err error)
}

// Status looks at everything side by side, for at most about a second.
func (t *Target) Status(ctx context.Context) *Status {
	s := &Status{Version: formatVersion, Environment: t.Config.Environment, At: t.Now().UTC(), Database: unknownHead}
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	looks := []statusLook{
		{"releases", t.seeReleases}, {"database", t.seeHead}, {"kept databases", t.seeKept}, {"processes", t.seeProcesses},
		{"lease", t.seeLease}, {"operations", t.seeOperations}, {"backups", t.seeBackups}, {"pause flag", t.seePause}, {"alerts", t.seeAlerts},
	}
	type answer struct {
		statusLook
		set func(*Status)
		err error
	}
	answers := make(chan answer, len(looks))
	waiting := map[string]bool{}
	for _, l := range looks {
		waiting[l.what] = true
		go func() {
			set, err := l.see(ctx)
			answers <- answer{l, set, err}
		}()
	}
	for late := time.After(lookTime + 50*time.Millisecond); len(waiting) > 0; {
		select {
		case a := <-answers:
			delete(waiting, a.what)
			if a.set != nil {
				a.set(s)
			}
			s.note(a.what, a.err, ctx.Err() != nil)
			continue
		case <-late:
		}
		for what := range waiting {
			s.Unseen = append(s.Unseen, what+": no answer within a second")
		}
		break
	}
	slices.Sort(s.Unseen)
	s.Next = s.next()
	s.Command = commandIn(s.Next)
	return s
}

// note sorts an error: a file that is not as it should be is damaged, and a
// person has to mend it; the rest could not be seen.
func (s *Status) note(what string, err error, late bool) {
	if err == nil {
		return
	}
	text := host.Redact(err.Error())
	if late || errors.Is(err, fs.ErrPermission) || !slices.Contains([]string{"lease", "operations", "backups"}, what) {
		s.Unseen = append(s.Unseen, what+": "+strings.ReplaceAll(text, "\n", "; "))
		return
	}
	s.Damaged = append(s.Damaged, strings.Split(text, "\n")...)
}
