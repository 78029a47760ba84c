package checklist

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// verifyTasks is “Verify Celery tasks”. Registered is not running: beat has to
// live, alone, with the timetable of the release, and each periodic task has to
// have run when it was last due.
var verifyTasks = Check{
	Name:    "verify:tasks",
	Command: "celery -A app.core.celery_app inspect registered",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return []report.Finding{as(fault("workers", "no release is live", "run deploy"), "release", nil)}
		}
		// All of them need the release's own Python, which is started once.
		asked := sync.OnceValue(func() scheduled { return t.schedule(ctx, s) })
		limit := t.Config.Timeouts.Check + t.Config.Celery.Start
		return lookAll(ctx, t,
			look{"scheduler", limit, func(ctx context.Context, t *Target) []report.Finding { return t.judgeSchedule(ctx, asked(), s) }},
			look{"workers", limit, func(ctx context.Context, t *Target) []report.Finding { return t.lookRegistered(ctx, asked, s) }},
			look{"periodic tasks", limit, func(ctx context.Context, t *Target) []report.Finding { return t.judgeEntries(ctx, asked(), s) }},
		)
	},
}

// scheduled is what can be known of the scheduler, before it is judged.
type scheduled struct {
	process  supervisor.ProcessInfo // the program of supervisor
	beats    beats
	runs     taskRuns
	table    beat.Timetable
	tableErr error
}

// schedule collects it. It ends with ctx, which is the whole check's.
func (t *Target) schedule(ctx context.Context, s Subject) (sc scheduled) {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Check)
	defer cancel()
	sc.process, sc.beats = t.findBeats(ctx)
	sc.runs = t.taskRuns(ctx)
	q := beat.Question{
		Process: sc.beats.ours, Started: sc.process.Started,
		Patience: max(0, t.Config.Celery.Start-t.Now().Sub(sc.process.Started)),
		Tasks:    map[string]time.Time{}, Entries: sc.runs.entries, Since: s.Since,
	}
	for name, run := range sc.runs.tasks {
		q.Tasks[name] = run.at
	}
	q.Patience = min(q.Patience, t.Config.Timeouts.Check/2)
	sc.table, sc.tableErr = beat.Ask(ctx, t.Host, beat.Options{Python: t.venvPython(s.Live.ID), Dir: t.backend(s.Live.ID), App: t.Config.Celery.App}, q)
	return sc
}

// lookRegistered holds the tasks that each worker knows against those that the
// release's code registers.
func (t *Target) lookRegistered(ctx context.Context, asked func() scheduled, s Subject) []report.Finding {
	group := t.Config.Services.Worker
	runs := as(found(group, "its processes run release %s", s.Live.ID), group, nil)
	if err := t.onRelease(ctx, group, s.Live.ID); err != nil {
		runs = as(fault(group, err.Error(), "services:start"), group, nil)
	}
	control, err := t.celery(s.Live.ID)
	if err != nil {
		return []report.Finding{runs, as(unseen("broker", err, "see pre:connections"), "broker", nil)}
	}
	defer control.Close()
	asking, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect)
	defer cancel()
	registered, err := control.Registered(asking, t.Config.Celery.Nodes)
	var missing *celery.MissingError
	if err != nil && !errors.As(err, &missing) {
		return []report.Finding{runs, as(unseen("workers", err, "see deps:celery"), "workers", nil)}
	}
	sc := asked()
	findings := []report.Finding{runs}
	for _, node := range t.Config.Celery.Nodes {
		names, answered := registered[node]
		findings = append(findings, judgeRegistered(node, names, answered, sc.table.Tasks, sc.tableErr))
	}
	return findings
}

// judgeRegistered judges one worker. err: the release's tasks are not known,
// which is said elsewhere.
func judgeRegistered(node string, names []string, answered bool, tasks []string, err error) report.Finding {
	counts := map[string]int64{"registered": int64(len(names)), "looked": int64(len(tasks))}
	var unknown []string
	for _, task := range tasks {
		if !slices.Contains(names, task) {
			unknown = append(unknown, task)
		}
	}
	counts["violations"] = int64(len(unknown))
	switch {
	case !answered:
		return as(fault(node, "did not say which tasks it knows", "see deps:celery, and the worker's log"), node, counts)
	case len(names) == 0:
		return as(fault(node, "has no task registered", "see the worker's log"), node, counts)
	case err != nil:
		return as(found(node, "%d tasks registered; which the release has could not be looked at", len(names)), node, counts)
	case len(unknown) > 0:
		return as(fault(node, fmt.Sprintf("does not know %d of the release's %d tasks: %s", len(unknown), len(tasks), join(unknown)),
			"services:start restarts what runs other code; else see the worker's log"), node, counts, unknown...)
	}
	return as(found(node, "all %d tasks of the release registered", len(tasks)), node, counts)
}
