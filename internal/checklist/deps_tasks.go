package checklist

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// depth judges the queue: tasks that wait for nobody are a fault.
func (c *celerySight) depth() report.Finding {
	queue := c.t.Config.Celery.Queue
	looked := "queue " + queue
	switch {
	case errors.Is(c.queueErr, celery.ErrNoQueue):
		return keyed(looked, found(looked, "is not there yet: the first task makes it"))
	case c.queueErr != nil:
		return keyed(looked, unseen(looked, c.queueErr, "see pre:connections"))
	}
	q := c.queue
	if q.Consumers < 0 { // Redis does not tell
		q.Consumers = c.takers()
	}
	state := fmt.Sprintf("%s tasks waiting, %d consumers", report.Count(int64(q.Messages)), q.Consumers)
	counts := map[string]int64{"messages": int64(q.Messages), "consumers": int64(q.Consumers)}
	if q.Unacked >= 0 {
		state += fmt.Sprintf(", %s taken and not acknowledged", report.Count(int64(q.Unacked)))
		counts["unacked"] = int64(q.Unacked)
	}
	f := found(looked, "%s", state)
	switch {
	case q.Consumers == 0 && q.Messages > 0:
		f = fault(looked, state+": nobody takes them", "services:start has the workers take tasks again")
	case q.Consumers == 0:
		f = warn(looked, state, "services:start has the workers take tasks again")
	}
	f.Counts = counts
	return keyed(looked, f)
}

// A place is where a task is: in the queue, or in a worker's hands.
type place struct {
	name  string
	tasks map[string]int
	ends  bool // it ends there, before the code changes
}

func (c *celerySight) places() []place {
	hands := func(of func(celery.Worker) []celery.Task) map[string]int {
		tasks := map[string]int{}
		for _, w := range c.survey.Workers {
			for _, task := range of(w) {
				tasks[task.Name]++
			}
		}
		return tasks
	}
	return []place{
		{"waiting", c.waiting.Tasks, false},
		{"active", hands(func(w celery.Worker) []celery.Task { return w.Active }), true},
		{"reserved", hands(func(w celery.Worker) []celery.Task { return w.Reserved }), false},
		{"scheduled", hands(func(w celery.Worker) []celery.Task { return w.Scheduled }), false},
		{"unacknowledged", c.waiting.Unacked, false},
	}
}

// registered by the workers that are live.
func (c *celerySight) registered() map[string]bool {
	names := map[string]bool{}
	for _, node := range c.t.Config.Celery.Nodes {
		for _, name := range c.survey.Workers[node].Registered {
			names[name] = true
		}
	}
	return names
}

// tasks judges whether the code to come knows what waits for it: a worker
// throws away what it does not know.
func (c *celerySight) tasks() report.Finding {
	const looked = "tasks to come"
	live := c.registered()
	known := c.known
	if known == nil {
		known = live
	}
	switch {
	case c.knownErr != nil:
		return keyed("tasks", unseen(looked, c.knownErr, "see what the release's Python says; services:start would fail the same way"))
	case c.waitingErr != nil && !errors.Is(c.waitingErr, celery.ErrNoPeek):
		return keyed("tasks", unseen(looked, c.waitingErr, "see pre:connections"))
	case len(known) == 0:
		return keyed("tasks", unseen(looked, errors.New("no worker told which tasks it registers"), "see the workers above"))
	}
	counts := map[string]int64{"looked": int64(c.waiting.Looked), "strange": int64(c.waiting.Strange), "unknown": 0}
	var samples []string
	lost := false
	for _, p := range c.places() {
		for _, name := range slices.Sorted(maps.Keys(p.tasks)) {
			n := int64(p.tasks[name])
			counts[p.name] += n
			if known[name] || celery.BuiltIn(name) {
				continue
			}
			counts["unknown"] += n
			samples = append(samples, fmt.Sprintf("%s (%d %s)", name, n, p.name))
			lost = lost || !p.ends && (live[name] || len(live) == 0)
		}
	}
	f := found(looked, "%s registers %d tasks, all of those that wait or are in a worker's hands among them%s", c.knownBy, len(known), c.notSeen())
	unknown := fmt.Sprintf("%s does not register %s%s", c.knownBy, join(samples), c.notSeen())
	const do = "let the live workers run them first, or bring them back in the code: a worker throws away what it does not know"
	switch {
	case lost:
		f = fault(looked, unknown, do)
	case len(samples) > 0:
		f = warn(looked, unknown+": no more than the live workers do, or they end with them", do)
	case errors.Is(c.waitingErr, celery.ErrNoPeek) || c.waiting.Strange > 0:
		f = warn(looked, f.Found, "see the queue's messages in the broker")
	}
	f.Counts, f.Samples = counts, samples
	return keyed("tasks", f)
}

// notSeen says which part of the queue was not looked at.
func (c *celerySight) notSeen() string {
	switch {
	case c.waitingErr != nil:
		return fmt.Sprintf("; what waits was not looked at: %v", c.waitingErr)
	case c.waiting.More:
		return fmt.Sprintf("; the next %s of %s waiting tasks were looked at", report.Count(int64(c.waiting.Looked)), report.Count(int64(c.queue.Messages)))
	case c.waiting.Strange > 0:
		return fmt.Sprintf("; %d messages of the queue are no tasks of Celery's", c.waiting.Strange)
	}
	return ""
}

// longest judges the task that has run longest. What has run for longer than
// the stop waits will hardly end within it; supervisor's own patience counts
// for a worker that cannot be asked to take no more tasks.
func (c *celerySight) longest() report.Finding {
	const looked = "longest task"
	var task celery.Task
	var where string
	for _, node := range c.survey.Nodes() {
		for _, t := range c.survey.Workers[node].Active {
			if !t.Started.IsZero() && (task.Started.IsZero() || t.Started.Before(task.Started)) {
				task, where = t, node
			}
		}
	}
	if task.Started.IsZero() {
		f := found(looked, "no task runs")
		f.Counts = map[string]int64{"longest_ms": 0}
		return keyed(looked, f)
	}
	ran := max(0, c.now.Sub(task.Started)).Round(time.Millisecond)
	runs := fmt.Sprintf("%s (%s) runs on %s for %s", task.Name, task.ID, where, report.Duration(ran))
	f := found(looked, "%s", runs)
	drain := c.t.Config.Celery.Drain
	switch {
	case ran > drain:
		f = fault(looked, fmt.Sprintf("%s, longer than a stop waits (celery.drain, %s)", runs, report.Duration(drain)), "see why it does not end: services:stop would wait and then give up")
	case c.processesErr == nil && c.stopWait >= 0 && ran > c.stopWait:
		f = warn(looked, fmt.Sprintf("%s, longer than supervisor's stopwaitsecs (%s)", runs, report.Duration(c.stopWait)),
			"it is waited for (celery.drain), but supervisor would kill it: raise stopwaitsecs, and thresholds.longest_task")
	}
	f.Counts = map[string]int64{"longest_ms": ran.Milliseconds(), "stopwait_ms": c.stopWait.Milliseconds(), "drain_ms": drain.Milliseconds()}
	f.Samples = []string{task.ID}
	return keyed(looked, f)
}
