package checklist

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// stopWorkers ends the updates without killing one: the scheduler first, then
// no new tasks for the workers, then the end of those that run, then the
// workers themselves.
func (t *Target) stopWorkers(ctx context.Context, r *step.Run) error {
	t.maintenance.begin(ctx, r)
	sv := t.supervisor()
	if err := sv.StopGroup(ctx, t.Config.Services.Beat, true); err != nil {
		return err
	}
	workers, err := t.processes(ctx, t.Config.Services.Worker)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(workers, supervisor.ProcessInfo.Running) {
		began := t.Now()
		err := t.drain(ctx, r, workers)
		if err := errors.Join(err, r.Note(ctx, factDrained, t.Now().Sub(began))); err != nil {
			return err
		}
	}
	return sv.StopGroup(ctx, t.Config.Services.Worker, true)
}

// questionTime is what workers get to answer one question: they answer in
// milliseconds, or not at all.
const questionTime = 5 * time.Second

// drain has the workers take no more tasks and waits for those that run.
// Tasks that were fetched and not begun go back to the broker when the worker
// stops. A worker that does not answer cannot be asked: supervisor's SIGTERM
// lets it end its task, too, within its stopwaitsecs.
func (t *Target) drain(ctx context.Context, r *step.Run, workers []supervisor.ProcessInfo) error {
	// Only a broker that is asked by command needs it; one that has just died
	// has none.
	id, _ := t.releaseOf(ctx, firstRunning(workers))
	control, err := t.celery(id)
	if err != nil {
		return err
	}
	defer control.Close()
	ask := func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, questionTime) }

	asking, cancel := ask()
	pongs, err := control.Ping(asking, t.Config.Celery.Nodes)
	cancel()
	nodes := slices.Sorted(maps.Keys(pongs))
	if len(nodes) < len(t.Config.Celery.Nodes) {
		r.Log("not all workers answer (%v): supervisor lets those end by themselves", err)
	}
	if len(nodes) == 0 {
		return nil
	}
	asking, cancel = ask()
	err = control.CancelConsumer(asking, t.Config.Celery.Queue, nodes)
	cancel()
	if err != nil {
		return fmt.Errorf("asking the workers to take no more tasks: %w", err)
	}
	began := t.Now()
	for {
		asking, cancel = ask()
		running, err := control.Active(asking, nodes)
		cancel()
		if err != nil && len(running) == 0 {
			return fmt.Errorf("asking the workers what they do: %w", err)
		}
		var names []string
		for node, tasks := range running {
			for _, task := range tasks {
				names = append(names, task.Name+" on "+node)
			}
		}
		if len(names) == 0 {
			return nil
		}
		slices.Sort(names)
		waited := t.Now().Sub(began)
		if waited > t.Config.Celery.Drain {
			return fmt.Errorf("after %s (celery.drain) these tasks still run: %s: none was killed; wait for them or raise celery.drain",
				t.Config.Celery.Drain, strings.Join(names, ", "))
		}
		r.Progress(int64(waited.Seconds()), int64(t.Config.Celery.Drain.Seconds()), fmt.Sprintf("%d tasks running: %s", len(names), names[0]))
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

func firstRunning(procs []supervisor.ProcessInfo) int {
	for _, p := range procs {
		if p.Running() {
			return p.PID
		}
	}
	return 0
}

func (t *Target) startWorkers(ctx context.Context, r *step.Run, id string) error {
	group := t.Config.Services.Worker
	if err := t.replaceStrangers(ctx, group, id); err != nil {
		return err
	}
	if err := t.supervisor().StartGroup(ctx, group, true); err != nil {
		return err
	}
	if err := t.awaitWorkers(ctx, r, id); err != nil {
		return err
	}
	if err := t.replaceStrangers(ctx, t.Config.Services.Beat, id); err != nil {
		return err
	}
	if err := t.supervisor().StartGroup(ctx, t.Config.Services.Beat, true); err != nil {
		return err
	}
	if err := t.onRelease(ctx, t.Config.Services.Beat, id); err != nil {
		return err
	}
	return r.Note(ctx, factWorkersStarted, t.Now())
}

// awaitWorkers waits until every node answers a ping and consumes.
func (t *Target) awaitWorkers(ctx context.Context, r *step.Run, id string) error {
	control, err := t.celery(id)
	if err != nil {
		return err
	}
	defer control.Close()
	for end := t.Now().Add(t.Config.Celery.Start); ; {
		if err := t.onRelease(ctx, t.Config.Services.Worker, id); err != nil {
			return err
		}
		attempt, cancel := context.WithTimeout(ctx, 2*time.Second)
		answered, err := control.Ping(attempt, t.Config.Celery.Nodes)
		cancel()
		missing := slices.DeleteFunc(slices.Clone(t.Config.Celery.Nodes), func(n string) bool { return answered[n] != "" })
		if len(missing) == 0 {
			// A worker that was told to take no tasks, and was not stopped since.
			return control.AddConsumer(ctx, t.Config.Celery.Queue, t.Config.Celery.Nodes)
		}
		if t.Now().After(end) {
			return fmt.Errorf("after %s (celery.start) no ping was answered by %s: %w", t.Config.Celery.Start, strings.Join(missing, ", "), errors.Join(err, ErrNoAnswer))
		}
		r.Progress(int64(len(answered)), int64(len(t.Config.Celery.Nodes)), "workers answer")
		if err := sleep(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
}

// ErrNoAnswer says that a process runs and does not answer.
var ErrNoAnswer = errors.New("no answer")
