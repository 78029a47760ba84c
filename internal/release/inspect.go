package release

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Disagreement is something in which releases.json, the folders and the link
// `current` do not agree.
type Disagreement struct {
	Text   string // the object, what can still be trusted, what to do
	Blocks bool   // no operation may rely on the records before it is mended
}

// Disagreements lists the texts of what Inspect finds.
func (s *Store) Disagreements(ctx context.Context) ([]string, error) {
	found, err := s.Inspect(ctx)
	var texts []string
	for _, d := range found {
		texts = append(texts, d.Text)
	}
	return texts, err
}

// Inspect holds the records, the folders and `current` against each other and
// changes nothing. An error says that it could not look; a file that is
// damaged is a disagreement.
func (s *Store) Inspect(ctx context.Context) ([]Disagreement, error) {
	found, err := s.inspect(ctx)
	if err != nil || len(found) == 0 {
		return found, err
	}
	// An operation may have been between two files: what is wrong stays wrong.
	again, err := s.inspect(ctx)
	return slices.DeleteFunc(found, func(d Disagreement) bool { return !slices.Contains(again, d) }), err
}

func (s *Store) inspect(ctx context.Context) ([]Disagreement, error) {
	all, err := s.All(ctx)
	damaged := errors.Is(err, ErrDamaged) || errors.Is(err, ErrNewer)
	if err != nil && !damaged {
		return nil, err
	}
	folders, folderErr := s.Folders(ctx)
	link, linkErr := s.Link(ctx)
	in := inspection{s: s, all: all, folders: folders, link: link, linkErr: linkErr}
	if damaged {
		in.add(true, "%v. The folders and %s can be trusted, and the service goes on; until it is mended no operation begins", err, s.CurrentLink())
	}
	in.current(damaged)
	if !damaged && folderErr == nil {
		in.records()
		in.strangers()
	}
	if errors.Is(linkErr, errNoLink) {
		linkErr = nil // said above
	}
	return in.found, errors.Join(folderErr, linkErr)
}

// Folders names what lies in the folder of the releases, recorded or not.
func (s *Store) Folders(ctx context.Context) ([]string, error) {
	names, err := s.h.List(ctx, path.Join(s.root, "releases"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing the folders of the releases: %w", err)
	}
	return names, nil
}

var errNoLink = errors.New("it is no link")

// Link is where `current` points, as it stands there; empty when there is none.
func (s *Store) Link(ctx context.Context) (string, error) {
	target, err := s.h.Readlink(ctx, s.CurrentLink())
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return target, nil
	}
	if _, statErr := s.h.Stat(ctx, s.CurrentLink()); statErr == nil {
		err = errNoLink
	}
	return "", fmt.Errorf("looking for the live release: %s: %w", s.CurrentLink(), err)
}

// linked is the id that a link's target names; empty when it names no release.
func (s *Store) linked(target string) string {
	id := path.Base(target)
	if idForm.MatchString(id) && (target == path.Join("releases", id) || target == s.Dir(id)) {
		return id
	}
	return ""
}

type inspection struct {
	s       *Store
	all     []Release
	folders []string
	link    string
	linkErr error
	found   []Disagreement
}

func (in *inspection) add(blocks bool, format string, args ...any) {
	in.found = append(in.found, Disagreement{Text: host.Redact(fmt.Sprintf(format, args...)), Blocks: blocks})
}

// live is the record that `current` names; nil when there is none.
func (in *inspection) live() *Release {
	i := slices.IndexFunc(in.all, func(r Release) bool { return r.ID == in.s.linked(in.link) })
	if in.link == "" || i < 0 {
		return nil
	}
	return &in.all[i]
}

// good are the releases that `current` may name, newest first.
func (in *inspection) good() string {
	var ids []string
	for _, r := range slices.Backward(in.all) {
		if (r.State == Live || r.State == Verified) && slices.Contains(in.folders, r.ID) {
			ids = append(ids, fmt.Sprintf("%s (%s)", r.ID, r.State))
		}
	}
	if len(ids) == 0 {
		return "a release that was live; services:status says which one the processes run"
	}
	return "one of " + strings.Join(ids, ", ") + "; services:status says which one the processes run"
}

// current looks at the link. With damaged records only at whether it leads
// somewhere.
func (in *inspection) current(damaged bool) {
	name, id := in.s.CurrentLink(), in.s.linked(in.link)
	repair := "The records can be trusted. `ln -sfn releases/<id> " + name + "` points it to a release: " + in.good()
	switch {
	case errors.Is(in.linkErr, errNoLink):
		in.add(true, "%s is no link but a file or a folder: the suite did not make it, and it is not touched. Move it away. %s", name, repair)
	case in.linkErr != nil:
	case in.link == "":
		if !damaged {
			in.noLink()
		}
	case id == "":
		in.add(true, "%s points to %s, which is no release of this target. %s", name, in.link, repair)
	case !slices.Contains(in.folders, id):
		in.add(true, "%s points to release %s, whose folder is not there: what runs goes on until it is restarted. %s", name, id, repair)
	case damaged:
	case in.live() == nil:
		in.add(true, "%s points to release %s, which is not recorded in %s: its folder is there, its Alembic head and backup are not known. Where the record was lost, copy it back out of the note “release” in the journal of the operation that built it; where somebody else put the folder there: %s", name, id, in.s.file(), repair)
	default:
		in.liveState(*in.live())
	}
}

// noLink is right before the first deployment and after one that was undone.
func (in *inspection) noLink() {
	for _, r := range slices.Backward(in.all) {
		if r.State == Verified {
			in.add(true, "%s is not there, though release %s was verified: the next deployment would take itself for the first. `ln -s releases/%s %s` puts it back, if that is what runs (services:status says so)",
				in.s.CurrentLink(), r.ID, r.ID, in.s.CurrentLink())
			return
		}
	}
}

func (in *inspection) liveState(live Release) {
	name := in.s.CurrentLink()
	switch live.State {
	case Live, Verified:
	case Building, Fetched:
		in.add(true, "%s points to release %s, which is recorded as %s: it has no complete environment and cannot be started. The records can be trusted: `ln -sfn releases/<id> %s` points it to %s", name, live.ID, live.State, name, in.good())
	default:
		in.add(false, "%s points to release %s, which is recorded as %s: it is there and can run, but is no good release to go back to. `deploy` of a good commit mends this; where an operation is unfinished, `resume` does", name, live.ID, live.State)
	}
	if live.Activated == nil || len(live.Commit) < 8 {
		in.add(true, "release %s, to which %s points, is recorded without %s: the code runs, but what comes next cannot be planned from it. Complete its record in %s out of the journal of the operation that activated it",
			live.ID, name, map[bool]string{true: "the time of its activation", false: "its commit"}[live.Activated == nil], in.s.file())
	}
}
