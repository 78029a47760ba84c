package checklist

import (
	"context"
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// gradualChoose finds the release to go to, the way of its code and the backup,
// before anything is touched.
type gradualChoose struct {
	inputs
	o Options
}

func (gradualChoose) String() string { return "rollback:choose" }

func (s gradualChoose) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	p, err := t.planGradual(ctx, s.o)
	if err != nil {
		return err
	}
	f := factsOf(p)
	if err := t.notePrevious(ctx, r); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := r.Note(ctx, factBackupChosen, f.Backup); err != nil {
		return err
	}
	if err := r.Note(ctx, factRollback, f); err != nil {
		return err
	}
	r.Say("release %s “%s”, rows from backup %s", p.To.ID, p.To.Subject, f.Backup)
	return r.Note(ctx, factRelease, p.To)
}

// PlanGradual finds out what a gradual rollback would do, and changes nothing.
// With count it looks, too, which rows were written since the backup.
func (t *Target) PlanGradual(ctx context.Context, o Options, count bool) (*RollbackPlan, error) {
	p, err := t.planGradual(ctx, o)
	if err != nil || !count {
		return p, err
	}
	compare, _, err := t.compareWith(ctx, p.Backup)
	if err != nil {
		return nil, err
	}
	compare.ApplicationName = "etf-deploy"
	p.Written, err = rowdiff.Count(ctx, compare)
	return p, err
}

// gradualText says what becomes of the code, for a person.
func (p *RollbackPlan) gradualText() string {
	switch {
	case p.To.ID == p.Live.ID:
		return "the code stays, as -keep-release asks"
	case p.Way == WayCode:
		return "code only: the database is at that release's head"
	case p.Beside && p.Way == WayDowngrade:
		return "code, behind a downgrade under the running API: every row and value stays"
	case p.Beside:
		return fmt.Sprintf("code: the database stays at %s, which only adds to what that release knows", orNone(p.Head))
	}
	return "none for the code while the API answers: it stays, the rows are repaired, and the updates stay paused"
}

// planGradual is PlanRollback for a rollback that leaves the database where it
// is: without a way for the code it repairs the rows all the same.
func (t *Target) planGradual(ctx context.Context, o Options) (*RollbackPlan, error) {
	p := &RollbackPlan{Version: formatVersion, Gradual: true}
	if err := t.chooseRelease(ctx, p, o.To); err != nil {
		if !o.KeepRelease || p.Live.ID == "" {
			return nil, err
		}
	}
	if o.KeepRelease {
		p.To = p.Live
	}
	var err error
	if p.Head, err = t.databaseHead(ctx); err != nil {
		return nil, err
	}
	if p.Backup, err = t.backupToRepairFrom(ctx, p, o); err != nil {
		return nil, err
	}
	if o.KeepRelease {
		return p, nil
	}
	return p, t.chooseWay(ctx, p, []Way{WayCode, WayDowngrade})
}

// backupToRepairFrom is the one that was asked for; or the newest that was
// taken while the release to go to was live; or, where the code stays, the
// newest of all.
func (t *Target) backupToRepairFrom(ctx context.Context, p *RollbackPlan, o Options) (*Manifest, error) {
	if o.Backup == "" && o.KeepRelease {
		return t.backupToCompare(ctx, "")
	}
	m, err := t.backupFor(ctx, p.To, o.Backup)
	if err == nil && m == nil {
		err = fmt.Errorf("%w: there is no proven backup that was taken while release %s was live: `backup:list` shows those there are, -backup chooses one", step.ErrFault, p.To.ID)
	}
	return m, err
}
