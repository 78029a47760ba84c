package celery

import (
	"context"
	"errors"
	"maps"
	"regexp"
	"slices"
	"sync"
	"time"
)

// A Survey is who answered, whether expected or not.
type Survey struct {
	Workers   map[string]Worker // by node
	ByCommand bool              // asked by the celery command, since nobody listens where workers do by default
}

// A Worker is what one worker says of itself and of the tasks in its hands.
type Worker struct {
	Stats
	Versions   Versions
	Queues     []Consumed
	Registered []string // names of tasks, without Celery's own
	Active     []Task   // running
	Reserved   []Task   // taken and not begun
	Scheduled  []Task   // taken and kept until their time
	Silent     []string // questions that it did not answer, though it answered others
}

// Versions of a worker's software; empty where it does not say.
type Versions struct {
	Celery string `json:"celery"`
	Kombu  string `json:"kombu"`
	Python string `json:"python"`
}

// A Consumed queue is one that a worker takes tasks from, as it declares it.
type Consumed struct {
	Name       string         `json:"name"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Exclusive  bool           `json:"exclusive"`
	Arguments  map[string]any `json:"queue_arguments"`
}

// Survey puts all questions to everybody at once. It ends when all expected
// have answered and nobody else has for a quarter of a second – on Redis as
// soon as all have answered that listen – and at the latest after limit, or
// with its context where the command has to ask. Expected workers that did not
// answer are named in a *MissingError beside the answers of the others.
func (q questions) Survey(ctx context.Context, expected []string, limit time.Duration) (Survey, error) {
	about := func(method string) query { return query{method: method, nodes: expected, all: true, limit: limit} }
	var (
		wg                          sync.WaitGroup
		stats                       map[string]Stats
		versions                    map[string]Versions
		queues                      map[string][]Consumed
		registered                  map[string][]string
		active, reserved, scheduled map[string][]Task
		errs                        [7]error
	)
	wg.Go(func() { stats, errs[0] = q.stats(ctx, about("stats")) })
	wg.Go(func() { versions, errs[1] = q.versions(ctx, about("report")) })
	wg.Go(func() { queues, errs[2] = q.consumed(ctx, about("active_queues")) })
	wg.Go(func() { registered, errs[3] = q.registered(ctx, about("registered")) })
	wg.Go(func() { active, errs[4] = q.tasks(ctx, about("active")) })
	wg.Go(func() { reserved, errs[5] = q.tasks(ctx, about("reserved")) })
	wg.Go(func() { scheduled, errs[6] = q.scheduled(ctx, about("scheduled")) })
	wg.Wait()
	workers := map[string]Worker{}
	for node, s := range stats {
		w := Worker{Stats: s, Versions: versions[node], Queues: queues[node], Registered: registered[node],
			Active: active[node], Reserved: reserved[node], Scheduled: scheduled[node]}
		w.Silent = slices.Concat(silent(versions, node, "report"), silent(queues, node, "active_queues"), silent(registered, node, "registered"),
			silent(active, node, "active"), silent(reserved, node, "reserved"), silent(scheduled, node, "scheduled"))
		workers[node] = w
	}
	// That of stats says who is missing; another one matters when it is of the broker.
	err := errs[0]
	for _, other := range errs[1:] {
		if err == nil && (errors.Is(other, ErrUnreachable) || errors.Is(other, ErrLogin)) {
			err = other
		}
	}
	return Survey{Workers: workers, ByCommand: q.byCommand()}, err
}

func silent[T any](answers map[string]T, node, question string) []string {
	if _, ok := answers[node]; ok {
		return nil
	}
	return []string{question}
}

// Nodes are the names of those who answered, sorted.
func (s Survey) Nodes() []string { return slices.Sorted(maps.Keys(s.Workers)) }

// version finds one in the first lines of a worker's report:
// software -> celery:5.7.0 (recovery) kombu:5.7.0 py:3.11.2
var version = regexp.MustCompile(`\b(celery|kombu|py):(\S+)`)

func (q questions) versions(ctx context.Context, ask query) (map[string]Versions, error) {
	type reply struct{ OK string }
	answers, err := question[reply](ctx, q, ask)
	return convert(answers, err, func(r reply) Versions {
		of := map[string]string{}
		for _, m := range version.FindAllStringSubmatch(r.OK, 3) { // behind them come settings
			of[m[1]] = m[2]
		}
		return Versions{Celery: of["celery"], Kombu: of["kombu"], Python: of["py"]}
	})
}
