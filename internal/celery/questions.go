package celery

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"
)

func (q questions) Ping(ctx context.Context, nodes []string) (map[string]string, error) {
	type reply struct{ OK string }
	answers, err := question[reply](ctx, q, "ping", nil, nodes)
	return convert(answers, err, func(r reply) string { return r.OK })
}

func (q questions) Active(ctx context.Context, nodes []string) (map[string][]Task, error) {
	return q.tasks(ctx, "active", nodes)
}

func (q questions) Reserved(ctx context.Context, nodes []string) (map[string][]Task, error) {
	return q.tasks(ctx, "reserved", nodes)
}

func (q questions) tasks(ctx context.Context, method string, nodes []string) (map[string][]Task, error) {
	type reply struct {
		ID        string
		Name      string
		TimeStart *float64 `json:"time_start"`
		WorkerPID *int     `json:"worker_pid"`
	}
	answers, err := question[[]reply](ctx, q, method, nil, nodes)
	return convert(answers, err, func(replies []reply) []Task {
		tasks := make([]Task, len(replies))
		for i, r := range replies {
			tasks[i] = Task{ID: r.ID, Name: r.Name}
			if r.TimeStart != nil {
				tasks[i].Started = time.UnixMicro(int64(*r.TimeStart * 1e6))
			}
			if r.WorkerPID != nil {
				tasks[i].PID = *r.WorkerPID
			}
		}
		return tasks
	})
}

func (q questions) Registered(ctx context.Context, nodes []string) (map[string][]string, error) {
	answers, err := question[[]string](ctx, q, "registered", nil, nodes)
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
	type reply struct {
		PID    int
		Uptime float64
		Pool   struct{ Processes []int }
		Total  map[string]int64
	}
	answers, err := question[reply](ctx, q, "stats", nil, nodes)
	return convert(answers, err, func(r reply) Stats {
		return Stats{PID: r.PID, Uptime: time.Duration(r.Uptime) * time.Second, Processes: r.Pool.Processes, Total: r.Total}
	})
}

func (q questions) ActiveQueues(ctx context.Context, nodes []string) (map[string][]string, error) {
	type reply []struct{ Name string }
	answers, err := question[reply](ctx, q, "active_queues", nil, nodes)
	return convert(answers, err, func(queues reply) []string {
		names := make([]string, len(queues))
		for i, queue := range queues {
			names[i] = queue.Name
		}
		slices.Sort(names)
		return names
	})
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
	answers, err := question[reply](ctx, q, "conf", nil, nodes)
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
	_, err := question[any](ctx, q, "cancel_consumer", map[string]string{"queue": queue}, nodes)
	return err
}

func (q questions) AddConsumer(ctx context.Context, queue string, nodes []string) error {
	_, err := question[any](ctx, q, "add_consumer", map[string]string{"queue": queue}, nodes)
	return err
}
