package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// checkCelery is “Verify RabbitMQ connection” and “Check worker status”.
var checkCelery = Check{
	Name:    "deps:celery",
	Command: "celery -A app.core.celery_app inspect ping\ncelery -A app.core.celery_app status",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return t.lookUnmanaged(ctx)
		}
		control, err := t.celery(s.Live.ID)
		if err != nil {
			return []report.Finding{keyed("broker", unseen("broker", err, "see pre:connections"))}
		}
		defer control.Close()
		return t.seeCelery(ctx, control, s).findings()
	},
}

// mostPeeked is how many of the waiting tasks are looked at.
const mostPeeked = 1000

// A celerySight is what was seen of the workers, the queue and supervisor, all
// at once, before it is judged. Each part has its own error.
type celerySight struct {
	t   *Target
	now time.Time

	survey    celery.Survey
	surveyErr error
	owners    map[string]int // by node: the process of supervisor's that it is; 0: none

	processes    []supervisor.ProcessInfo // of the workers' program
	stopWait     time.Duration            // after it supervisor kills a worker that was told to stop
	processesErr error

	queue      celery.Queue
	queueErr   error
	waiting    celery.Waiting
	waitingErr error

	known    map[string]bool // tasks that the code to come registers; nil where the live workers tell
	knownBy  string          // whose code that is
	knownErr error
}

func (t *Target) seeCelery(ctx context.Context, control celery.Control, s Subject) *celerySight {
	c := &celerySight{t: t, now: t.Now(), knownBy: "release " + s.Live.ID}
	connect, half := t.Config.Timeouts.Connect, t.Config.Timeouts.Check/2
	var wg sync.WaitGroup
	within := func(limit time.Duration, f func(context.Context)) {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			f(ctx)
		})
	}
	within(connect, func(ctx context.Context) { c.processes, c.stopWait, c.processesErr = t.workerProcesses(ctx) })
	if s.Release != nil && s.Release.ID != s.Live.ID && (s.Release.Commit == "" || s.Release.Commit != s.Live.Commit) {
		c.knownBy = "release " + s.Release.ID
		within(half, func(ctx context.Context) { c.known, c.knownErr = t.tasksOf(ctx, s.Release.ID) })
	}
	within(half+connect, func(ctx context.Context) {
		depth := make(chan struct{})
		go func() {
			defer close(depth)
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			c.queue, c.queueErr = control.QueueDepth(ctx, t.Config.Celery.Queue)
		}()
		c.survey, c.surveyErr = control.Survey(ctx, t.Config.Celery.Nodes, connect)
		<-depth
		if c.queueErr == nil && (c.queue.Messages > 0 || c.queue.Unacked > 0) {
			ctx, cancel := context.WithTimeout(ctx, connect)
			defer cancel()
			c.waiting, c.waitingErr = control.Peek(ctx, c.consumed(), mostPeeked)
		}
	})
	wg.Wait()
	c.owners = map[string]int{}
	for node, w := range c.survey.Workers {
		c.owners[node] = t.supervised(ctx, w.PID, c.processes)
	}
	return c
}

// workerProcesses are what supervisor holds of the workers, and how long it
// waits for the least patiently treated of them.
func (t *Target) workerProcesses(ctx context.Context) ([]supervisor.ProcessInfo, time.Duration, error) {
	processes, err := t.processes(ctx, t.Config.Services.Worker)
	if err != nil {
		return nil, 0, err
	}
	programs, err := t.supervisor().ReadConfig(ctx)
	least := time.Duration(-1)
	for _, p := range programs {
		if p.Group == t.Config.Services.Worker && (least < 0 || p.StopWait < least) {
			least = p.StopWait
		}
	}
	return processes, least, err
}

// tasksOf asks the code of a release, by its own Python, what it registers.
func (t *Target) tasksOf(ctx context.Context, id string) (map[string]bool, error) {
	names, err := celery.Tasks(ctx, t.Host, celery.Options{App: t.Config.Celery.App, Python: t.venvPython(id), Dir: t.backend(id)})
	known := make(map[string]bool, len(names))
	for _, name := range names {
		known[name] = true
	}
	return known, err
}

// ancestors is how far up a worker is looked for among supervisor's processes:
// a program may be a wrapper that does not give way to what it starts.
const ancestors = 4

// supervised is the process of supervisor's that pid is, or is a child of.
func (t *Target) supervised(ctx context.Context, pid int, processes []supervisor.ProcessInfo) int {
	for range ancestors {
		if pid <= 1 || slices.ContainsFunc(processes, func(p supervisor.ProcessInfo) bool { return p.PID == pid }) {
			break
		}
		stat, err := t.Host.ReadFile(ctx, path.Join("/proc", strconv.Itoa(pid), "stat"))
		if err != nil {
			return 0
		}
		// Behind the name, which is in brackets: state, parent.
		fields := strings.Fields(string(stat[strings.LastIndex(string(stat), ")")+1:]))
		if len(fields) < 2 {
			return 0
		}
		pid, _ = strconv.Atoi(fields[1])
	}
	if slices.ContainsFunc(processes, func(p supervisor.ProcessInfo) bool { return p.PID == pid && pid != 0 }) {
		return pid
	}
	return 0
}

// consumed is the queue as the workers declare it, or as Celery does by default.
func (c *celerySight) consumed() celery.Consumed {
	for _, node := range c.survey.Nodes() {
		for _, q := range c.survey.Workers[node].Queues {
			if q.Name == c.t.Config.Celery.Queue {
				return q
			}
		}
	}
	return celery.Consumed{Name: c.t.Config.Celery.Queue, Durable: true}
}

func (c *celerySight) findings() []report.Finding {
	if errors.Is(c.surveyErr, celery.ErrUnreachable) || errors.Is(c.surveyErr, celery.ErrLogin) {
		return []report.Finding{keyed("broker", unseen("broker", c.surveyErr, "see pre:connections"))}
	}
	if c.surveyErr != nil && !errors.Is(c.surveyErr, celery.ErrNoAnswer) {
		return []report.Finding{keyed("workers", unseen("workers", c.surveyErr, "see the workers' logs"))}
	}
	all := c.nodes()
	all = append(all, c.others()...)
	all = append(all, c.strays(), c.depth(), c.tasks(), c.longest())
	if c.survey.ByCommand {
		all[0].Found += fmt.Sprintf("; asked by %s's celery command: no worker listens where celery's workers do by default", c.t.Config.Celery.App)
	}
	return all
}
