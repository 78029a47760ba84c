package celery

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"time"
)

// grace is how long others may still answer after the last answer, once all
// that have to have given theirs: workers answer in milliseconds.
const grace = 250 * time.Millisecond

// lateness is how long after our deadline a question still counts for a
// worker: clocks differ, but nobody shall act on it minutes later.
const lateness = 10 * time.Second

// A query is one question: "ping" or another of Celery's remote control methods.
type query struct {
	method string
	args   map[string]string
	nodes  []string      // who has to answer; nil: nobody in particular
	all    bool          // everybody is asked, and given a moment after those that have to
	limit  time.Duration // besides the context's; 0: none
}

// deadline is when the question's time is up.
func (q query) deadline(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := nodesTimeout
	if q.nodes == nil {
		limit = openTimeout
	}
	if _, ok := ctx.Deadline(); ok && q.limit == 0 {
		return context.WithCancel(ctx)
	}
	if q.limit > 0 {
		limit = q.limit
	}
	return context.WithTimeout(ctx, limit)
}

// body is the question as a worker reads it. ticket is of our choice and comes
// back with each answer, which goes to the reply exchange with our key.
func (q query) body(ticket, key string) ([]byte, error) {
	args, nodes := q.args, q.nodes
	if args == nil {
		args = map[string]string{}
	}
	if q.all {
		nodes = nil
	}
	return json.Marshal(map[string]any{
		"method": q.method, "arguments": args, "destination": nodes, "pattern": nil, "matcher": nil, "ticket": ticket,
		"reply_to": map[string]string{"exchange": answerExchange, "routing_key": key},
	})
}

// expires is when a worker need not bother any more, in its words.
func expires(ctx context.Context) float64 {
	at, _ := ctx.Deadline()
	return float64(at.Add(lateness).UnixMilli()) / 1000
}

// A tally counts the answers to a query.
type tally struct {
	query
	listeners int // to whom the broker has handed the question; 0: it does not tell
	got       map[string]json.RawMessage
}

// complete: nobody else is waited for.
func (t *tally) complete() bool {
	if t.nodes != nil && !t.all {
		return t.settled()
	}
	return t.listeners > 0 && len(t.got) >= t.listeners && t.settled()
}

// settled: all who have to answer have answered.
func (t *tally) settled() bool {
	return !slices.ContainsFunc(t.nodes, func(node string) bool { _, ok := t.got[node]; return !ok })
}

// take adds one answer; what is none is left aside.
func (t *tally) take(body []byte) {
	var answers map[string]json.RawMessage
	if json.Unmarshal(body, &answers) != nil {
		return
	}
	for node, answer := range answers {
		t.got[node] = answer
	}
}

// collect calls next, which waits for one answer and takes it, until the
// answers are enough or the time is up.
func (t *tally) collect(ctx context.Context, next func(context.Context) error) (map[string]json.RawMessage, error) {
	t.got = map[string]json.RawMessage{}
	for !t.complete() {
		waiting, cancel := ctx, context.CancelFunc(func() {})
		if t.all && t.settled() {
			waiting, cancel = context.WithTimeout(ctx, grace)
		}
		err := next(waiting)
		over := waiting.Err() != nil
		cancel()
		switch {
		case errors.Is(ctx.Err(), context.Canceled):
			return nil, ctx.Err()
		case over:
			return t.got, nil
		case err != nil:
			return nil, err
		}
	}
	return t.got, nil
}

func newID() string {
	var b [16]byte
	rand.Read(b[:])
	return hex.EncodeToString(b[:])
}
