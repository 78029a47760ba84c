package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Facts that the steps of an operation note for each other.
const (
	factRelease  = "release"  // release.Release: the one to come
	factPrevious = "previous" // string: id of the release that was live; "" for a first deployment
	factBuilt    = "built"    // string: id of a release folder that this operation began to fill
)

// fetchStep is "git pull" done aside: the commit in a folder of its own.
type fetchStep struct {
	inputs
	ref  string
	live bool // a release of this commit that was live will do
}

func (fetchStep) String() string { return "release:fetch" }

func (s fetchStep) Describe(context.Context) ([]string, error) {
	return []string{
		fmt.Sprintf("git fetch %s into %s", host.Redact(s.t.Config.Source.Origin), s.t.mirrorDir()),
		fmt.Sprintf("git archive %s into a new folder of %s", s.ref, path.Join(s.t.Config.Root, "releases")),
	}, nil
}

func (s fetchStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	if err := t.notePrevious(ctx, r); err != nil {
		return err
	}
	if err := s.clearBuilt(ctx, r); err != nil {
		return err
	}
	if err := t.updateMirror(ctx); err != nil {
		return err
	}
	commit, subject, err := t.resolve(ctx, t.mirrorDir(), s.ref)
	if err != nil {
		return err
	}
	// Branches are rewritten; what was ever deployed stays reachable here.
	if _, err := t.git(ctx, time.Minute, "--git-dir="+t.mirrorDir(), "update-ref", "refs/etf-deploy/"+commit, commit); err != nil {
		return err
	}
	known, err := s.known(ctx, commit)
	if err != nil {
		return err
	}
	if known != nil {
		r.Say("%s %s: %s already as %s", s.ref, commit[:8], known.State, known.ID)
		return errors.Join(r.Fault(ctx, "during"), r.Note(ctx, factRelease, known))
	}
	return s.build(ctx, r, commit, subject)
}

// known is the newest release of a commit that will do; nil when there is none.
func (s fetchStep) known(ctx context.Context, commit string) (*release.Release, error) {
	all, err := s.t.Releases.All(ctx)
	if err != nil {
		return nil, err
	}
	usable := []release.State{release.Fetched, release.Installed}
	if s.live {
		usable = append(usable, release.Live, release.Verified)
	}
	for _, r := range slices.Backward(all) {
		if r.Commit != commit || !slices.Contains(usable, r.State) {
			continue
		}
		if _, err := s.t.Host.Stat(ctx, s.t.backend(r.ID)); err == nil { // not recorded, and gone
			return &r, nil
		}
	}
	return nil, nil
}

// build unpacks a commit into a new release.
func (s fetchStep) build(ctx context.Context, r *step.Run, commit, subject string) error {
	t := s.t
	rel := release.Release{
		ID: release.NewID(commit, t.Now()), Commit: commit, Ref: s.ref, Subject: subject,
		State: release.Building, Operation: r.ID(), By: Whoami(), Built: t.Now().UTC(),
	}
	if err := r.Note(ctx, factBuilt, rel.ID); err != nil {
		return err
	}
	if err := t.Releases.Put(ctx, rel); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := t.unpack(ctx, t.mirrorDir(), commit, t.Releases.Dir(rel.ID)); err != nil {
		return err
	}
	for _, needed := range []string{"", t.Config.Python.Requirements, "alembic.ini"} {
		if _, err := t.Host.Stat(ctx, path.Join(t.backend(rel.ID), needed)); err != nil {
			return fmt.Errorf("%s at %s: %w: is source.subdir right?", s.ref, commit[:8], err)
		}
	}
	rel.State = release.Fetched
	if err := t.Releases.Put(ctx, rel); err != nil {
		return err
	}
	r.Say("%s %s “%s”", s.ref, commit[:8], subject)
	return r.Note(ctx, factRelease, rel)
}

// Probe asks whether the release to come was noted, and is there.
func (s fetchStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	var rel release.Release
	if ok, err := r.Fact(factRelease, &rel); err != nil || !ok {
		return false, err
	}
	_, err := s.t.Releases.Find(ctx, rel.ID)
	if errors.Is(err, release.ErrNotRecorded) {
		return false, nil
	}
	return err == nil, err
}

// clearBuilt removes a folder that an interrupted try has begun to fill.
func (s fetchStep) clearBuilt(ctx context.Context, r *step.Run) error {
	var built string
	if ok, err := r.Fact(factBuilt, &built); err != nil || !ok {
		return err
	}
	rel, err := s.t.Releases.Find(ctx, built)
	if errors.Is(err, release.ErrNotRecorded) {
		return nil
	}
	if err != nil || rel.State != release.Building {
		return err
	}
	return s.t.Releases.Remove(ctx, built)
}

// notePrevious records which release an undo has to go back to.
func (t *Target) notePrevious(ctx context.Context, r *step.Run) error {
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	previous := ""
	if live != nil {
		previous = live.ID
	}
	// The first look counts: later ones may see the release to come.
	return r.NoteOnce(ctx, factPrevious, previous)
}

// Undo removes a folder that was being filled. A complete one stays for the
// next try, unless it has been live: then it is marked failed, and kept for
// whoever looks into what went wrong.
func (s fetchStep) Undo(ctx context.Context, r *step.Run) error {
	var built string
	if _, err := r.Fact(factBuilt, &built); err != nil {
		return err
	}
	var rel release.Release
	if ok, err := r.Fact(factRelease, &rel); err != nil {
		return err
	} else if ok {
		recorded, err := s.t.Releases.Find(ctx, rel.ID)
		if errors.Is(err, release.ErrNotRecorded) {
			r.Say("%s is removed already", rel.ID)
			return nil
		}
		if err != nil {
			return err
		}
		switch {
		case recorded.Activated != nil && recorded.ActivatedBy == r.ID():
			return s.t.markFailed(ctx, r, recorded)
		case recorded.Activated != nil: // by an earlier operation: it was only found
			r.Say("release %s stays as it is", rel.ID)
			return nil
		case recorded.State == release.Installed:
			r.Say("release %s stays installed for the next try", rel.ID)
			return nil
		}
	}
	if built == "" {
		return nil
	}
	r.Say("removed %s", built)
	return s.t.Releases.Remove(ctx, built)
}

// ErrUsage is in the error of an argument that cannot be meant.
var ErrUsage = errors.New("usage")

// CheckRef refuses what is no name of a branch, tag or commit. A leading dash
// would be an option of git's.
func CheckRef(ref string) error {
	if ref == "" || strings.HasPrefix(ref, "-") || strings.ContainsAny(ref, " \t\n\\^~:?*[\x00") {
		return fmt.Errorf("%w: ref %q is not a name of a branch, tag or commit", ErrUsage, ref)
	}
	return nil
}
