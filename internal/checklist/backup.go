package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

const (
	factBackup        = "backup"         // string: id of the complete backup of this operation
	factBackupPartial = "backup.partial" // string: folder that is being filled
	dumpFile          = "database.dump"
	partialPrefix     = ".partial-"
)

// backupStep is "Backup Data".
type backupStep struct{ inputs }

func (backupStep) String() string { return "backup:create" }

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
	return r.NoteOnce(ctx, factBackup, m.ID)
}

// Skip passes over it where the operation has its backup from before it began:
// one of now may be of after the migration.
func (s backupStep) Skip(ctx context.Context, r *step.Run) (string, error) {
	var id string
	if ok, err := r.Operation.Fact(factBackup, &id); err != nil || !ok {
		return "", err
	}
	return "backup " + id + " is the one to go back to", nil
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
	if _, err := s.t.VerifyBackup(ctx, id, BackupCheck{Progress: r.Progress}); err != nil {
		return false, err
	}
	r.Say("%s was complete, proven again", id)
	return true, r.NoteOnce(ctx, factBackup, id)
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
	progress, ended := faultWithin(ctx, r, "dumping")
	info, err := postgres.Dump(ctx, t.Host, postgres.DumpOptions{
		URL: u, ApplicationName: r.ApplicationName(), File: file, BinDir: t.Config.Database.Tools, Progress: progress,
	})
	if err := ended(err); err != nil {
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

// faultWithin reports the progress of a long call and sets off the step's fault
// point within it, once; behind it, where it showed no progress.
func faultWithin(ctx context.Context, r *step.Run, text string) (progress func(done, total int64), ended func(error) error) {
	faulted := false
	var fault error
	progress = func(done, total int64) {
		r.Progress(done, total, text)
		if !faulted {
			faulted, fault = true, r.Fault(ctx, "during")
		}
	}
	return progress, func(err error) error {
		if err == nil && !faulted {
			fault = r.Fault(ctx, "during")
		}
		return errors.Join(err, fault)
	}
}

// roomNeeded is the disk space, in bytes, that a backup and a release may
// take: a custom-format dump is smaller than the database it comes from.
func roomNeeded(databaseSize int64) int64 {
	const releaseSize = 300 << 20 // code and virtual environment
	return databaseSize/2 + releaseSize
}
