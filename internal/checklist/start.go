package checklist

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// startStep is "Start Services", and the API's restart that the plan forgot.
type startStep struct{ inputs }

func (startStep) String() string { return "services:start" }

func (startStep) ChangesService() {}

func (s startStep) Deadline() time.Duration { return s.t.startDeadline() }

func (s startStep) Describe(context.Context) ([]string, error) {
	sv := s.t.Config.Services
	return []string{
		"supervisorctl start " + sv.Worker + ":*, then wait for a ping of " + strings.Join(s.t.Config.Celery.Nodes, ", "),
		"supervisorctl start " + sv.Beat,
		"supervisorctl restart " + sv.API + ":…, one process after the other",
	}, nil
}

func (s startStep) Run(ctx context.Context, r *step.Run) error {
	live, err := s.t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	if live == nil {
		return fmt.Errorf("no release is live: run deploy first")
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if err := r.Note(ctx, factAtWork, true); err != nil {
		return err
	}
	if err := s.t.startServices(ctx, r, live.ID); err != nil {
		return err
	}
	r.Say("workers answer, API and scheduler run %s", live.ID)
	return nil
}

// Undo stops the new release's workers, without killing a task that they took.
func (s startStep) Undo(ctx context.Context, r *step.Run) error {
	return s.t.stopWorkers(ctx, r)
}
