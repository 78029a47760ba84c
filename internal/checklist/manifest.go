package checklist

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

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

// ManifestVersion is the format of the manifests that this program writes.
const ManifestVersion = 1

// A Manifest says what a backup holds and how far it was proven. A backup
// without one does not count.
type Manifest struct {
	V         int                `json:"v"`
	ID        string             `json:"id"`
	Created   time.Time          `json:"created"`
	Operation string             `json:"operation"`
	Purpose   string             `json:"purpose"`           // why it was taken
	Release   string             `json:"release,omitempty"` // that was live; empty before the first deployment
	Commit    string             `json:"commit,omitempty"`  // of that release
	Database  postgres.DumpInfo  `json:"database"`          // the dump at its snapshot
	Delta     *postgres.DumpInfo `json:"delta,omitempty"`   // what changed between the dump and the stop; none when the dump was taken inside it
	Env       EnvCopy            `json:"env"`
	Proof     Proof              `json:"proof"`
	Keep      bool               `json:"keep,omitempty"` // retention never removes it: it may hold rows that are nowhere else
}

// EnvCopy is the copy of the service's configuration.
type EnvCopy struct {
	File  string `json:"file"`
	Bytes int    `json:"bytes"`
}

// Proof is when a backup was last found good, and how.
type Proof struct {
	Contents *time.Time `json:"contents,omitempty"` // checksum, table of contents and row counts
	Restored *time.Time `json:"restored,omitempty"` // restored into a scratch database
}

func (t *Target) writeManifest(ctx context.Context, dir string, m *Manifest) error {
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return t.Host.WriteFile(ctx, path.Join(dir, "manifest.json"), append(b, '\n'), 0o600)
}

var backupID = regexp.MustCompile(`^\d{8}T\d{6}Z-([0-9a-f]{8}|unmanaged)$`)

// Manifest reads that of one backup.
func (t *Target) Manifest(ctx context.Context, id string) (*Manifest, error) {
	if !backupID.MatchString(id) {
		return nil, fmt.Errorf("%w: %q is no backup id; backup:list shows them", ErrUsage, id)
	}
	file := path.Join(t.backupDir(id), "manifest.json")
	b, err := t.Host.ReadFile(ctx, file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: there is no backup %s: backup:list shows those there are", ErrUsage, id)
	}
	if err != nil {
		return nil, err
	}
	var m Manifest
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, fmt.Errorf("reading %s: damaged: %w: the backup does not count; look at its dump by hand, or remove the folder", file, err)
	}
	if m.V > ManifestVersion {
		return nil, fmt.Errorf("reading %s: format %d, this program knows up to %d: use the newer program that wrote it", file, m.V, ManifestVersion)
	}
	return &m, nil
}

// A lostBackup is a folder of backups without a manifest that can be read.
type lostBackup struct {
	id    string
	empty bool // it has none: it never was a backup
	err   error
}

// Backups lists the complete backups, newest first.
func (t *Target) Backups(ctx context.Context) ([]*Manifest, error) {
	all, lost, err := t.readBackups(ctx)
	for _, l := range lost {
		err = errors.Join(err, l.err)
	}
	return all, err
}

// readBackups lists the complete ones and the others, each newest first.
func (t *Target) readBackups(ctx context.Context) (all []*Manifest, lost []lostBackup, err error) {
	names, err := t.Host.List(ctx, path.Join(t.Config.Root, "backups"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("listing backups: %w", err)
	}
	for _, name := range slices.Backward(names) {
		if !backupID.MatchString(name) {
			continue
		}
		m, err := t.Manifest(ctx, name)
		empty := errors.Is(err, ErrUsage)
		if empty { // nobody asked for this one
			err = fmt.Errorf("%s has no manifest.json: it does not count as a backup; look at its dump by hand, or remove the folder", t.backupDir(name))
		}
		if err != nil {
			lost = append(lost, lostBackup{name, empty, err})
			continue
		}
		all = append(all, m)
	}
	return all, lost, nil
}
