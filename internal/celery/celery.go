// Package celery speaks to Celery's workers through their broker, over AMQP or
// Redis, as Celery's own control client does. Where nobody hears it on Redis,
// since the application has the keys of its transport begin in a way of its
// own, the release's celery command asks instead. All answer the same questions
// in the same way.
package celery

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Deadlines of calls whose context has none.
const (
	nodesTimeout = 5 * time.Second // for named nodes: returns when all have answered
	openTimeout  = 2 * time.Second // for whoever is there: always this long, unless the broker tells how many they are
)

// Why a question had no answer.
var (
	ErrUnreachable = errors.New("the broker is not reachable")
	ErrLogin       = errors.New("the broker refused the login")
	ErrNoAnswer    = errors.New("no worker answered")
	ErrNoQueue     = errors.New("there is no such queue")
	ErrNoPeek      = errors.New("the queue cannot be looked into without harm")
)

// A MissingError names the workers that should have answered and did not; it
// is ErrNoAnswer. The answers of the others come beside it.
type MissingError struct {
	Question string
	Missing  []string
	Answered []string
}

func (e *MissingError) Error() string {
	if len(e.Missing) == 0 {
		return fmt.Sprintf("celery %s: %v in time", e.Question, ErrNoAnswer)
	}
	answered := "nobody did"
	if len(e.Answered) > 0 {
		answered = strings.Join(e.Answered, ", ") + " did"
	}
	return fmt.Sprintf("celery %s: no answer in time from %s (%s)", e.Question, strings.Join(e.Missing, ", "), answered)
}

// Is makes it ErrNoAnswer.
func (e *MissingError) Is(target error) bool { return target == ErrNoAnswer }

// Control asks and commands workers. nodes are names such as worker0@etf: with
// them a call returns as soon as all have answered, and those that did not in
// time are named in a *MissingError beside the answers of the others; with
// nil a call waits its whole time (the context's deadline, at most; two
// seconds without one) for whoever answers, but no longer than for all that a
// Redis broker has handed the question to. Every answer is by node.
type Control interface {
	// Ping returns what each worker said: "pong".
	Ping(ctx context.Context, nodes []string) (map[string]string, error)
	// Active lists the tasks that each worker is running.
	Active(ctx context.Context, nodes []string) (map[string][]Task, error)
	// Reserved lists the tasks that each worker has taken and not begun.
	Reserved(ctx context.Context, nodes []string) (map[string][]Task, error)
	// Scheduled lists the tasks that each worker has taken and keeps until
	// their time (ETA or countdown) has come.
	Scheduled(ctx context.Context, nodes []string) (map[string][]Task, error)
	// Registered lists the names of the tasks that each worker knows.
	Registered(ctx context.Context, nodes []string) (map[string][]string, error)
	// Stats tells of each worker itself.
	Stats(ctx context.Context, nodes []string) (map[string]Stats, error)
	// ActiveQueues lists the queues that each worker takes tasks from.
	ActiveQueues(ctx context.Context, nodes []string) (map[string][]string, error)
	// Conf returns what each worker was configured with.
	Conf(ctx context.Context, nodes []string) (map[string]Conf, error)
	// Survey asks everybody everything.
	Survey(ctx context.Context, expected []string, limit time.Duration) (Survey, error)
	// CancelConsumer has workers take no more tasks from a queue, and returns
	// when they do not; it is fine when they did not anyway.
	CancelConsumer(ctx context.Context, queue string, nodes []string) error
	// AddConsumer has workers take tasks from a queue (again).
	AddConsumer(ctx context.Context, queue string, nodes []string) error
	// QueueDepth looks at a queue of the broker. ErrNoQueue.
	QueueDepth(ctx context.Context, queue string) (Queue, error)
	// Peek looks at the first messages of a queue, at most so many, and leaves
	// them there. ErrNoPeek.
	Peek(ctx context.Context, q Consumed, most int) (Waiting, error)
	// Close ends the connection to the broker.
	Close() error
}

// A Task is one task in a worker's hands.
type Task struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Started time.Time `json:"started"` // zero when it has not been
	PID     int       `json:"pid"`     // of the process that runs it; 0: none
	ETA     time.Time `json:"eta"`     // not to be run before; zero when at once
}

// Stats is what a worker says of itself.
type Stats struct {
	PID       int              `json:"pid"` // of its main process, the one that supervisor started
	Uptime    time.Duration    `json:"uptime"`
	Processes []int            `json:"processes"` // its pool
	Total     map[string]int64 `json:"total"`     // tasks that it has taken since its start, by name
}

// Conf is a part of a worker's configuration.
type Conf struct {
	BeatSchedule map[string]BeatEntry `json:"beat_schedule"` // by entry
}

// A BeatEntry is one periodic task.
type BeatEntry struct {
	Task string `json:"task"`
	// Schedule in the worker's words: <crontab: 30 16 * * * (m/h/dM/MY/d)>,
	// 0:05:00 or 1 day, 0:00:00 for a timedelta, 30.0 for a number of seconds.
	Schedule string `json:"schedule"`
}

// A Queue is the state of one queue.
type Queue struct {
	Messages  int `json:"messages"`  // ready to be taken
	Unacked   int `json:"unacked"`   // taken and not acknowledged; -1: the broker does not tell
	Consumers int `json:"consumers"` // -1: the broker does not tell
}

// Options say where the broker is and, for Redis, how to run celery if need be.
type Options struct {
	BrokerURL string   // amqp://, amqps://, pyamqp://, redis:// or rediss://
	App       string   // such as app.core.celery_app; for the command only, as are the following
	Python    string   // interpreter of the release
	Dir       string   // folder that the application is imported from
	Env       []string // NAME=value
}

// New chooses by the scheme of the broker's URL. It does not connect yet.
func New(h host.Host, o Options) (Control, error) {
	u, err := url.Parse(o.BrokerURL)
	if err != nil {
		return nil, errors.New("reading the broker's URL: it is not of the form amqp://USER:PASSWORD@HOST:PORT/VHOST or redis://:PASSWORD@HOST:PORT/DB (special characters of the password percent-encoded)")
	}
	if password, ok := u.User.Password(); ok {
		host.AddSecret(password)
	}
	switch u.Scheme {
	case "amqp", "amqps", "pyamqp":
		u.Scheme = strings.TrimPrefix(u.Scheme, "py")
		return newAMQP(h, u)
	case "redis", "rediss":
		return newRedis(h, o, u)
	}
	return nil, fmt.Errorf("reading the broker's URL: broker %q is not supported: use amqp or redis", u.Scheme)
}

// An asker puts one question and returns the raw answers by node.
type asker interface {
	ask(ctx context.Context, q query) (map[string]json.RawMessage, error)
	// byCommand reports whether the celery command had to be used.
	byCommand() bool
}

// questions is Control's part that is the same for all brokers.
type questions struct{ asker }

// question asks and decodes; it is a function since methods have no type parameters.
func question[T any](ctx context.Context, a asker, q query) (map[string]T, error) {
	method := q.method
	raw, err := a.ask(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("celery %s: %w", method, err)
	}
	answers := make(map[string]T, len(raw))
	var failures []error
	for node, body := range raw {
		var failed struct{ Error string }
		var answer T
		if json.Unmarshal(body, &failed) == nil && failed.Error != "" {
			failures = append(failures, fmt.Errorf("celery %s: %s answered: %s", method, node, host.Redact(failed.Error)))
		} else if err := json.Unmarshal(body, &answer); err != nil {
			failures = append(failures, fmt.Errorf("celery %s: answer of %s: %w", method, node, err))
		} else {
			answers[node] = answer
		}
	}
	if len(failures) > 0 {
		return answers, errors.Join(failures...)
	}
	missing := &MissingError{Question: method}
	for _, node := range q.nodes {
		if _, ok := answers[node]; !ok {
			missing.Missing = append(missing.Missing, node)
		}
	}
	if len(missing.Missing) == 0 && len(answers) > 0 {
		return answers, nil
	}
	for node := range answers {
		missing.Answered = append(missing.Answered, node)
	}
	slices.Sort(missing.Answered)
	return answers, missing
}

// convert changes the values of a map.
func convert[A, B any](in map[string]A, err error, f func(A) B) (map[string]B, error) {
	if in == nil {
		return nil, err
	}
	out := make(map[string]B, len(in))
	for node, v := range in {
		out[node] = f(v)
	}
	return out, err
}
