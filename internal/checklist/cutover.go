package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// Facts about the time that something was stopped.
const (
	factWorkersStopped = "workers.stopped" // time.Time: from here on no new task was begun
	factWorkersStarted = "workers.started"
	factAPIStopped     = "api.stopped" // only where a migration asked for it
	factAPIStarted     = "api.started"

	factDrained = "drained" // time.Duration: how long the workers were given to end their tasks

	factAtWork = "at-work" // bool: processes of the release to come may have written rows
)

// stopStep is "Stop Services".
type stopStep struct {
	inputs
	byDeadline bool // tasks that do not end within celery.drain are ended
}

func (stopStep) String() string { return "services:stop" }

func (stopStep) ChangesService() {}

func (s stopStep) limit() time.Duration { return s.t.Config.Celery.Drain }

// Deadline leaves room for draining and, in the undo, for starting again.
func (s stopStep) Deadline() time.Duration { return s.t.startDeadline() }

func (s stopStep) Describe(context.Context) ([]string, error) {
	sv := s.t.Config.Services
	return []string{
		"supervisorctl stop " + sv.Beat,
		fmt.Sprintf("celery -A %s control cancel_consumer %s, then wait for running tasks (at most %s)", s.t.Config.Celery.App, s.t.Config.Celery.Queue, s.limit()),
		"supervisorctl stop " + sv.Worker + ":*",
		"the API goes on answering",
	}, nil
}

func (s stopStep) Skip(ctx context.Context, r *step.Run) (string, error) {
	for _, group := range []string{s.t.Config.Services.Worker, s.t.Config.Services.Beat} {
		procs, err := s.t.processes(ctx, group)
		if err != nil {
			return "", err
		}
		if slices.ContainsFunc(procs, notAtRest) {
			return "", nil
		}
	}
	return "neither workers nor scheduler run", nil
}

// notAtRest also holds for a process that supervisor is about to try again.
func notAtRest(p supervisor.ProcessInfo) bool {
	return !slices.Contains([]string{"STOPPED", "EXITED", "FATAL"}, p.State)
}

func (s stopStep) Run(ctx context.Context, r *step.Run) error {
	if err := withinWindow(r.Operation); err != nil {
		return err
	}
	if err := s.t.notePrevious(ctx, r); err != nil {
		return err
	}
	if err := s.t.noteBaseline(ctx, r); err != nil {
		return err
	}
	if err := r.NoteOnce(ctx, factWorkersStopped, s.t.Now()); err != nil {
		return err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	if s.byDeadline {
		return s.stopInTime(ctx, r)
	}
	if err := s.t.stopWorkers(ctx, r); err != nil {
		return err
	}
	r.Say("workers and scheduler stopped, no task killed")
	return nil
}

// stopInTime stops the workers also where they cannot be asked, or do not end
// their tasks: an incident does not wait for them.
func (s stopStep) stopInTime(ctx context.Context, r *step.Run) error {
	err := s.t.stopWorkers(ctx, r)
	if err == nil {
		r.Say("workers and scheduler stopped")
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	r.Log("they are stopped all the same: %v", err)
	sv := s.t.supervisor()
	if err := errors.Join(sv.StopGroup(ctx, s.t.Config.Services.Beat, true), sv.StopGroup(ctx, s.t.Config.Services.Worker, true)); err != nil {
		return err
	}
	r.Say("workers and scheduler stopped, but not in good order: %s", firstLine(err.Error()))
	return nil
}

// Undo starts what was stopped, on the release that was live.
func (s stopStep) Undo(ctx context.Context, r *step.Run) error {
	return s.t.startPrevious(ctx, r)
}

// startPrevious brings the release back that was live when the operation
// began; before a first deployment that is: nothing runs.
func (t *Target) startPrevious(ctx context.Context, r *step.Run) error {
	id, err := previous(r.Operation)
	if err != nil {
		return err
	}
	if id == "" && r.Journal().Log().Header().Kind != "deploy" {
		r.Say("no release of this suite's is live: what still runs was left running")
		return nil
	}
	if id == "" {
		r.Say("nothing was live before: nothing runs")
		return t.stopAll(ctx, r)
	}
	if err := t.startServices(ctx, r, id); err != nil {
		return err
	}
	r.Say("release %s runs again", id)
	return nil
}

// stopAll leaves no process of the service running.
func (t *Target) stopAll(ctx context.Context, r *step.Run) error {
	if err := t.stopWorkers(ctx, r); err != nil {
		return err
	}
	return t.supervisor().StopGroup(ctx, t.Config.Services.API, true)
}

// stopAPI stops the API where a migration cannot run beside it.
func (t *Target) stopAPI(ctx context.Context, r *step.Run) error {
	procs, err := t.processes(ctx, t.Config.Services.API)
	if err != nil {
		return err
	}
	runs := slices.ContainsFunc(procs, func(p supervisor.ProcessInfo) bool { return p.PID != 0 })
	var since time.Time
	if stopped, err := r.Operation.Fact(factAPIStopped, &since); err != nil {
		return err
	} else if runs && !stopped {
		if err := r.Note(ctx, factAPIStopped, t.Now()); err != nil {
			return err
		}
	}
	return t.supervisor().StopGroup(ctx, t.Config.Services.API, true)
}

// noteAPIUp records the end of a stop of the API, if there was one.
func (t *Target) noteAPIUp(ctx context.Context, r *step.Run) error {
	var since time.Time
	if stopped, err := r.Operation.Fact(factAPIStopped, &since); err != nil || !stopped {
		return err
	}
	return r.Note(ctx, factAPIStarted, t.Now())
}

// Stopped is how long an operation had the workers, and the API, stopped; for
// those still stopped, until now.
func Stopped(op *step.Operation, now time.Time) (workers, api time.Duration, err error) {
	log := op.Journal().Log()
	if workers, _, err = stoppedBetween(log, factWorkersStopped, factWorkersStarted, now); err != nil {
		return 0, 0, err
	}
	api, _, err = stoppedBetween(log, factAPIStopped, factAPIStarted, now)
	return workers, api, err
}

// stoppedBetween is the time from one fact to another or, where that is
// missing, until now; ok is false when the first one is.
func stoppedBetween(log journal.Log, from, to string, now time.Time) (d time.Duration, ok bool, err error) {
	var a, b time.Time
	if ok, err := log.Fact(from, &a); err != nil || !ok {
		return 0, false, err
	}
	if ok, err := log.Fact(to, &b); err != nil {
		return 0, false, err
	} else if !ok {
		b = now
	}
	return b.Sub(a), true, nil
}
