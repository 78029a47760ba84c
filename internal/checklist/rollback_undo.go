package checklist

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// takeMigrationsBack runs the newer release's migrations backwards: under the
// older code where that can live with both schemas, else with the API stopped.
func (t *Target) takeMigrationsBack(ctx context.Context, r *step.Run, f rollbackFacts, to release.Release) error {
	var err error
	if f.Beside {
		err = t.rollAPI(ctx, r, to.ID)
	} else {
		err = t.stopAPI(ctx, r)
	}
	if err != nil {
		return err
	}
	// Rows may have been written since it was chosen.
	live, err := previous(r.Operation)
	if err != nil {
		return err
	}
	again := &RollbackPlan{Live: release.Release{ID: live}, To: to}
	if again.Head, err = t.databaseHead(ctx); err != nil {
		return err
	}
	if again.Head == to.Head {
		return nil // an interrupted try came as far
	}
	if why, err := t.againstDowngrade(ctx, again); err != nil || why != "" {
		return fmt.Errorf("the downgrade was possible when it was chosen and is not now: %s (%w)", why, orFault(err))
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	out := &lineWriter{each: func(line string) { r.Progress(0, 0, line) }}
	if err := t.migrator(r, f.Knows).Downgrade(ctx, cmp.Or(to.Head, "base"), out); err != nil {
		return err
	}
	r.Say("%s → %s by the migrations of release %s: %s", orNone(f.Head), orNone(to.Head), f.Knows, migrationsText(f.Migrations))
	return nil
}

func orFault(err error) error {
	if err == nil {
		return step.ErrFault
	}
	return err
}

// swapIn makes the restored database the live one and keeps the other whole.
func (t *Target) swapIn(ctx context.Context, r *step.Run, f rollbackFacts) error {
	var names restoreNames
	if _, err := r.Operation.Fact(factRestore, &names); err != nil {
		return err
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	if err := t.stopAPI(ctx, r); err != nil { // whoever may have started it since
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	left, err := previous(r.Operation)
	if err != nil {
		return err
	}
	if err := postgres.Swap(ctx, t.Host, postgres.SwapOptions{
		URL: u, ApplicationName: r.ApplicationName(), Side: names.Side, Kept: names.Kept,
		Reason: fmt.Sprintf("left with release %s, backup %s is live instead", left, f.Backup), Token: r.Token(), Operation: r.ID(),
	}); err != nil {
		return err
	}
	r.Say("backup %s is live; the replaced database is kept whole as %s", f.Backup, names.Kept)
	return nil
}

// Undo brings the database back to what it was: by the migrations forwards, or
// by swapping the kept one in again. What a started release wrote into the
// restored one is kept with that.
func (s databaseStep) Undo(ctx context.Context, r *step.Run) error {
	t := s.t
	f, err := rollbackOf(r.Operation)
	if err != nil {
		return err
	}
	if f.Way == WayDowngrade {
		return t.migrateForwardAgain(ctx, r, f)
	}
	var names restoreNames
	if ok, err := r.Operation.Fact(factRestore, &names); err != nil || !ok {
		return err
	}
	back := names.Side // not written to: it goes with what prepared it
	var atWork bool
	if _, err := r.Operation.Fact(factAtWork, &atWork); err != nil {
		return err
	}
	if atWork {
		back = strings.Replace(names.Kept, "_kept_", "_left_", 1)
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	if swapped, err := t.swapped(ctx, names); err != nil || !swapped {
		return err
	}
	if err := t.stopAPI(ctx, r); err != nil {
		return err
	}
	if err := postgres.Swap(ctx, t.Host, postgres.SwapOptions{
		URL: u, ApplicationName: r.ApplicationName(), Side: names.Kept, Kept: back,
		Reason: "restored from backup " + f.Backup + " by a rollback that was taken back", Token: r.Token(), Operation: r.ID(),
	}); err != nil {
		return err
	}
	r.Say("the database is the one from before")
	if atWork {
		r.Say("the database is the one from before; the restored one, with what was written there, is kept as %s", back)
	}
	return nil
}

// migrateForwardAgain undoes a downgrade.
func (t *Target) migrateForwardAgain(ctx context.Context, r *step.Run, f rollbackFacts) error {
	head, err := t.databaseHead(ctx)
	if err != nil || head == f.Head {
		return err
	}
	if !f.Beside {
		if err := t.stopAPI(ctx, r); err != nil {
			return err
		}
	}
	out := &lineWriter{each: func(line string) { r.Progress(0, 0, line) }}
	if err := t.migrator(r, f.Knows).Upgrade(ctx, f.Head, out); err != nil {
		return err
	}
	r.Say("the database is at %s again", orNone(f.Head))
	return nil
}
