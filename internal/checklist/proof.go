package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// A BackupCheck says how far a backup is checked; the zero value is as far as
// the configuration asks for.
type BackupCheck struct {
	Restore  bool                                 // into a scratch database too, whatever the configuration says
	Progress func(done, total int64, text string) // nil: not shown
}

// VerifyBackup checks a backup again, the newest when id is empty, and records
// that it was found good.
func (t *Target) VerifyBackup(ctx context.Context, id string, check BackupCheck) (*Manifest, error) {
	m, err := t.backupOrNewest(ctx, id)
	if err != nil {
		return nil, err
	}
	progress := func(text string) func(done, total int64) {
		return func(done, total int64) {
			if check.Progress != nil {
				check.Progress(done, total, text)
			}
		}
	}
	dir := t.backupDir(m.ID)
	err = postgres.VerifyDump(ctx, t.Host, t.dumpOf(m), m.Database, postgres.VerifyOptions{BinDir: t.Config.Database.Tools, Progress: progress("reading the dump")})
	if err != nil {
		return nil, t.notProven(ctx, m.ID, Proof{}, err)
	}
	env, err := t.Host.ReadFile(ctx, path.Join(dir, m.Env.File))
	if err != nil || len(env) != m.Env.Bytes {
		return nil, fmt.Errorf("%w: backup %s: its copy of .env has %d bytes, %d were written (%v)", step.ErrFault, m.ID, len(env), m.Env.Bytes, err)
	}
	now := t.Now().UTC()
	proof := Proof{Contents: &now, Restored: m.Proof.Restored}
	if check.Restore || t.Config.Backup.Verify == config.VerifyRestore {
		if err := t.proveByRestoring(ctx, m, progress("restoring into a scratch database")); err != nil {
			return nil, t.notProven(ctx, m.ID, Proof{Contents: &now}, err)
		}
		restored := t.Now().UTC()
		proof.Restored = &restored
	}
	return t.writeProof(ctx, m.ID, proof)
}

func (t *Target) backupOrNewest(ctx context.Context, id string) (*Manifest, error) {
	if id != "" {
		return t.Manifest(ctx, id)
	}
	all, err := t.Backups(ctx)
	if err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%w: there is no backup yet: backup:create makes one", step.ErrFault)
	}
	return all[0], nil
}

// notProven is the error of a backup that could not be proven. Where the
// backup is to blame it counts as good only as far as left says.
func (t *Target) notProven(ctx context.Context, id string, left Proof, err error) error {
	var mismatch *postgres.MismatchError
	if errors.As(err, &mismatch) {
		_, writeErr := t.writeProof(ctx, id, left)
		err = errors.Join(err, writeErr)
	}
	return fmt.Errorf("%w: backup %s: %w", step.ErrFault, id, err)
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

// proveByRestoring restores a backup into a scratch database, where rows,
// Alembic heads and schema are held against the manifest, and drops that again.
func (t *Target) proveByRestoring(ctx context.Context, m *Manifest, progress func(done, total int64)) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	if warning, err := t.roomBeside(ctx, m.Database, "etf-deploy"); err != nil {
		return err
	} else if warning != "" {
		t.Observer.Log("backup:verify", warning)
	}
	return postgres.TryRestore(ctx, t.Host, postgres.RestoreOptions{
		URL: u, ApplicationName: "etf-deploy", File: t.dumpOf(m), Info: m.Database,
		Jobs: t.Config.Database.Jobs, BinDir: t.Config.Database.Tools, Progress: progress,
	})
}

// roomBeside asks, before anything is stopped for it, whether the database of
// a dump fits beside the live one. Where the server's disk cannot be seen from
// here that is a warning: it may fit.
func (t *Target) roomBeside(ctx context.Context, info postgres.DumpInfo, applicationName string) (warning string, err error) {
	u, err := t.databaseURL()
	if err != nil {
		return "", err
	}
	need, free, err := postgres.Room(ctx, t.Host, u, info, applicationName)
	switch {
	case errors.Is(err, postgres.ErrRoomNotSeen):
		return fmt.Sprintf("the restore needs about %s on the server's disk, and whether they are there is not known: %v", report.Bytes(need), err), nil
	case err != nil:
		return "", err
	case free < need:
		return "", fmt.Errorf("%w: no room for a second database beside the live one: about %s are needed, %s are free: make room on the server's disk, or drop kept databases (backup:list)",
			step.ErrFault, report.Bytes(need), report.Bytes(free))
	}
	return "", nil
}

// proofText says how far a backup was proven, and when.
func proofText(p Proof) string {
	text := "no"
	if p.Contents != nil {
		text = "contents " + p.Contents.Format(time.RFC3339)
	}
	if p.Restored != nil {
		text += ", restored " + p.Restored.Format(time.RFC3339)
	}
	return text
}
