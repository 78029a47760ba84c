package checklist

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
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
	if err := t.serversAnswer(ctx, lookRedis); err != nil { // where the pause flag is
		return err
	}
	f := factsOf(p)
	if p.leaves != "" { // in an earlier try
		err = r.NoteOnce(ctx, factPrevious, p.leaves)
	} else {
		err = t.notePrevious(ctx, r)
	}
	if err != nil {
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
	case p.leaves != "" && p.Way == WayCode:
		return "an earlier try has gone back to that release already: its repair is begun anew"
	case p.leaves != "":
		return "the code is that of an earlier try, which has gone back already: it is finished, its repair begun anew"
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
	none := t.chooseRelease(ctx, p, o.To)
	if none != nil && p.Live.ID == "" {
		return nil, none
	}
	err := t.beginAnew(ctx, p, &o)
	switch {
	case err != nil:
		return nil, err
	case o.KeepRelease:
		p.To = p.Live
	case none != nil && p.leaves == "":
		return nil, none
	}
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

// beginAnew has p do again what an earlier gradual rollback was left with: where
// that has gone back already, the live release is the one to go to, not the one
// to leave, and the rows to repair differ from the same backup.
func (t *Target) beginAnew(ctx context.Context, p *RollbackPlan, o *Options) error {
	if o.KeepRelease || o.To != "" && o.To != p.Live.ID {
		return nil
	}
	logs, err := journal.Newest(ctx, t.Host, t.journalDir(), wholeDeployment)
	if err != nil {
		return err
	}
	// The one that asks has not ended.
	logs = slices.DeleteFunc(logs, func(log journal.Log) bool { return log.Outcome() == "" })
	for _, log := range stillOpen(logs) {
		if log.Outcome() != journal.Left {
			continue
		}
		var to release.Release
		var from, backup string
		for key, v := range map[string]any{factRelease: &to, factPrevious: &from, factBackupChosen: &backup} {
			if _, err := log.Fact(key, v); err != nil {
				return err
			}
		}
		if to.ID == p.Live.ID && from != "" && from != to.ID {
			p.To, p.leaves, o.Backup = p.Live, from, cmp.Or(o.Backup, backup)
		}
		return nil
	}
	return nil
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
