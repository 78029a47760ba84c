package checklist

import (
	"fmt"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// nodes judges the workers that are configured.
func (c *celerySight) nodes() []report.Finding {
	var all []report.Finding
	for _, node := range c.t.Config.Celery.Nodes {
		w, answers := c.survey.Workers[node]
		if !answers {
			all = append(all, keyed(node, fault(node, "does not answer"+c.unclaimedText(), "see services:status, and the worker's log")))
			continue
		}
		all = append(all, keyed(node, c.node(node, w)))
	}
	return all
}

func (c *celerySight) node(node string, w celery.Worker) report.Finding {
	held := fmt.Sprintf("%d active, %d reserved, %d scheduled tasks", len(w.Active), len(w.Reserved), len(w.Scheduled))
	is := fmt.Sprintf("Celery %s, kombu %s, Python %s", orNone(w.Versions.Celery), orNone(w.Versions.Kombu), orNone(w.Versions.Python))
	runs := fmt.Sprintf("process %d for %s", w.PID, report.Duration(w.Uptime))
	if p := c.process(c.owners[node]); p != nil {
		runs = p.FullName() + ", " + runs
	}
	f := found(node, "answers: %s; %s; %s", is, runs, held)
	switch {
	case len(w.Silent) > 0:
		f = unseen(node, fmt.Errorf("it answers, but not when asked for: %s", join(w.Silent)), "see the worker's log")
	case c.processesErr == nil && c.owners[node] == 0:
		f = fault(node, fmt.Sprintf("answers as process %d, which supervisor did not start: another worker bears its name%s", w.PID, c.unclaimedText()),
			"end that process, then see services:status")
	case !c.consumes(w):
		f = warn(node, "takes no tasks from queue "+c.t.Config.Celery.Queue+"; "+is+"; "+held, "services:start has it take tasks again")
	}
	f.Counts = map[string]int64{"active": int64(len(w.Active)), "reserved": int64(len(w.Reserved)), "scheduled": int64(len(w.Scheduled)),
		"pid": int64(w.PID), "uptime_ms": w.Uptime.Milliseconds()}
	return f
}

func (c *celerySight) consumes(w celery.Worker) bool {
	return slices.ContainsFunc(w.Queues, func(q celery.Consumed) bool { return q.Name == c.t.Config.Celery.Queue })
}

func (c *celerySight) configured(node string) bool {
	return slices.Contains(c.t.Config.Celery.Nodes, node)
}

func (c *celerySight) process(pid int) *supervisor.ProcessInfo {
	i := slices.IndexFunc(c.processes, func(p supervisor.ProcessInfo) bool { return p.PID == pid && pid != 0 })
	if i < 0 {
		return nil
	}
	return &c.processes[i]
}

// unclaimed are supervisor's processes for which no node has answered.
func (c *celerySight) unclaimed() []supervisor.ProcessInfo {
	return slices.DeleteFunc(slices.Clone(c.processes), func(p supervisor.ProcessInfo) bool {
		for _, pid := range c.owners {
			if p.PID != 0 && p.PID == pid {
				return true
			}
		}
		return false
	})
}

func processText(p supervisor.ProcessInfo) string {
	if p.PID != 0 {
		return fmt.Sprintf("%s (%s, process %d)", p.FullName(), p.State, p.PID)
	}
	if p.SpawnError != "" {
		return fmt.Sprintf("%s (%s: %s)", p.FullName(), p.State, p.SpawnError)
	}
	return fmt.Sprintf("%s (%s)", p.FullName(), p.State)
}

func (c *celerySight) unclaimedText() string {
	var names []string
	for _, p := range c.unclaimed() {
		names = append(names, processText(p))
	}
	switch {
	case c.processesErr != nil:
		return ""
	case len(names) == 0:
		return "; supervisor has no process for it: all of its workers answer by other names"
	}
	return "; of supervisor's workers nobody answers for " + join(names)
}

// others judges what supervisor has beyond the configured nodes: with one of
// these missing, it is named there.
func (c *celerySight) others() []report.Finding {
	if c.processesErr != nil {
		return []report.Finding{keyed("processes", unseen("supervisor's workers", c.processesErr, "see pre:connections"))}
	}
	missing := func(node string) bool { return c.process(c.owners[node]) == nil }
	if slices.ContainsFunc(c.t.Config.Celery.Nodes, missing) {
		return nil
	}
	var all []report.Finding
	for _, p := range c.unclaimed() {
		name := p.FullName()
		if p.PID == 0 {
			all = append(all, keyed(name, warn(name, "does not run: "+processText(p), "services:start, or take it out of supervisor's configuration")))
			continue
		}
		all = append(all, keyed(name, fault(name, "no node answers for "+processText(p), "see the worker's log, and celery.nodes in "+c.t.Config.File)))
	}
	return all
}

// strays judges who answered and is not configured. One that takes tasks from
// the service's queue does so with other code: a fault. One that does not is
// somebody else on the same broker.
func (c *celerySight) strays() report.Finding {
	const looked = "other workers"
	var names, taking []string
	for _, node := range c.survey.Nodes() {
		if c.configured(node) {
			continue
		}
		w := c.survey.Workers[node]
		text := fmt.Sprintf("%s (process %d, Celery %s, %d active tasks)", node, w.PID, orNone(w.Versions.Celery), len(w.Active))
		if p := c.process(c.owners[node]); p != nil {
			text = fmt.Sprintf("%s, which is supervisor's %s", node, processText(*p))
		}
		if c.consumes(w) {
			taking = append(taking, text)
		}
		names = append(names, node)
	}
	silent := c.silentConsumers()
	var said []string
	if len(taking) > 0 {
		said = append(said, fmt.Sprintf("not in celery.nodes, and taking tasks from queue %s: %s", c.t.Config.Celery.Queue, join(taking)))
	}
	if silent > 0 {
		said = append(said, fmt.Sprintf("queue %s has %d consumers more than workers answered", c.t.Config.Celery.Queue, silent))
	}
	f := found(looked, "none: nobody else answered a question to all")
	switch {
	case len(said) > 0:
		f = fault(looked, strings.Join(said, "; "), "end them: they run tasks with code that is not the release's; or add them to celery.nodes in "+c.t.Config.File)
	case len(names) > 0:
		f = warn(looked, fmt.Sprintf("not in celery.nodes, and not taking tasks from queue %s: %s", c.t.Config.Celery.Queue, join(names)), "see whose they are: they share the broker")
	}
	f.Counts = map[string]int64{"looked": int64(len(c.survey.Workers)), "strays": int64(len(names)), "taking": int64(len(taking)), "silent": int64(silent)}
	f.Samples = names
	return keyed("strays", f)
}

// silentConsumers are consumers of the queue that no worker accounts for, if
// the broker tells: those that answered, and those that are missing and may
// take tasks all the same.
func (c *celerySight) silentConsumers() int {
	if c.queueErr != nil || c.queue.Consumers < 0 {
		return 0
	}
	accounted := 0
	for _, node := range c.t.Config.Celery.Nodes {
		if _, answers := c.survey.Workers[node]; !answers {
			accounted++
		}
	}
	return max(0, c.queue.Consumers-accounted-c.takers())
}

// takers is how many of those who answered take tasks from the queue.
func (c *celerySight) takers() (n int) {
	for _, w := range c.survey.Workers {
		if c.consumes(w) {
			n++
		}
	}
	return n
}
