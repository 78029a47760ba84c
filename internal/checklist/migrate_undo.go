package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Undo brings the schema back to what it was found as. What Alembic says is
// not enough: a migration that failed half-way may have left things behind
// that no revision knows. So the catalog decides: first the way back by the
// release's own downgrades, and where that does not lead to the same schema,
// the backup, restored beside and swapped in.
func (s migrateStep) Undo(ctx context.Context, r *step.Run) error {
	t := s.t
	var before schemaState
	if ok, err := r.Operation.Fact(factSchema, &before); err != nil || !ok {
		return err
	}
	if err := t.schemaBack(ctx, r, before); err != nil {
		return err
	}
	// The API was stopped for the migration, whoever stopped the workers.
	var since time.Time
	stopped, err := r.Operation.Fact(factAPIStopped, &since)
	if err != nil || !stopped {
		return err
	}
	live, err := t.Releases.Current(ctx)
	if err != nil || live == nil {
		return err
	}
	return t.rollAPI(ctx, r, live.ID)
}

// schemaBack brings the schema back, by the shortest way that leads there.
func (t *Target) schemaBack(ctx context.Context, r *step.Run, before schemaState) error {
	now, err := t.schemaState(ctx)
	if err != nil {
		return err
	}
	if now == before {
		r.Say("the schema is as before, at %s", orNone(before.Head))
		return nil
	}
	var plan migrationPlan
	if _, err := r.Operation.Fact(factMigrations, &plan); err != nil {
		return err
	}
	var atWork bool
	if _, err := r.Operation.Fact(factAtWork, &atWork); err != nil {
		return err
	}
	if !atWork && plan.ChangesData {
		r.Log("the migrations change rows, which a downgrade does not bring back: restoring the backup")
		return t.restoreBackup(ctx, r, before)
	}
	if atWork {
		if err := t.keepWritten(ctx, r); err != nil {
			return err
		}
	}
	downgradeErr := t.downgrade(ctx, r, now, before)
	if downgradeErr == nil {
		rewritten := ""
		if plan.ChangesData {
			var backup string
			if _, err := r.Operation.Fact(factBackup, &backup); err != nil {
				return err
			}
			rewritten = "; rows that the migrations changed stay changed, backup " + backup + " has them as they were"
		}
		r.Say("downgraded to %s, the schema is as before%s", orNone(before.Head), rewritten)
		return nil
	}
	r.Log("the downgrade does not lead back (%v): restoring the backup", downgradeErr)
	return t.restoreBackup(ctx, r, before)
}

// factKeptBackup is the id of the backup with what the new release wrote.
const factKeptBackup = "backup.kept"

// keepWritten backs up what the new code has written, once: what it wrote into
// columns that go with the downgrade is nowhere else.
func (t *Target) keepWritten(ctx context.Context, r *step.Run) error {
	var id string
	if ok, err := r.Operation.Fact(factKeptBackup, &id); err != nil || ok {
		return err
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	m, err := t.createBackup(ctx, r, "before a migration is taken back, with what the new release wrote", &rel)
	if err != nil {
		return errors.Join(err, backupStep{inputs{t}}.Undo(context.WithoutCancel(ctx), r))
	}
	m.Keep = true
	if err := t.writeManifest(ctx, t.backupDir(m.ID), m); err != nil {
		return err
	}
	r.Log("what release %s wrote is kept in backup %s", rel.ID, m.ID)
	return r.Note(ctx, factKeptBackup, m.ID)
}

// downgrade goes back by the migrations of the release to come and makes sure
// that this led to the very schema it was before.
func (t *Target) downgrade(ctx context.Context, r *step.Run, now, before schemaState) error {
	if now.Head == before.Head {
		return errors.New("no revision knows what was left behind")
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	target := cmp.Or(before.Head, "base")
	out := &lineWriter{each: func(line string) { r.Progress(0, 0, line) }}
	if err := t.migrator(r, rel.ID).Downgrade(ctx, target, out); err != nil {
		return err
	}
	after, err := t.schemaState(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return errors.New("the downgrade left another schema than before")
	}
	return nil
}

// restoreNames are the databases that a restore works with.
type restoreNames struct{ Side, Kept string }

// restoreNamesFor are the databases that an operation restores with. They are
// noted first: whoever takes over goes on with the same. why ends the name of the
// one that is kept.
func restoreNamesFor(ctx context.Context, r *step.Run, live, why string) (names restoreNames, err error) {
	if ok, err := r.Operation.Fact(factRestore, &names); err != nil || ok {
		return names, err
	}
	stamp := r.Now().UTC().Format("20060102t150405")
	names = restoreNames{Side: live + "_side_" + stamp, Kept: live + "_kept_" + stamp + why}
	return names, r.Note(ctx, factRestore, names)
}

// restoreBackup swaps in the backup of this operation. The database that it
// replaces is kept under a name of its own, with all that was written since.
func (t *Target) restoreBackup(ctx context.Context, r *step.Run, before schemaState) error {
	var id string
	if ok, err := r.Operation.Fact(factBackup, &id); err != nil {
		return err
	} else if !ok {
		return errors.New("this operation has no backup to restore")
	}
	m, err := t.Manifest(ctx, id)
	if err != nil {
		return err
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	names, err := restoreNamesFor(ctx, r, u.Database, "")
	if err != nil {
		return err
	}
	// What the API wrote from here on would be in the replaced database only.
	if err := t.stopAPI(ctx, r); err != nil {
		return err
	}
	if err := postgres.Restore(ctx, t.Host, postgres.RestoreOptions{
		URL: u, ApplicationName: r.ApplicationName(), File: t.dumpOf(m), Info: m.Database,
		Side: names.Side, Jobs: t.Config.Database.Jobs, BinDir: t.Config.Database.Tools, Token: r.Token(), Operation: r.ID(),
		Progress: func(done, total int64) { r.Progress(done, total, "restoring") },
	}); err != nil {
		return err
	}
	if err := postgres.Swap(ctx, t.Host, postgres.SwapOptions{
		URL: u, ApplicationName: r.ApplicationName(), Side: names.Side, Kept: names.Kept,
		Reason: fmt.Sprintf("replaced by backup %s in %s", id, r.ID()), Token: r.Token(), Operation: r.ID(),
	}); err != nil {
		return err
	}
	after, err := t.schemaState(ctx)
	if err != nil {
		return err
	}
	if after != before {
		return fmt.Errorf("after the restore the schema is another than before (head %q)", after.Head)
	}
	since, err := t.writtenSince(ctx, r, u.WithDatabase(names.Kept), m)
	if err != nil {
		since = "what was written since the backup could not be counted: " + err.Error()
	}
	r.Say("restored backup %s; the replaced database is kept whole as %s, %s", id, names.Kept, since)
	return nil
}

// writtenSince says how many rows the kept database has beyond the backup:
// what the API wrote between the backup and its stop. A table of the failed
// migration is not counted.
func (t *Target) writtenSince(ctx context.Context, r *step.Run, kept postgres.URL, m *Manifest) (string, error) {
	rows, err := postgres.CountRows(ctx, t.Host, kept, r.ApplicationName())
	if err != nil {
		return "", err
	}
	var more []string
	for _, table := range slices.Sorted(maps.Keys(m.Database.Rows)) {
		if n := rows[table] - m.Database.Rows[table]; n != 0 {
			more = append(more, fmt.Sprintf("%s %+d rows", table, n))
		}
	}
	if len(more) == 0 {
		return "as many rows in every table as in the backup (rows changed in place are not counted)", nil
	}
	return "against the backup " + join(more) + " (rows changed in place are not counted)", nil
}
