package checklist

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// codeStep brings the code back that wrote right rows, while the API answers:
// over the present schema where that release can live with it, or behind a
// downgrade that loses nothing. Otherwise the rows are repaired all the same,
// and the updates stay paused.
type codeStep struct {
	inputs
	keep bool
}

func (codeStep) String() string { return "rollback:code" }

// factCodeStays says why the release that was live stays live.
const factCodeStays = "rollback.code.stays" // string

// Deadline is for the API, the workers and a downgrade between them.
func (s codeStep) Deadline() time.Duration {
	return 2*s.t.startDeadline() + s.t.Config.Database.StatementTimeout
}

func (s codeStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if s.keep {
		r.Say("left alone, as -keep-release asks")
		return nil
	}
	f, err := rollbackOf(r.Operation)
	if err != nil {
		return err
	}
	to, err := releaseToCome(r.Operation)
	if err != nil {
		return err
	}
	how := ""
	switch {
	case f.Way == WayCode:
		how = "the database is at its head"
	case f.Beside && f.Way == WayDowngrade:
		how = "behind a downgrade to its head"
	case f.Beside:
		how = fmt.Sprintf("the database stays at %s, which only adds to what that release knows", f.Head)
	default:
		why := fmt.Sprintf("release %s cannot go on while the API answers: %s", to.ID, strings.Join(f.Reasons, "; "))
		r.Say("%s: the updates will stay paused", why)
		return r.Note(ctx, factCodeStays, why)
	}
	if err := s.goBack(ctx, r, f, to); err != nil {
		return err
	}
	r.Say("API, workers and scheduler run release %s; %s", to.ID, how)
	return nil
}

// goBack may be called again: what is done already is left alone.
func (s codeStep) goBack(ctx context.Context, r *step.Run, f rollbackFacts, to release.Release) error {
	t := s.t
	if err := (goBackStep{s.inputs}).Run(ctx, r); err != nil {
		return err
	}
	if err := t.rollAPI(ctx, r, to.ID); err != nil {
		return err
	}
	if err := t.stopStrangers(ctx, r, to.ID); err != nil {
		return err
	}
	if f.Way == WayDowngrade {
		if err := t.takeMigrationsBack(ctx, r, f, to); err != nil {
			return err
		}
	}
	if err := t.startServices(ctx, r, to.ID); err != nil {
		return err
	}
	return leftStep{s.inputs}.Run(ctx, r)
}

// stopStrangers ends workers of another release, in good order.
func (t *Target) stopStrangers(ctx context.Context, r *step.Run, id string) error {
	if t.onRelease(ctx, t.Config.Services.Worker, id) == nil {
		return nil
	}
	if err := r.NoteOnce(ctx, factWorkersStopped, t.Now()); err != nil {
		return err
	}
	return t.stopWorkers(ctx, r)
}
