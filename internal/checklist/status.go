package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// Status is what a person who is called at night asks first. What could not be
// looked at is in Unseen, never left out.
type Status struct {
	Version       int                     `json:"version"`
	Environment   string                  `json:"environment"`
	At            time.Time               `json:"at"`
	Live          *release.Release        `json:"live"`
	Current       string                  `json:"current,omitempty"` // where the link points, also when it is no recorded release
	Activated     *Activation             `json:"activated,omitempty"`
	Database      string                  `json:"alembic_head"` // of the database
	Processes     []ProcessStatus         `json:"processes"`
	Lease         *lease.Holder           `json:"lease,omitempty"`       // while it is not free
	LeaseState    lease.State             `json:"lease_state,omitempty"` // empty: not seen
	Operation     *HistoryEntry           `json:"operation,omitempty"`   // the last one, or one that is not finished
	Paused        string                  `json:"paused,omitempty"`      // who paused updates, since when and why, in one line
	Pause         *cache.Pause            `json:"pause,omitempty"`       // the same in its parts
	Backup        *Manifest               `json:"backup,omitempty"`      // the newest
	GoodBackup    *Manifest               `json:"good_backup,omitempty"` // the newest whose contents were proven
	Alerts        []Alert                 `json:"alerts,omitempty"`      // that fire now
	Kept          []postgres.KeptDatabase `json:"kept,omitempty"`
	Disagreements []string                `json:"disagreements,omitempty"` // between records, folders and `current`
	Damaged       []string                `json:"damaged,omitempty"`       // files that cannot be read, with what to do
	Next          string                  `json:"next"`                    // the one command to run
	Unseen        []string                `json:"unseen,omitempty"`

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

func (t *Target) seeReleases(ctx context.Context) (func(*Status), error) {
	found, err := t.Releases.Inspect(ctx)
	link, _ := t.Releases.Link(ctx)          // its error is in Inspect's
	live, liveErr := t.Releases.Current(ctx) // as is this one, unless nothing was found
	if err == nil && len(found) == 0 {
		err = liveErr
	}
	var activated *Activation
	if live != nil {
		activated = &Activation{At: live.Activated, Operation: live.ActivatedBy}
		if log, err := journal.Read(ctx, t.Host, path.Join(t.journalDir(), path.Base(live.ActivatedBy)+".jsonl")); err == nil {
			activated.By, activated.Run = log.Header().By, log.Header().Run
		}
	}
	return func(s *Status) {
		s.Live, s.Current, s.Activated = live, link, activated
		for _, d := range found {
			s.Disagreements = append(s.Disagreements, d.Text)
			if d.Blocks {
				s.blocked = append(s.blocked, d.Text)
			}
		}
	}, err
}

func (t *Target) seeHead(ctx context.Context) (func(*Status), error) {
	head, err := t.databaseHead(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *Status) { s.Database = head }, nil
}

func (t *Target) seeKept(ctx context.Context) (func(*Status), error) {
	all, err := t.KeptDatabases(ctx)
	return func(s *Status) { s.Kept = all }, err
}

func (t *Target) seeProcesses(ctx context.Context) (func(*Status), error) {
	all, err := t.ServiceStatus(ctx)
	return func(s *Status) { s.Processes = all }, err
}

func (t *Target) seeAlerts(ctx context.Context) (func(*Status), error) {
	all, err := t.Alerts(ctx)
	return func(s *Status) { s.Alerts = all }, err
}

func (t *Target) seeLease(ctx context.Context) (func(*Status), error) {
	l, err := t.Lease(ctx)
	if err != nil {
		return nil, err
	}
	return func(s *Status) {
		if s.LeaseState = l.State; l.State != lease.Free {
			s.Lease = l.Holder
		}
	}, nil
}

func (t *Target) seeOperations(ctx context.Context) (func(*Status), error) {
	history, err := t.History(ctx)
	var last *HistoryEntry
	for i := range history {
		// An unfinished one matters more than the papers written since.
		if last == nil || history[i].unfinished() && !last.unfinished() {
			last = &history[i]
		}
		if history[i].Kind == "deploy" && history[i].Outcome == journal.Succeeded {
			break
		}
	}
	return func(s *Status) { s.Operation = last }, err
}

func (t *Target) seeBackups(ctx context.Context) (func(*Status), error) {
	all, err := t.Backups(ctx)
	return func(s *Status) {
		if len(all) > 0 {
			s.Backup = all[0]
		}
		if i := slices.IndexFunc(all, func(m *Manifest) bool { return m.Proof.Contents != nil }); i >= 0 {
			s.GoodBackup = all[i]
		}
	}, err
}

func (t *Target) seePause(ctx context.Context) (func(*Status), error) {
	c, err := t.cache()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	pause, err := c.Paused(ctx, t.Config.Cache.PauseKey)
	return func(s *Status) {
		if s.Pause = pause; pause != nil {
			s.Paused = host.Redact(pause.String())
		}
	}, err
}

// A ProcessStatus is one process of the service.
type ProcessStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	PID     int    `json:"pid,omitempty"`
	Release string `json:"release,omitempty"` // that it really runs
}

// ServiceStatus lists the service's processes with the release that each runs.
func (t *Target) ServiceStatus(ctx context.Context) ([]ProcessStatus, error) {
	var all []ProcessStatus
	for _, group := range []string{t.Config.Services.API, t.Config.Services.Worker, t.Config.Services.Beat} {
		procs, err := t.processes(ctx, group)
		if err != nil {
			return all, err
		}
		for _, p := range procs {
			ps := ProcessStatus{Name: p.FullName(), State: p.State, PID: p.PID}
			if p.PID != 0 {
				ps.Release, err = t.releaseOf(ctx, p.PID)
				if err != nil && !errors.Is(err, fs.ErrNotExist) {
					return all, fmt.Errorf("%s: %w", p.FullName(), err)
				}
			}
			all = append(all, ps)
		}
	}
	return all, nil
}
