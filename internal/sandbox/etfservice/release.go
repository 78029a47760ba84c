package etfservice

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// ErrUnknownKind is returned for a kind of release that does not exist; the message lists those that do.
var ErrUnknownKind = errors.New("unknown kind of release")

// Commit is a release in the origin.
type Commit struct {
	Hash    string // whole
	Kind    string
	Version string // as the service's health answers it
	Subject string
}

// Kinds returns the kinds of releases that Release makes.
func Kinds() []Kind {
	var list []Kind
	for _, k := range kinds {
		list = append(list, k.Kind)
	}
	return list
}

// Release commits a further release to practise with to the origin in dir and moves main to it. It is
// built on the last good release, never on a bad one; a good one gets a tag and is the base of the next.
func Release(ctx context.Context, dir, name string, now time.Time) (Commit, error) {
	k, err := kindOf(name)
	if err != nil {
		return Commit{}, err
	}
	commit, err := k.release(ctx, dir, now)
	if err != nil {
		return Commit{}, fmt.Errorf("making a release: %s: %w", name, err)
	}
	return commit, nil
}

func kindOf(name string) (kind, error) {
	var known []string
	for _, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		known = append(known, k.Name)
	}
	return kind{}, fmt.Errorf("%w %q: use one of %s", ErrUnknownKind, name, strings.Join(known, ", "))
}

func (k kind) release(ctx context.Context, dir string, now time.Time) (Commit, error) {
	out, err := git(ctx, dir, nil, "rev-parse", "--verify", "--quiet", goodRef+"^{commit}")
	if err != nil {
		return Commit{}, fmt.Errorf("%s is missing, make the origin first: %w", goodRef, err)
	}
	good := strings.TrimSpace(string(out))
	b, err := baseOf(ctx, dir, good)
	if err != nil {
		return Commit{}, err
	}
	commit := Commit{Kind: k.Name, Version: fmt.Sprintf("1.%d-%s", b.minor, k.Name), Subject: k.subject}
	if k.good {
		commit.Version = fmt.Sprintf("1.%d", b.minor+1)
		commit.Subject = fmt.Sprintf(k.subject, attribute(b))
	}
	edits := append(k.edits(b), edit{"app/__init__.py", fmt.Sprintf("%q", b.version()), fmt.Sprintf("%q", commit.Version)})
	files, err := applied(ctx, dir, good, edits)
	if err != nil {
		return Commit{}, err
	}
	s := newStream()
	s.commit("refs/etf/incoming", 1, good, fmt.Sprintf("%s\n\nPractice-Release: %s\n", commit.Subject, k.Name), now, files)
	s.WriteString("get-mark :1\n")
	if commit.Hash, err = s.run(ctx, dir); err != nil {
		return Commit{}, err
	}
	return commit, k.publish(ctx, dir, good, commit)
}

// publish moves all names at once, or none.
func (k kind) publish(ctx context.Context, dir, good string, c Commit) error {
	moves := []string{
		"start",
		"update " + mainRef + " " + c.Hash,
		"update " + keptRefs + c.Hash + " " + c.Hash,
		"delete refs/etf/incoming",
	}
	if k.good {
		moves = append(moves,
			"update "+goodRef+" "+c.Hash+" "+good,
			"update refs/tags/v"+c.Version+" "+c.Hash)
	}
	moves = append(moves, "prepare", "commit", "")
	_, err := git(ctx, dir, []byte(strings.Join(moves, "\n")), "update-ref", "--stdin")
	return err
}

func (b base) version() string { return fmt.Sprintf("1.%d", b.minor) }

// baseOf reads version and newest migration from a commit's files.
func baseOf(ctx context.Context, dir, commit string) (base, error) {
	var b base
	text, err := show(ctx, dir, commit, "app/__init__.py")
	if err != nil {
		return b, err
	}
	if _, after, found := strings.Cut(text, `__version__ = "1.`); found {
		_, err = fmt.Sscanf(after, `%d"`, &b.minor)
	}
	if err != nil || b.minor < 2 {
		return b, fmt.Errorf("app/__init__.py of %.8s: no version of 1.2 or later in it", commit)
	}
	const versions = backend + "alembic/versions/"
	out, err := git(ctx, dir, nil, "ls-tree", "--name-only", commit, versions)
	if err != nil {
		return b, err
	}
	for _, path := range strings.Fields(string(out)) {
		var number int
		if n, _ := fmt.Sscanf(strings.TrimPrefix(path, versions), "%04d_", &number); n == 1 {
			b.revision = max(b.revision, number)
		}
	}
	return b, nil
}

// applied returns the files of a commit as the edits leave them.
func applied(ctx context.Context, dir, commit string, edits []edit) ([]file, error) {
	var files []file
	for _, e := range edits {
		text := ""
		if !strings.HasPrefix(e.path, "alembic/versions/") {
			var err error
			if text, err = show(ctx, dir, commit, e.path); err != nil {
				return nil, err
			}
		}
		switch {
		case e.old == "":
			text += e.text
		case strings.Count(text, e.old) == 1:
			text = strings.Replace(text, e.old, e.text, 1)
		default:
			return nil, fmt.Errorf("%s of %.8s: the place to change is there %d times, not once", e.path, commit, strings.Count(text, e.old))
		}
		files = append(files, file{backend + e.path, []byte(text)})
	}
	return files, nil
}

func show(ctx context.Context, dir, commit, path string) (string, error) {
	out, err := git(ctx, dir, nil, "cat-file", "blob", commit+":"+backend+path)
	return string(out), err
}
