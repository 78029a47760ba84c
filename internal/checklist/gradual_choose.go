package checklist

import (
	"context"
	"fmt"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// gradualChoose finds the release to go to and the backup, before anything is
// touched.
type gradualChoose struct {
	inputs
	o Options
}

func (gradualChoose) String() string { return "rollback:choose" }

func (s gradualChoose) Run(ctx context.Context, r *step.Run) error {
	rel, m, err := s.t.chooseRollback(ctx, s.o)
	if err != nil {
		return err
	}
	if err := s.t.notePrevious(ctx, r); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := r.Note(ctx, factBackupChosen, m.ID); err != nil {
		return err
	}
	r.Say("release %s “%s”, rows from backup %s", rel.ID, rel.Subject, m.ID)
	return r.Note(ctx, factRelease, rel)
}

// chooseRollback takes the release and the backup that were asked for, or the
// verified release that was live before, and the backup that was taken then.
func (t *Target) chooseRollback(ctx context.Context, o Options) (release.Release, *Manifest, error) {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return release.Release{}, nil, err
	}
	if live == nil {
		return release.Release{}, nil, fmt.Errorf("%w: no release is live", step.ErrFault)
	}
	all, err := t.Releases.All(ctx)
	if err != nil {
		return release.Release{}, nil, err
	}
	var to *release.Release
	if o.KeepRelease {
		to = live
	}
	for _, r := range slices.Backward(all) {
		if o.To == r.ID || o.To == "" && to == nil && r.State == release.Verified && r.ID != live.ID && r.Activated.Before(*live.Activated) {
			to = &r
		}
	}
	if to == nil {
		return release.Release{}, nil, fmt.Errorf("%w: there is no verified release to go back to: -keep-release repairs the rows and leaves the code", step.ErrFault)
	}
	m, err := t.backupToCompare(ctx, o.Backup)
	return *to, m, err
}
