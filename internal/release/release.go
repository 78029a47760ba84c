// Package release knows what is installed on the target: the folders under
// <root>/releases, which of them `current` names, and in which state each is.
package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Version of releases.json that this package writes.
const Version = 1

// State says how far a release has come.
type State string

// States of a release. Only a verified one is a candidate for a rollback.
const (
	Building   State = "building"    // its folder is being filled; useless after a crash
	Fetched    State = "fetched"     // its code is there, its environment is not
	Installed  State = "installed"   // complete, never live
	Live       State = "live"        // current, not yet verified
	Verified   State = "verified"    // has passed the verification
	Failed     State = "failed"      // was live, did not pass, was taken back
	RolledBack State = "rolled-back" // was left by a rollback
)

// A Release is one commit with its own environment and configuration.
type Release struct {
	ID        string     `json:"id"` // UTC time and short commit
	Commit    string     `json:"commit"`
	Ref       string     `json:"ref"`     // what was asked for
	Subject   string     `json:"subject"` // first line of the commit message
	State     State      `json:"state"`
	Head      string     `json:"alembic_head,omitempty"` // of its code
	Operation string     `json:"operation"`              // that built it
	By        string     `json:"by"`
	Built     time.Time  `json:"built"`
	Activated *time.Time `json:"activated,omitempty"` // the last time it became current
	Backup    string     `json:"backup,omitempty"`    // taken before it was activated

	ActivatedBy string `json:"activated_by,omitempty"` // operation that last made it current
}

// What may be wrong with releases.json and with what is looked for in it.
var (
	ErrNotRecorded = errors.New("not recorded") // it does not know a release
	ErrDamaged     = errors.New("damaged")      // it cannot be read
	ErrNewer       = errors.New("newer")        // a newer program has written it
)

var idForm = regexp.MustCompile(`^\d{8}T\d{6}Z-[0-9a-f]{8}$`)

// NewID names a release by time and commit.
func NewID(commit string, now time.Time) string {
	return now.UTC().Format("20060102T150405Z") + "-" + commit[:min(8, len(commit))]
}

// A Store is the releases of one target.
type Store struct {
	h    host.Host
	root string
}

// NewStore looks at the releases under root.
func NewStore(h host.Host, root string) *Store { return &Store{h: h, root: root} }

// Dir is the folder of a release.
func (s *Store) Dir(id string) string { return path.Join(s.root, "releases", id) }

func (s *Store) file() string { return path.Join(s.root, "ops", "releases.json") }

type fileFormat struct {
	V        int       `json:"v"`
	Releases []Release `json:"releases"`
}

// All lists the recorded releases, oldest first.
func (s *Store) All(ctx context.Context) ([]Release, error) {
	b, err := s.h.ReadFile(ctx, s.file())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the releases: %w", err)
	}
	// The version first: what else a newer format changed cannot be known.
	var format struct {
		V int `json:"v"`
	}
	var f fileFormat
	err = json.Unmarshal(b, &format)
	if err == nil && format.V > Version {
		return nil, fmt.Errorf("reading the releases: %s has format %d and is %w than this program, which knows up to %d: use the newer program that wrote it", s.file(), format.V, ErrNewer, Version)
	}
	if err == nil {
		err = json.Unmarshal(b, &f)
	}
	if err == nil && f.V < 1 {
		err = errors.New("it has no format number")
	}
	if err != nil {
		return nil, fmt.Errorf("reading the releases: %s is %w (%w): keep a copy and mend it; the notes “release” in the journals hold each record, %s the folders", s.file(), ErrDamaged, err, path.Join(s.root, "releases"))
	}
	return f.Releases, nil
}

// Put records a release, a new one at the end. The caller holds the lease.
func (s *Store) Put(ctx context.Context, r Release) error {
	all, err := s.All(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(o Release) bool { return o.ID == r.ID })
	if i < 0 {
		all = append(all, r)
	} else {
		all[i] = r
	}
	return s.write(ctx, all)
}

// Remove deletes a release's folder and its record. The live one is refused.
func (s *Store) Remove(ctx context.Context, id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("removing release %q: that is no release id", id)
	}
	if live, err := s.Current(ctx); err != nil {
		return err
	} else if live != nil && live.ID == id {
		return fmt.Errorf("removing release %s: it is live", id)
	}
	all, err := s.All(ctx)
	if err != nil {
		return err
	}
	// A crash must not leave half a folder that still counts as a release.
	for i := range all {
		if all[i].ID == id && all[i].State != Building {
			all[i].State = Building
			if err := s.write(ctx, all); err != nil {
				return err
			}
		}
	}
	if err := s.h.Remove(ctx, s.Dir(id)); err != nil {
		return fmt.Errorf("removing release %s: %w", id, err)
	}
	return s.write(ctx, slices.DeleteFunc(all, func(o Release) bool { return o.ID == id }))
}

func (s *Store) write(ctx context.Context, all []Release) error {
	b, err := json.MarshalIndent(fileFormat{V: Version, Releases: all}, "", "  ")
	if err != nil {
		return err
	}
	if err := s.h.Mkdir(ctx, path.Dir(s.file()), 0o700); err != nil {
		return fmt.Errorf("recording the releases: %w", err)
	}
	if err := s.h.WriteFile(ctx, s.file(), append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("recording the releases: %w", err)
	}
	return nil
}

// Find returns the recorded release with this id.
func (s *Store) Find(ctx context.Context, id string) (Release, error) {
	all, err := s.All(ctx)
	if err != nil {
		return Release{}, err
	}
	for _, r := range all {
		if r.ID == id {
			return r, nil
		}
	}
	return Release{}, fmt.Errorf("release %s: %w in %s", id, ErrNotRecorded, s.file())
}

// CurrentLink is the link that names the live release.
func (s *Store) CurrentLink() string { return path.Join(s.root, "current") }

// Current is the live release; nil before the first deployment.
func (s *Store) Current(ctx context.Context) (*Release, error) {
	target, err := s.h.Readlink(ctx, s.CurrentLink())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the live release: %w", err)
	}
	id := path.Base(target)
	_, err = s.h.Stat(ctx, s.Dir(id))
	elsewhere := target != path.Join("releases", id) && target != s.Dir(id)
	if elsewhere || errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for the live release: %s points to %s, which is no release that is there: point it to one of %s", s.CurrentLink(), target, path.Join(s.root, "releases"))
	}
	if err != nil {
		return nil, fmt.Errorf("looking for the live release: %w", err)
	}
	r, err := s.Find(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("looking for the live release: %w", err)
	}
	return &r, nil
}

// SetCurrent switches `current` to a release in one step.
func (s *Store) SetCurrent(ctx context.Context, id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("switching to release %q: that is no release id", id)
	}
	if _, err := s.h.Stat(ctx, s.Dir(id)); err != nil {
		return fmt.Errorf("switching to release %s: %w", id, err)
	}
	// Relative, so that the root can be moved or mounted elsewhere.
	if err := s.h.Symlink(ctx, path.Join("releases", id), s.CurrentLink()); err != nil {
		return fmt.Errorf("switching to release %s: %w", id, err)
	}
	return nil
}

// ClearCurrent takes the link away: the state before a first deployment. What
// is no link is left alone.
func (s *Store) ClearCurrent(ctx context.Context) error {
	_, err := s.h.Readlink(ctx, s.CurrentLink())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = s.h.Remove(ctx, s.CurrentLink())
	}
	if err != nil {
		return fmt.Errorf("taking away the link to the live release: %w", err)
	}
	return nil
}
