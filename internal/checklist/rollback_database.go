package checklist

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// restoring reports whether a rollback restores a backup; a reason to skip a
// step where it does not.
func restoring(r *step.Run) (skip string, err error) {
	f, err := rollbackOf(r.Operation)
	if err != nil || f.Way == WayRestore {
		return "", err
	}
	return fmt.Sprintf("the way is %s: the database stays, with every row", f.Way), nil
}

// backupOf is the backup that a rollback restores.
func (t *Target) backupOf(ctx context.Context, r *step.Run) (*Manifest, error) {
	f, err := rollbackOf(r.Operation)
	if err != nil {
		return nil, err
	}
	return t.Manifest(ctx, f.Backup)
}

// prepareStep is "Restore database from backup", as far as it can be done while
// the service runs: proven again, restored beside the live database, checked.
type prepareStep struct{ inputs }

func (prepareStep) String() string { return "rollback:prepare" }

func (prepareStep) Deadline() time.Duration { return 6 * time.Hour }

func (prepareStep) Skip(_ context.Context, r *step.Run) (string, error) { return restoring(r) }

func (s prepareStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	m, err := t.backupOf(ctx, r)
	if err != nil {
		return err
	}
	if same, err := t.sameServer(ctx, m); err != nil {
		return err
	} else if !same {
		return fmt.Errorf("%w: backup %s is of another PostgreSQL server (system identifier %s): choose one of this server by -backup", step.ErrFault, m.ID, m.Database.SystemIdentifier)
	}
	r.Progress(0, 0, "checking backup "+m.ID)
	if err := postgres.VerifyDump(ctx, t.Host, t.dumpOf(m), m.Database, postgres.VerifyOptions{BinDir: t.Config.Database.Tools}); err != nil {
		return fmt.Errorf("%w: backup %s: %w: nothing was stopped; -backup chooses another one", step.ErrFault, m.ID, err)
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	names, err := restoreNamesFor(ctx, r, u.Database, "_rollback")
	if err != nil {
		return err
	}
	progress, ended := faultWithin(ctx, r, "restoring into "+names.Side)
	err = postgres.Restore(ctx, t.Host, postgres.RestoreOptions{
		URL: u, ApplicationName: r.ApplicationName(), File: t.dumpOf(m), Info: m.Database, Side: names.Side,
		Jobs: t.Config.Database.Jobs, BinDir: t.Config.Database.Tools, Token: r.Token(), Operation: r.ID(),
		Progress: progress,
	})
	if err := ended(err); err != nil {
		return err
	}
	r.Say("backup %s restored into %s: %s rows, schema and Alembic head as in its manifest", m.ID, names.Side, report.Count(m.Database.Total()))
	return nil
}

// Probe asks whether the side database was completed.
func (s prepareStep) Probe(ctx context.Context, r *step.Run) (bool, error) {
	var names restoreNames
	if ok, err := r.Operation.Fact(factRestore, &names); err != nil || !ok {
		return false, err
	}
	all, err := s.t.listKept(ctx)
	if err != nil {
		return false, err
	}
	if !slices.ContainsFunc(all, func(k postgres.KeptDatabase) bool { return k.Name == names.Side && k.Complete && k.Operation == r.ID() }) {
		return false, nil
	}
	r.Say("%s was complete", names.Side)
	return true, nil
}

// Undo drops the side database. After a swap there is none.
func (s prepareStep) Undo(ctx context.Context, r *step.Run) error {
	var names restoreNames
	if ok, err := r.Operation.Fact(factRestore, &names); err != nil || !ok {
		return err
	}
	u, err := s.t.databaseURL()
	if err != nil {
		return err
	}
	return postgres.DropSide(ctx, s.t.Host, u.WithDatabase(names.Side), r.ApplicationName())
}

// writtenStep finds what was written since the backup that is restored, while
// nobody writes any more, and carries it over where that was asked for.
type writtenStep struct {
	inputs
	carry string
}

func (writtenStep) String() string { return "rollback:written" }

func (writtenStep) ChangesService() {}

func (writtenStep) Deadline() time.Duration { return 2 * time.Hour }

// Skip also passes over it behind the swap: what is live then is the backup.
func (s writtenStep) Skip(ctx context.Context, r *step.Run) (string, error) {
	why, err := restoring(r)
	var names restoreNames
	if err != nil || why != "" {
		return why, err
	}
	if ok, err := r.Operation.Fact(factRestore, &names); err != nil || !ok {
		return "", err
	}
	if swapped, err := s.t.swapped(ctx, names); err != nil || !swapped {
		return "", err
	}
	return "the restored database is live already", nil
}

// WrittenFile is where the rows are listed that an immediate rollback found.
func (t *Target) WrittenFile(op string) string {
	return path.Join(t.opsDir(), "rollback", op, "written.csv")
}

func (s writtenStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	m, err := t.backupOf(ctx, r)
	if err != nil {
		return err
	}
	var names restoreNames
	if _, err := r.Operation.Fact(factRestore, &names); err != nil {
		return err
	}
	if err := t.stopAPI(ctx, r); err != nil {
		return err
	}
	// Somebody may have started the service again since an interrupted try has
	// looked; what that has carried over does not differ any more.
	var before rowdiff.Diff
	again, err := r.Operation.Fact(factWritten, &before)
	if err != nil {
		return err
	}
	file := t.WrittenFile(r.ID())
	if again && s.carry == CarryAll {
		file = strings.TrimSuffix(file, ".csv") + fmt.Sprintf("-%d.csv", r.Token())
	}
	diff, err := t.findWritten(ctx, r, m, names, file)
	if err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	text := writtenSummary(diff)
	if earlier := writtenSummary(before); text == "" && earlier != "" && s.carry == CarryAll {
		r.Say("%s since backup %s: carried over before this was interrupted", earlier, m.ID)
		return nil
	}
	if text == "" {
		r.Say("nothing was written since backup %s", m.ID)
		return nil
	}
	if err := t.fenceSide(ctx, r, names); err != nil {
		return err
	}
	o := rowdiff.CarryOptions{
		Host: t.Host, Live: t.comparison(m, names.Side, "").Live, Side: names.Side, ApplicationName: r.ApplicationName(), Token: r.Token(), Operation: r.ID(),
		Progress: r.Progress,
	}
	if s.carry != CarryAll {
		r.Say("%s since backup %s: listed in %s, and kept in %s", text, m.ID, file, names.Kept)
		return rowdiff.MoveSequences(ctx, o)
	}
	carried, err := rowdiff.Carry(ctx, o)
	if err != nil {
		return err
	}
	r.Say("%s since backup %s: %s", text, m.ID, carriedText(carried))
	return r.Note(ctx, factCarried, carried)
}

// fenceSide moves the fence of the restored database to this operation's
// present token: whoever goes on has a newer one than who restored it.
func (t *Target) fenceSide(ctx context.Context, r *step.Run, names restoreNames) error {
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	conn, err := postgres.Connect(ctx, t.Host, u.WithDatabase(names.Side), r.ApplicationName())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.TakeFence(ctx, conn, r.Token(), r.ID())
}

const factCarried = "rollback.carried" // rowdiff.Carried

// findWritten compares, lists the rows in this file and notes how many they are.
func (t *Target) findWritten(ctx context.Context, r *step.Run, m *Manifest, names restoreNames, file string) (rowdiff.Diff, error) {
	o := t.comparison(m, names.Side, r.ApplicationName())
	o.Token, o.Operation = r.Token(), r.ID()
	o.Progress = r.Progress
	diff, err := rowdiff.Compare(ctx, o)
	if err != nil {
		return rowdiff.Diff{}, err
	}
	if err := t.listRows(ctx, file); err != nil {
		return *diff, err
	}
	return *diff, r.Note(ctx, factWritten, diff)
}

// databaseStep brings the database to the release to go back to.
type databaseStep struct{ inputs }

func (databaseStep) String() string { return "rollback:database" }

func (databaseStep) ChangesService() {}

func (s databaseStep) Deadline() time.Duration {
	return s.t.Config.Database.StatementTimeout + s.t.startDeadline()
}

func (databaseStep) Skip(_ context.Context, r *step.Run) (string, error) {
	f, err := rollbackOf(r.Operation)
	if err != nil || f.Way != WayCode {
		return "", err
	}
	return "the database is at " + orNone(f.Head) + " already", nil
}

func (s databaseStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	f, err := rollbackOf(r.Operation)
	if err != nil {
		return err
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if f.Way == WayDowngrade {
		err = t.takeMigrationsBack(ctx, r, f, rel)
	} else {
		err = t.swapIn(ctx, r, f)
	}
	if err != nil {
		return err
	}
	return t.headMatches(ctx, rel)
}
