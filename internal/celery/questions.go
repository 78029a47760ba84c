package celery

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func (q questions) Ping(ctx context.Context, nodes []string) (map[string]string, error) {
	type reply struct{ OK string }
	answers, err := question[reply](ctx, q, query{method: "ping", nodes: nodes})
	return convert(answers, err, func(r reply) string { return r.OK })
}

func (q questions) Active(ctx context.Context, nodes []string) (map[string][]Task, error) {
	return q.tasks(ctx, query{method: "active", nodes: nodes})
}

func (q questions) Reserved(ctx context.Context, nodes []string) (map[string][]Task, error) {
	return q.tasks(ctx, query{method: "reserved", nodes: nodes})
}

func (q questions) Scheduled(ctx context.Context, nodes []string) (map[string][]Task, error) {
	return q.scheduled(ctx, query{method: "scheduled", nodes: nodes})
}

// request is how a worker describes a task.
type request struct {
	ID        string
	Name      string
	TimeStart *float64 `json:"time_start"`
	WorkerPID *int     `json:"worker_pid"`
}

func (r request) task() Task {
	t := Task{ID: r.ID, Name: r.Name}
	if r.TimeStart != nil {
		t.Started = time.UnixMicro(int64(*r.TimeStart * 1e6))
	}
	if r.WorkerPID != nil {
		t.PID = *r.WorkerPID
	}
	return t
}

func (q questions) tasks(ctx context.Context, ask query) (map[string][]Task, error) {
	answers, err := question[[]request](ctx, q, ask)
	return convert(answers, err, func(requests []request) []Task {
		tasks := make([]Task, len(requests))
		for i, r := range requests {
			tasks[i] = r.task()
		}
		return tasks
	})
}

func (q questions) scheduled(ctx context.Context, ask query) (map[string][]Task, error) {
	type entry struct {
		ETA     string
		Request request
	}
	answers, err := question[[]entry](ctx, q, ask)
	return convert(answers, err, func(entries []entry) []Task {
		tasks := make([]Task, len(entries))
		for i, e := range entries {
			tasks[i] = e.Request.task()
			// Without an offset it is UTC; the layout takes fractions as well.
			for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
				if at, err := time.Parse(layout, e.ETA); err == nil {
					tasks[i].ETA = at
				}
			}
		}
		return tasks
	})
}

func (q questions) Registered(ctx context.Context, nodes []string) (map[string][]string, error) {
	return q.registered(ctx, query{method: "registered", nodes: nodes})
}

func (q questions) registered(ctx context.Context, ask query) (map[string][]string, error) {
	answers, err := question[[]string](ctx, q, ask)
	return convert(answers, err, func(names []string) []string {
		for i, name := range names {
			// With attributes it reads "name [rate_limit=…]".
			names[i], _, _ = strings.Cut(name, " ")
		}
		slices.Sort(names)
		return names
	})
}

func (q questions) Stats(ctx context.Context, nodes []string) (map[string]Stats, error) {
	return q.stats(ctx, query{method: "stats", nodes: nodes})
}

func (q questions) stats(ctx context.Context, ask query) (map[string]Stats, error) {
	type reply struct {
		PID    int
		Uptime float64
		Pool   struct{ Processes []int }
		Total  map[string]int64
	}
	answers, err := question[reply](ctx, q, ask)
	return convert(answers, err, func(r reply) Stats {
		return Stats{PID: r.PID, Uptime: time.Duration(r.Uptime) * time.Second, Processes: r.Pool.Processes, Total: r.Total}
	})
}

func (q questions) ActiveQueues(ctx context.Context, nodes []string) (map[string][]string, error) {
	answers, err := q.consumed(ctx, query{method: "active_queues", nodes: nodes})
	return convert(answers, err, func(queues []Consumed) []string {
		names := make([]string, len(queues))
		for i, queue := range queues {
			names[i] = queue.Name
		}
		slices.Sort(names)
		return names
	})
}

func (q questions) consumed(ctx context.Context, ask query) (map[string][]Consumed, error) {
	return question[[]Consumed](ctx, q, ask)
}

func (q questions) Conf(ctx context.Context, nodes []string) (map[string]Conf, error) {
	type schedule map[string]struct {
		Task     string
		Schedule json.RawMessage
	}
	type reply struct {
		Schedule schedule `json:"beat_schedule"`
		Old      schedule `json:"CELERYBEAT_SCHEDULE"` // of an application with settings in the old style
	}
	answers, err := question[reply](ctx, q, query{method: "conf", nodes: nodes})
	return convert(answers, err, func(r reply) Conf {
		if r.Schedule == nil {
			r.Schedule = r.Old
		}
		c := Conf{BeatSchedule: make(map[string]BeatEntry, len(r.Schedule))}
		for name, e := range r.Schedule {
			var words string
			if json.Unmarshal(e.Schedule, &words) != nil {
				words = string(e.Schedule) // a number
			}
			c.BeatSchedule[name] = BeatEntry{Task: e.Task, Schedule: words}
		}
		return c
	})
}

func (q questions) CancelConsumer(ctx context.Context, queue string, nodes []string) error {
	ctx, cancel := query{nodes: nodes}.deadline(ctx)
	defer cancel()
	_, err := question[any](ctx, q, query{method: "cancel_consumer", args: map[string]string{"queue": queue}, nodes: nodes})
	// A worker answers that it will, and does so a moment later; the command
	// takes longer than that to start.
	for err == nil && nodes != nil && !q.byCommand() {
		var queues map[string][]string
		if queues, err = q.ActiveQueues(ctx, nodes); err != nil || !slices.Contains(slices.Concat(slices.Collect(maps.Values(queues))...), queue) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("celery cancel_consumer: %s is still taken from: %w", queue, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
	return err
}

func (q questions) AddConsumer(ctx context.Context, queue string, nodes []string) error {
	_, err := question[any](ctx, q, query{method: "add_consumer", args: map[string]string{"queue": queue}, nodes: nodes})
	return err
}
