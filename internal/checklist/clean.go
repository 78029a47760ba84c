package checklist

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// cleanStep removes what retention lets go.
type cleanStep struct{ inputs }

func (cleanStep) String() string { return "release:clean" }

func (s cleanStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	all, err := t.Releases.All(ctx)
	if err != nil {
		return err
	}
	if live == nil {
		return errors.New("no release is live")
	}
	open, err := t.unfinished(ctx) // this operation among them
	if err != nil {
		return err
	}
	needed, err := neededBy(open)
	if err != nil {
		return err
	}
	expired := release.Expired(all, live.ID, t.Config.Retention.Releases, needed.Releases...)
	for _, old := range expired {
		if err := t.Releases.Remove(ctx, old.ID); err != nil {
			return err
		}
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := t.removePartialBackups(ctx); err != nil {
		return err
	}
	manifests, err := t.Backups(ctx)
	if err != nil {
		r.Log("left alone: %v", err)
	}
	remaining, err := t.Releases.All(ctx)
	if err != nil {
		return err
	}
	backups := spentBackups(manifests, remaining, t.Config.Retention.Backups, needed.Backups)
	for _, id := range backups {
		if err := t.Host.Remove(ctx, t.backupDir(id)); err != nil {
			return err
		}
	}
	databases := t.dropSpent(ctx, r)
	r.Say("%d releases, %d backups and %d kept databases removed", len(expired), len(backups), databases)
	return nil
}

// removePartialBackups removes what killed operations left: the caller holds
// the lease, nobody is filling one.
func (t *Target) removePartialBackups(ctx context.Context) error {
	names, err := t.Host.List(ctx, path.Join(t.Config.Root, "backups"))
	if err != nil {
		return err
	}
	for _, name := range names {
		if strings.HasPrefix(name, partialPrefix) {
			if err := t.Host.Remove(ctx, t.backupDir(name)); err != nil {
				return err
			}
		}
	}
	return nil
}
