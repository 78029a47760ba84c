package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
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
	all, err := t.Releases.All(ctx)
	if err != nil {
		return err
	}
	usable := []release.State{release.Fetched, release.Installed}
	if s.live {
		usable = append(usable, release.Live, release.Verified)
	}
	for _, known := range slices.Backward(all) {
		if known.Commit != commit || !slices.Contains(usable, known.State) {
			continue
		}
		if _, err := t.Host.Stat(ctx, t.backend(known.ID)); err == nil { // not recorded, and gone
			r.Say("%s %s: %s already as %s", s.ref, commit[:8], known.State, known.ID)
			return errors.Join(r.Fault(ctx, "during"), r.Note(ctx, factRelease, known))
		}
	}
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
		case recorded.Activated != nil:
			return s.t.markFailed(ctx, r, recorded)
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

// markFailed keeps a release that was live and has to be left, for whoever
// looks into what went wrong.
func (t *Target) markFailed(ctx context.Context, r *step.Run, rel release.Release) error {
	rel.State = release.Failed
	r.Say("release %s is kept, marked failed", rel.ID)
	return t.Releases.Put(ctx, rel)
}

// originRemote is the name under which git knows source.origin: its address may
// hold a token, and reaches git by the environment, not by its arguments.
const originRemote = "etf-origin"

// git runs git without a prompt, a pager or the user's own configuration of
// hooks; credentials come from the usual helpers and agents.
func (t *Target) git(ctx context.Context, timeout time.Duration, args ...string) (string, error) {
	res, err := t.Host.Run(ctx, host.Command{
		Argv: append([]string{"git", "-c", "core.hooksPath=/dev/null"}, args...),
		Env: []string{"GIT_TERMINAL_PROMPT=0", "GIT_SSH_COMMAND=" + sshCommand(), "LC_ALL=C",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=remote." + originRemote + ".url", "GIT_CONFIG_VALUE_0=" + t.Config.Source.Origin},
		Timeout: timeout,
	})
	return strings.TrimSpace(string(res.Stdout)), err
}

func sshCommand() string {
	if own := os.Getenv("GIT_SSH_COMMAND"); own != "" {
		return own
	}
	return "ssh -o BatchMode=yes -o ConnectTimeout=10"
}

// updateMirror brings the bare copy of the origin up to date. Branches are
// taken as they are there, also those that were rewritten.
func (t *Target) updateMirror(ctx context.Context) error {
	dir := t.mirrorDir()
	if _, err := t.Host.Stat(ctx, path.Join(dir, "HEAD")); errors.Is(err, fs.ErrNotExist) {
		if _, err := t.git(ctx, time.Minute, "init", "--quiet", "--bare", dir); err != nil {
			return fmt.Errorf("making %s: %w", dir, err)
		}
	}
	return t.fetchInto(ctx, dir)
}

func (t *Target) fetchInto(ctx context.Context, dir string) error {
	_, err := t.git(ctx, 5*time.Minute, "--git-dir="+dir, "fetch", "--quiet", "--prune", "--force", "--tags",
		originRemote, "+refs/heads/*:refs/heads/*")
	if err != nil {
		return fmt.Errorf("fetching from source.origin %s: %w", host.Redact(t.Config.Source.Origin), err)
	}
	return nil
}

// resolve finds the commit that a ref names in the mirror.
func (t *Target) resolve(ctx context.Context, dir, ref string) (commit, subject string, err error) {
	if err := CheckRef(ref); err != nil {
		return "", "", err
	}
	commit, err = t.git(ctx, time.Minute, "--git-dir="+dir, "rev-parse", "--quiet", "--verify", "--end-of-options", ref+"^{commit}")
	if err != nil {
		return "", "", fmt.Errorf("%w: ref %q is neither branch, tag nor commit of %s", ErrUsage, ref, host.Redact(t.Config.Source.Origin))
	}
	subject, err = t.git(ctx, time.Minute, "--git-dir="+dir, "show", "--no-patch", "--format=%s", commit)
	return commit, subject, err
}

// unpack writes the files of a commit into a new folder.
func (t *Target) unpack(ctx context.Context, mirror, commit, dir string) error {
	if err := t.Host.Mkdir(ctx, dir, 0o755); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	archive := path.Join(dir, ".archive.tar")
	if _, err := t.git(ctx, 5*time.Minute, "--git-dir="+mirror, "archive", "--format=tar", "--output="+archive, commit); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	if _, err := t.Host.Run(ctx, host.Command{Argv: []string{"tar", "-x", "-f", archive, "-C", dir}, Timeout: 5 * time.Minute}); err != nil {
		return fmt.Errorf("unpacking %s: %w", commit[:8], err)
	}
	return t.Host.Remove(ctx, archive)
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
