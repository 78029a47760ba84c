package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// Status is what a person who is called at night asks first. What could not be
// looked at is in Unseen, never left out.
type Status struct {
	Version     int              `json:"version"`
	Environment string           `json:"environment"`
	Live        *release.Release `json:"live"`
	Database    string           `json:"alembic_head"` // of the database
	Processes   []ProcessStatus  `json:"processes"`
	Lease       *lease.Holder    `json:"lease,omitempty"`     // only while it is held
	Operation   *HistoryEntry    `json:"operation,omitempty"` // the last one
	Paused      string           `json:"paused,omitempty"`    // the pause flag's value, if it is set
	Backup      *Manifest        `json:"backup,omitempty"`    // the newest
	Next        string           `json:"next"`                // the one command to run
	Unseen      []string         `json:"unseen,omitempty"`
}

// unknownHead stands for a head that could not be looked at.
const unknownHead = "not seen"

// A ProcessStatus is one process of the service.
type ProcessStatus struct {
	Name    string `json:"name"`
	State   string `json:"state"`
	PID     int    `json:"pid,omitempty"`
	Release string `json:"release,omitempty"` // that it really runs
}

// Status looks at everything side by side, each within a second.
func (t *Target) Status(ctx context.Context) *Status {
	s := &Status{Version: formatVersion, Environment: t.Config.Environment}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	look := func(what string, f func() error) {
		wg.Go(func() {
			if err := f(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				s.Unseen = append(s.Unseen, what+": "+host.Redact(err.Error()))
			}
		})
	}
	look("live release", func() (err error) { s.Live, err = t.Releases.Current(ctx); return err })
	look("database", func() error {
		head, err := t.databaseHead(ctx)
		if s.Database = head; err != nil {
			s.Database = unknownHead
		}
		return err
	})
	look("processes", func() (err error) { s.Processes, err = t.ServiceStatus(ctx); return err })
	look("lease", func() error {
		holder, err := lease.Show(ctx, t.Host, t.opsDir())
		if state := holder.State(ctx, t.Now()); state == lease.Held || state == lease.Parked {
			s.Lease = holder
		}
		return err
	})
	look("operations", func() error {
		history, err := t.History(ctx)
		for i := range history {
			// An unfinished one matters more than the papers written since.
			if i == 0 || history[i].unfinished() && !s.Operation.unfinished() {
				s.Operation = &history[i]
			}
			if history[i].Kind == "deploy" && history[i].Outcome == journal.Succeeded {
				break
			}
		}
		return err
	})
	look("backups", func() error {
		all, err := t.Backups(ctx)
		if len(all) > 0 {
			s.Backup = all[0]
		}
		return err
	})
	look("pause flag", func() error {
		c, err := t.cache()
		if err != nil {
			return err
		}
		defer c.Close()
		flag, err := c.Flag(ctx, t.Config.Cache.PauseKey)
		if flag.Set {
			s.Paused = cmp.Or(flag.Value, "set")
		}
		return err
	})
	wg.Wait()
	s.Next = s.next()
	return s
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
					return all, err
				}
			}
			all = append(all, ps)
		}
	}
	return all, nil
}

// next is the one command to run.
func (s *Status) next() string {
	switch {
	case s.Operation != nil && s.Operation.Outcome == "interrupted" && s.Operation.Achieved:
		return "resume: only the papers of " + s.Operation.ID + " are missing"
	case s.Operation != nil && s.Operation.Outcome == "interrupted":
		return "resume -undo"
	case s.Operation != nil && s.Operation.Outcome == "running":
		return "status, until " + s.Operation.ID + " has ended"
	case s.Operation != nil && s.Operation.Outcome == journal.Stuck:
		return "resume -undo, to try the undo of " + s.Operation.ID + " again; then contacts"
	case len(s.Unseen) > 0:
		return "pre:connections"
	case s.Live == nil:
		return "deploy"
	}
	if s.Database != s.Live.Head {
		return fmt.Sprintf("deploy: the database is at %s, the live release at %s", orNone(s.Database), orNone(s.Live.Head))
	}
	for _, p := range s.Processes {
		if p.State != "RUNNING" || p.Release != s.Live.ID {
			return "services:start"
		}
	}
	if s.Paused != "" {
		return "nothing, but updates are paused: delete the flag when its reason is gone"
	}
	return "nothing: all processes run the live release"
}

// Text is the status for people.
func (s *Status) Text(w io.Writer, now time.Time) error {
	row := func(key, format string, args ...any) {
		fmt.Fprintf(w, "%-12s %s\n", key, fmt.Sprintf(format, args...))
	}
	row("environment", "%s", s.Environment)
	if s.Live == nil {
		row("live", "no release")
	} else {
		row("live", "%s %s “%s”, %s, by %s, Alembic head %s", s.Live.ID, s.Live.Ref, s.Live.Subject, s.Live.State, s.Live.By, orNone(s.Live.Head))
		if s.Live.Activated != nil {
			row("since", "%s (%s)", s.Live.Activated.Format(time.RFC3339), report.Duration(now.Sub(*s.Live.Activated)))
		}
	}
	row("database", "Alembic head %s", orNone(s.Database))
	if o := s.Operation; o != nil {
		row("operation", "%s %s, by %s, %s", o.ID, o.Outcome, o.By, strings.TrimSpace(o.Began.Format(time.RFC3339)+" "+firstLine(o.Text)))
	}
	if s.Lease != nil {
		row("lease", "%s", s.Lease)
	}
	if s.Paused != "" {
		row("updates", "PAUSED (%s)", s.Paused)
	}
	if s.Backup == nil {
		row("backup", "none")
	} else {
		row("backup", "%s, %s old, %s", s.Backup.ID, report.Duration(now.Sub(s.Backup.Created)), report.Bytes(s.Backup.Database.Size))
	}
	table := report.NewTable("process", "state", "pid", "release")
	for _, p := range s.Processes {
		table.Row(p.Name, p.State, pidText(p.PID), p.Release)
	}
	fmt.Fprintln(w)
	if err := table.Write(w); err != nil {
		return err
	}
	for _, u := range s.Unseen {
		fmt.Fprintln(w, "could not look at "+u)
	}
	_, err := fmt.Fprintln(w, "\nnext: "+s.Next)
	return err
}

func pidText(pid int) string {
	if pid == 0 {
		return ""
	}
	return strconv.Itoa(pid)
}
