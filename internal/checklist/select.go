package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// markFailed keeps a release that was live and has to be left, for whoever
// looks into what went wrong.
func (t *Target) markFailed(ctx context.Context, r *step.Run, rel release.Release) error {
	rel.State = release.Failed
	r.Say("release %s is kept, marked failed", rel.ID)
	return t.Releases.Put(ctx, rel)
}

// releaseToCome is the release that the operation is about.
func releaseToCome(op *step.Operation) (release.Release, error) {
	var rel release.Release
	ok, err := op.Fact(factRelease, &rel)
	if err == nil && !ok {
		err = errors.New("the operation has no release to come")
	}
	return rel, err
}

// CommitOf is the commit that an operation worked on; empty where there is none.
func CommitOf(op *step.Operation) string {
	rel, err := releaseToCome(op)
	if err != nil {
		return ""
	}
	return rel.Commit
}

// selectStep finds the installed release of a ref, for targets that work on
// one without fetching it.
type selectStep struct {
	inputs
	ref string
}

func (selectStep) String() string { return "release:select" }

// Deadline is for the undo, which may start services.
func (s selectStep) Deadline() time.Duration { return s.t.startDeadline() }

func (s selectStep) Run(ctx context.Context, r *step.Run) error {
	rel, err := s.t.installed(ctx, s.ref)
	if err != nil {
		return err
	}
	if err := s.t.notePrevious(ctx, r); err != nil {
		return err
	}
	r.Say("%s is release %s", s.ref, rel.ID)
	var chosen release.Release
	if ok, err := r.Operation.Fact(factRelease, &chosen); err != nil || ok && chosen.Commit == rel.Commit {
		return err // as it was before it was activated
	}
	return r.Note(ctx, factRelease, rel)
}

// Undo gives a release that this operation activated its state before, or
// marks it failed when it had never been verified.
//
// It is the last to be taken back: where no stage of this operation had stopped
// the workers, nobody else starts those of the release before again.
func (s selectStep) Undo(ctx context.Context, r *step.Run) error {
	log := r.Journal().Log()
	_, stopped := log.Step(stopStep{}.String())
	if _, started := log.Step(startStep{}.String()); started && !stopped {
		if err := s.t.startPrevious(ctx, r); err != nil {
			return err
		}
	}
	noted, err := releaseToCome(r.Operation)
	if err != nil {
		return nil // none was found
	}
	recorded, err := s.t.Releases.Find(ctx, noted.ID)
	if err != nil || recorded.ActivatedBy != r.ID() || recorded.Activated == nil {
		return err
	}
	if noted.State == release.Verified {
		return s.t.Releases.Put(ctx, noted)
	}
	return s.t.markFailed(ctx, r, recorded)
}

// installed is the newest complete release of the commit that a ref names, as
// of the last fetch.
func (t *Target) installed(ctx context.Context, ref string) (release.Release, error) {
	commit, _, err := t.resolve(ctx, t.mirrorDir(), ref)
	if err != nil {
		return release.Release{}, err
	}
	all, err := t.Releases.All(ctx)
	if err != nil {
		return release.Release{}, err
	}
	for _, r := range slices.Backward(all) {
		if r.Commit == commit && !slices.Contains([]release.State{release.Building, release.Fetched, release.Failed}, r.State) {
			return r, nil
		}
	}
	return release.Release{}, fmt.Errorf("%w: ref %q (%s) is not installed on the target: run release:install -ref=%s first", ErrUsage, ref, commit[:8], ref)
}

// previous is the id of the release that was live when the operation began.
func previous(op *step.Operation) (string, error) {
	var id string
	_, err := op.Fact(factPrevious, &id)
	return id, err
}
