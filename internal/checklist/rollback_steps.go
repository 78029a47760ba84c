package checklist

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// rollbackKind is the operation of an immediate rollback.
const rollbackKind = "rollback:immediate"

// immediate is "Immediate Rollback": what can be done while the service runs
// comes before the stop. What fails is taken back, up to the start of the
// release that it goes to; from then on the service stays there, and a
// verification that finds a fault is for a person to judge.
func (t *Target) immediate(o Options) Agenda {
	in := inputs{t}
	return Agenda{
		Steps: []step.Step{
			chooseStep{in, o},
			fenceStep{in},
			prepareStep{in},
			apiFirstStep{in},
			stopStep{inputs: in, byDeadline: true},
			writtenStep{in, o.Carry},
			goBackStep{in},
			databaseStep{in},
			startStep{in},
			leftStep{in},
		},
		Verify: t.verification(in),
		Record: []step.Step{rollbackNotesStep{in}},
	}
}

const (
	factRollback = "rollback"         // rollbackFacts: what the rollback set out to do
	factWritten  = "rollback.written" // rowdiff.Diff: what was written since the backup
)

// rollbackFacts is a RollbackPlan as the steps need it.
type rollbackFacts struct {
	Way        Way                 `json:"path"`
	Head       string              `json:"alembic_head"` // of the database when it began
	Reasons    []string            `json:"reasons,omitempty"`
	Knows      string              `json:"migrations_of,omitempty"`
	Migrations []alembic.Migration `json:"migrations,omitempty"`
	Beside     bool                `json:"beside,omitempty"`
	Backup     string              `json:"backup,omitempty"` // that is restored, or compared with
}

func factsOf(p *RollbackPlan) rollbackFacts {
	f := rollbackFacts{Way: p.Way, Head: p.Head, Reasons: p.Reasons, Knows: p.Knows, Migrations: p.Migrations, Beside: p.Beside}
	if p.Backup != nil {
		f.Backup = p.Backup.ID
	}
	return f
}

func rollbackOf(op *step.Operation) (f rollbackFacts, err error) {
	ok, err := op.Fact(factRollback, &f)
	if err == nil && !ok {
		err = errors.New("the operation has not chosen a release to go back to")
	}
	return f, err
}

// chooseStep finds the release, the way and the backup, before anything is
// touched.
type chooseStep struct {
	inputs
	o Options
}

func (chooseStep) String() string { return "rollback:choose" }

func (s chooseStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	p, err := t.PlanRollback(ctx, s.o, false)
	if err != nil {
		return err
	}
	if err := t.serversAnswer(ctx, lookRedis, lookBroker); err != nil {
		return err
	}
	f := factsOf(p)
	if err := errors.Join(t.notePrevious(ctx, r), t.noteBaseline(ctx, r)); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if f.Way == WayRestore { // which retention must not remove meanwhile
		if err := r.Note(ctx, factBackup, f.Backup); err != nil {
			return err
		}
	}
	if err := r.Note(ctx, factRollback, f); err != nil {
		return err
	}
	r.Say("from %s to %s “%s”, by way of %s", p.Live.ID, p.To.ID, p.To.Subject, f.Way)
	return r.Note(ctx, factRelease, p.To)
}

// serversAnswer refuses to begin where a server does not answer without which
// no release could be seen to work: the rollback would be taken back, which
// could not be seen to work either.
func (t *Target) serversAnswer(ctx context.Context, looks ...func(context.Context, *Target) report.Finding) error {
	var silent []string
	for _, look := range looks {
		ctx, cancel := context.WithTimeout(ctx, 2*t.Config.Timeouts.Connect)
		if f := look(ctx, t); f.Status != report.OK && f.Status != report.Warning {
			silent = append(silent, f.Looked+": "+f.Found)
		}
		cancel()
	}
	if len(silent) == 0 {
		return nil
	}
	return fmt.Errorf("%w: no release works without it, and nothing was stopped: %s: mend that first", step.ErrFault, strings.Join(silent, "; "))
}

// goBackStep is the moment at which `current` names the release to go back to.
type goBackStep struct{ inputs }

func (goBackStep) String() string { return "release:activate" }

func (goBackStep) ChangesService() {}

// Deadline is for the undo, which restarts the API.
func (s goBackStep) Deadline() time.Duration { return s.t.startDeadline() }

func (s goBackStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	now := t.Now().UTC() // verified it stays: what is wrong now was not its code then
	rel.Activated, rel.ActivatedBy = &now, r.ID()
	if err := t.Releases.Put(ctx, rel); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	r.Say("current → %s", rel.ID)
	return t.Releases.SetCurrent(ctx, rel.ID)
}

// Undo lets `current` name the release that was live again.
func (s goBackStep) Undo(ctx context.Context, r *step.Run) error {
	t := s.t
	id, err := previous(r.Operation)
	if err != nil {
		return err
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if err := t.Releases.SetCurrent(ctx, id); err != nil {
		return err
	}
	if err := t.Releases.Put(ctx, rel); err != nil { // as it was noted before
		return err
	}
	r.Say("current → %s", id)
	return t.rollAPI(ctx, r, id)
}

// apiFirstStep has the API go back while the workers still work, where both
// releases can live with the present schema: a downgrade then finds no code that
// needs what it takes away, and the workers stand still for less long.
type apiFirstStep struct{ inputs }

func (apiFirstStep) String() string { return "rollback:api" }

func (apiFirstStep) ChangesService() {}

func (s apiFirstStep) Deadline() time.Duration { return s.t.startDeadline() }

func (apiFirstStep) Skip(_ context.Context, r *step.Run) (string, error) {
	f, err := rollbackOf(r.Operation)
	if err != nil || f.Way == WayDowngrade && f.Beside {
		return "", err
	}
	return "it goes back with the workers", nil
}

func (s apiFirstStep) Run(ctx context.Context, r *step.Run) error {
	if err := goBackStep(s).Run(ctx, r); err != nil {
		return err
	}
	rel, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	if err := s.t.rollAPI(ctx, r, rel.ID); err != nil {
		return err
	}
	r.Say("the API runs %s, on the present schema", rel.ID)
	return nil
}

// Undo is that of going back.
func (s apiFirstStep) Undo(ctx context.Context, r *step.Run) error {
	return goBackStep(s).Undo(ctx, r)
}

// leftStep records that the release which was live was left by a rollback.
type leftStep struct{ inputs }

func (leftStep) String() string { return "rollback:mark" }

const factLeft = "rollback.left" // release.Release: the one that is left, as it was

func (s leftStep) Run(ctx context.Context, r *step.Run) error {
	id, err := previous(r.Operation)
	if err != nil {
		return err
	}
	left, err := s.t.Releases.Find(ctx, id)
	if err := errors.Join(err, r.NoteOnce(ctx, factLeft, left), r.Fault(ctx, "during")); err != nil {
		return err
	}
	left.State = release.RolledBack
	r.Say("release %s is rolled back: it is no candidate any more", id)
	return s.t.Releases.Put(ctx, left)
}

// Undo gives the release its state again.
func (s leftStep) Undo(ctx context.Context, r *step.Run) error {
	var left release.Release
	if ok, err := r.Operation.Fact(factLeft, &left); err != nil || !ok {
		return err
	}
	return s.t.Releases.Put(ctx, left)
}

// expectRollback estimates from the last deployment and from how long the
// backup took: a restore takes about twice as long.
func (t *Target) expectRollback(ctx context.Context, p *RollbackPlan) Expectation {
	restart := min(t.expectedCutOver(ctx), t.Config.Window.CutOver)
	e := Expectation{Total: restart, Workers: restart}
	if p.Way == WayRestore {
		e.Total += 2 * p.Backup.Database.Finished.Sub(p.Backup.Database.Started)
		e.API = 10 * time.Second // the swap takes less than one, whatever the size; the rest is the API's start
	}
	if p.Way == WayDowngrade && !p.Beside {
		e.API = restart
	}
	return e
}

// migrationsText names migrations for a person.
func migrationsText(all []alembic.Migration) string {
	var list []string
	for _, m := range all {
		list = append(list, m.Revision+" "+m.Title)
	}
	return strings.Join(list, ", ")
}

// String says, for a person, how long what is stopped.
func (e Expectation) String() string {
	api := "the API goes on answering"
	if e.API > 0 {
		api = "API stopped for about " + report.Duration(e.API)
	}
	return fmt.Sprintf("about %s in all; workers stopped for about %s, %s", report.Duration(e.Total), report.Duration(e.Workers), api)
}
