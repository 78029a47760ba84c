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
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
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

// Backups lists the complete backups, newest first.
func (t *Target) Backups(ctx context.Context) ([]*Manifest, error) {
	names, err := t.Host.List(ctx, path.Join(t.Config.Root, "backups"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing backups: %w", err)
	}
	var all []*Manifest
	var faults []error
	for _, name := range slices.Backward(names) {
		if !backupID.MatchString(name) {
			continue
		}
		m, err := t.Manifest(ctx, name)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		all = append(all, m)
	}
	return all, errors.Join(faults...)
}

// VerifyBackup checks a backup again, the newest when id is empty, and records
// that it was found good.
func (t *Target) VerifyBackup(ctx context.Context, id string) (*Manifest, error) {
	if id == "" {
		all, err := t.Backups(ctx)
		if err != nil {
			return nil, err
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%w: there is no backup yet: backup:create makes one", step.ErrFault)
		}
		id = all[0].ID
	}
	m, err := t.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	dir := t.backupDir(id)
	if err := postgres.VerifyDump(ctx, t.Host, path.Join(dir, dumpFile), m.Database, postgres.VerifyOptions{BinDir: t.Config.Database.Tools}); err != nil {
		var mismatch *postgres.MismatchError
		if errors.As(err, &mismatch) {
			_, writeErr := t.writeProof(ctx, id, Proof{}) // it counts as good no more
			err = errors.Join(err, writeErr)
		}
		return nil, fmt.Errorf("%w: backup %s: %w", step.ErrFault, id, err)
	}
	env, err := t.Host.ReadFile(ctx, path.Join(dir, m.Env.File))
	if err != nil || len(env) != m.Env.Bytes {
		return nil, fmt.Errorf("%w: backup %s: its copy of .env has %d bytes, %d were written (%v)", step.ErrFault, id, len(env), m.Env.Bytes, err)
	}
	now := t.Now().UTC()
	proof := Proof{Contents: &now, Restored: m.Proof.Restored}
	if t.Config.Backup.Verify == config.VerifyRestore {
		if err := t.proveByRestoring(ctx, m); err != nil {
			return nil, err
		}
		restored := t.Now().UTC()
		proof.Restored = &restored
	}
	return t.writeProof(ctx, id, proof)
}

// writeProof changes that alone in the manifest as it is now: it took a while.
func (t *Target) writeProof(ctx context.Context, id string, proof Proof) (*Manifest, error) {
	m, err := t.Manifest(ctx, id)
	if err != nil {
		return nil, err
	}
	m.Proof = proof
	return m, t.writeManifest(ctx, t.backupDir(id), m)
}

// proveByRestoring restores a backup into a scratch database, whose rows and
// Alembic heads are held against the manifest, and drops that again.
func (t *Target) proveByRestoring(ctx context.Context, m *Manifest) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	scratch := u.Database + "_proof_" + strings.ToLower(strings.ReplaceAll(m.ID, "-", "_"))
	t.Observer.Log("backup:verify", "restoring into "+scratch)
	if err := postgres.Restore(ctx, t.Host, postgres.RestoreOptions{
		URL: u, ApplicationName: "etf-deploy", File: path.Join(t.backupDir(m.ID), dumpFile), Info: m.Database,
		Side: scratch, Jobs: t.Config.Database.Jobs, BinDir: t.Config.Database.Tools,
	}); err != nil {
		return fmt.Errorf("%w: backup %s: %w", step.ErrFault, m.ID, err)
	}
	return postgres.DropSide(ctx, t.Host, u.WithDatabase(scratch), "etf-deploy")
}
