package checklist

import (
	"context"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// activateStep is the moment at which `current` names the new release.
type activateStep struct{ inputs }

func (activateStep) String() string { return "release:activate" }

func (activateStep) ChangesService() {}

// Deadline is for the undo, which restarts the API.
func (s activateStep) Deadline() time.Duration { return s.t.startDeadline() }

func (s activateStep) Describe(context.Context) ([]string, error) {
	return []string{"ln -s releases/<release> " + s.t.Releases.CurrentLink() + ", in one step"}, nil
}

func (s activateStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if err := t.headMatches(ctx, rel); err != nil {
		return err
	}
	if err := t.notePrevious(ctx, r); err != nil {
		return err
	}
	now := t.Now().UTC()
	rel.State, rel.Activated, rel.ActivatedBy = release.Live, &now, r.ID()
	if _, err := r.Operation.Fact(factBackup, &rel.Backup); err != nil {
		return err
	}
	if err := t.Releases.Put(ctx, rel); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	r.Say("current → %s", rel.ID)
	return t.Releases.SetCurrent(ctx, rel.ID)
}

// headMatches refuses code whose migrations are not those of the database.
func (t *Target) headMatches(ctx context.Context, rel release.Release) error {
	present, err := t.databaseHead(ctx)
	if err != nil {
		return err
	}
	if present != rel.Head {
		return fmt.Errorf("the database is at %q and release %s wants %q: run release:migrate first", present, rel.ID, rel.Head)
	}
	return nil
}

// Probe asks which release `current` names.
func (s activateStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return false, err
	}
	live, err := s.t.Releases.Current(ctx)
	return live != nil && live.ID == rel.ID, err
}

// Undo lets `current` name the release before again. Where the new schema
// still serves the old code, the API goes back to it at once, so that the
// migrations can be taken back under code that does not need them.
func (s activateStep) Undo(ctx context.Context, r *step.Run) error {
	t := s.t
	id, err := previous(r.Operation)
	if err != nil {
		return err
	}
	if id == "" {
		if err := t.stopAll(ctx, r); err != nil {
			return err
		}
		r.Say("no release is live, as before")
		return t.Releases.ClearCurrent(ctx)
	}
	if err := t.Releases.SetCurrent(ctx, id); err != nil {
		return err
	}
	if err := t.neverRan(ctx, r, id); err != nil {
		return err
	}
	r.Say("current → %s", id)
	var plan migrationPlan
	if planned, err := r.Operation.Fact(factMigrations, &plan); err != nil {
		return err
	} else if plan.Compatible || !planned {
		return t.rollAPI(ctx, r, id)
	}
	return t.stopAPI(ctx, r)
}

// neverRan gives a release that was activated and not started its state before.
func (t *Target) neverRan(ctx context.Context, r *step.Run, previous string) error {
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if _, started := r.Journal().Log().Step(startStep{}.String()); started || rel.ID == previous {
		return nil
	}
	return t.Releases.Put(ctx, rel) // as it was noted before
}
