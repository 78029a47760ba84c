package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

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
	history, err := t.historyUntil(ctx, wholeDeployment)
	var last *HistoryEntry
	for i := range history {
		// An unfinished one matters more than the papers written since.
		if last == nil || history[i].unfinished() && !last.unfinished() {
			last = &history[i]
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
