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
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
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

const (
	factBackup        = "backup"         // string: id of the complete backup of this operation
	factBackupPartial = "backup.partial" // string: folder that is being filled
	dumpFile          = "database.dump"
	partialPrefix     = ".partial-"
)

// backupStep is "Backup Data".
type backupStep struct{ inputs }

func (backupStep) String() string          { return "backup:create" }
func (backupStep) Deadline() time.Duration { return 2 * time.Hour }

func (s backupStep) Describe(context.Context) ([]string, error) {
	return []string{
		"pg_dump -Fc of database " + s.t.Config.Database.Name + " under an exported snapshot, and the copy of .env, into a new folder of " + path.Join(s.t.Config.Root, "backups"),
		"sha256, pg_restore --list and the row counts of the dump against the database's",
	}, nil
}

func (s backupStep) Run(ctx context.Context, r *step.Run) error {
	if err := withinWindow(r.Operation); err != nil {
		return err
	}
	live, err := s.t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	if err := s.Undo(ctx, r); err != nil { // what an interrupted try has left
		return err
	}
	m, err := s.t.createBackup(ctx, r, "before a deployment", live)
	if err != nil {
		// Now: a full disk could not take the record of the failure.
		return errors.Join(err, s.Undo(context.WithoutCancel(ctx), r))
	}
	r.Say("%s: %s, %d tables, %s rows, proven", m.ID, report.Bytes(m.Database.Size), len(m.Database.Rows), report.Count(m.Database.Total()))
	return r.Note(ctx, factBackup, m.ID)
}

// Probe asks whether the dump was completed, and proves it again.
func (s backupStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	var partial string
	if ok, err := r.Fact(factBackupPartial, &partial); err != nil || !ok {
		return false, err
	}
	id := strings.TrimPrefix(path.Base(partial), partialPrefix)
	if _, err := s.t.Host.Stat(ctx, s.t.backupDir(id)); err != nil {
		return false, nil // it has not got its name
	}
	if _, err := s.t.VerifyBackup(ctx, id); err != nil {
		return false, err
	}
	r.Say("%s was complete, proven again", id)
	return true, r.Note(ctx, factBackup, id)
}

// Undo removes a backup that was not completed. A complete one is kept: it
// costs room and nothing else.
func (s backupStep) Undo(ctx context.Context, r *step.Run) error {
	var partial string
	if ok, err := r.Operation.Fact(factBackupPartial, &partial); err != nil || !ok {
		return err
	}
	return s.t.Host.Remove(ctx, partial)
}

// createBackup dumps the database and copies .env into a folder of its own,
// and gives it its name only when everything in it was checked.
// of is the release that the database serves; nil before the first deployment.
func (t *Target) createBackup(ctx context.Context, r *step.Run, purpose string, of *release.Release) (*Manifest, error) {
	m := &Manifest{V: ManifestVersion, Created: t.Now().UTC(), Operation: r.ID(), Purpose: purpose}
	commit, envFile := "unmanaged", t.Config.Env.File
	if of != nil {
		m.Release, m.Commit = of.ID, of.Commit
		commit, envFile = of.Commit[:8], path.Join(t.Releases.Dir(of.ID), ".env")
	}
	m.ID = m.Created.Format("20060102T150405Z") + "-" + commit
	if _, err := t.Host.Stat(ctx, t.backupDir(m.ID)); err == nil {
		return nil, fmt.Errorf("backup %s is there already: wait a second", m.ID)
	}
	partial := t.backupDir(partialPrefix + m.ID)
	if err := r.Note(ctx, factBackupPartial, partial); err != nil {
		return nil, err
	}
	if err := t.Host.Mkdir(ctx, partial, 0o700); err != nil {
		return nil, fmt.Errorf("creating a backup: %w", err)
	}
	if err := t.dump(ctx, r, m, path.Join(partial, dumpFile)); err != nil {
		return nil, err
	}
	env, err := t.Host.ReadFile(ctx, envFile)
	if err != nil {
		return nil, fmt.Errorf("copying %s: %w", envFile, err)
	}
	m.Env = EnvCopy{File: ".env", Bytes: len(env)}
	if err := t.Host.WriteFile(ctx, path.Join(partial, m.Env.File), env, 0o600); err != nil {
		return nil, fmt.Errorf("copying %s: %w", envFile, err)
	}
	if err := t.writeManifest(ctx, partial, m); err != nil {
		return nil, err
	}
	if err := t.Host.Rename(ctx, partial, t.backupDir(m.ID)); err != nil {
		return nil, fmt.Errorf("completing backup %s: %w", m.ID, err)
	}
	return m, nil
}

// dump writes and proves the database's part.
func (t *Target) dump(ctx context.Context, r *step.Run, m *Manifest, file string) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	faulted := false
	var fault error
	info, err := postgres.Dump(ctx, t.Host, postgres.DumpOptions{
		URL: u, ApplicationName: r.ApplicationName(), File: file, BinDir: t.Config.Database.Tools,
		Progress: func(done, total int64) {
			r.Progress(done, total, "dumping")
			if !faulted {
				faulted, fault = true, r.Fault(ctx, "during")
			}
		},
	})
	if err == nil && !faulted {
		fault = r.Fault(ctx, "during")
	}
	if err := errors.Join(err, fault); err != nil {
		return err
	}
	m.Database = info
	r.Progress(0, 0, "checking")
	if err := postgres.VerifyDump(ctx, t.Host, file, info, postgres.VerifyOptions{BinDir: t.Config.Database.Tools}); err != nil {
		return err
	}
	now := t.Now().UTC()
	m.Proof.Contents = &now
	return nil
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
			m.Proof = Proof{} // whatever it was: it counts as good no more
			err = errors.Join(err, t.writeManifest(ctx, dir, m))
		}
		return nil, fmt.Errorf("%w: backup %s: %w", step.ErrFault, id, err)
	}
	env, err := t.Host.ReadFile(ctx, path.Join(dir, m.Env.File))
	if err != nil || len(env) != m.Env.Bytes {
		return nil, fmt.Errorf("%w: backup %s: its copy of .env has %d bytes, %d were written (%v)", step.ErrFault, id, len(env), m.Env.Bytes, err)
	}
	now := t.Now().UTC()
	m.Proof.Contents = &now
	if t.Config.Backup.Verify == config.VerifyRestore {
		if err := t.proveByRestoring(ctx, m); err != nil {
			return nil, err
		}
		now = t.Now().UTC()
		m.Proof.Restored = &now
	}
	return m, t.writeManifest(ctx, dir, m)
}

// proveByRestoring restores a backup into a scratch database, whose rows and
// Alembic heads are held against the manifest, and drops that again.
func (t *Target) proveByRestoring(ctx context.Context, m *Manifest) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	scratch := u.Database + "_proof"
	t.Observer.Log("backup:verify", "restoring into "+scratch)
	if err := postgres.Restore(ctx, t.Host, postgres.RestoreOptions{
		URL: u, ApplicationName: "etf-deploy", File: path.Join(t.backupDir(m.ID), dumpFile), Info: m.Database,
		Side: scratch, Jobs: t.Config.Database.Jobs, BinDir: t.Config.Database.Tools,
	}); err != nil {
		return fmt.Errorf("%w: backup %s: %w", step.ErrFault, m.ID, err)
	}
	return postgres.DropSide(ctx, t.Host, u.WithDatabase(scratch), "etf-deploy")
}

// roomNeeded is the disk space, in bytes, that a backup and a release may
// take: a custom-format dump is smaller than the database it comes from.
func roomNeeded(databaseSize int64) int64 {
	const releaseSize = 300 << 20 // code and virtual environment
	return databaseSize/2 + releaseSize
}
