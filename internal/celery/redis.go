package celery

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/redisdial"
)

// Conventions of kombu, Celery's transport: how it names its keys and topics.
// An application may have changed them (global_keyprefix, fanout_prefix).
const (
	separator        = "\x06\x16" // between the parts of a binding, and before a priority
	bindingKey       = "_kombu.binding."
	bindingDeadlines = "_kombu.binding_deadlines" // when a table of bindings is swept; since kombu 5.7
	bindingLife      = time.Hour                  // of one that nobody refreshes
	unackedKey       = "unacked"
)

// priorities are the suffixes of the lists in which kombu keeps the messages
// of one queue by priority; the first is emptied first.
var priorities = []string{"", separator + "3", separator + "6", separator + "9"}

func listsOf(queue string) []string {
	keys := make([]string, len(priorities))
	for i, p := range priorities {
		keys[i] = queue + p
	}
	return keys
}

// overRedis speaks kombu's protocol: a question is published to all workers,
// an answer is pushed to the list that the reply exchange's binding names.
type overRedis struct {
	questions
	address   string // of the broker, without password
	topic     string // of the questions
	rdb       *redis.Client
	command   command // for those who do not listen to topic
	commanded atomic.Bool
}

func newRedis(h host.Host, o Options, u *url.URL) (*overRedis, error) {
	// kombu's own parameters, such as ssl_cert_reqs, mean nothing to us.
	plain := *u
	plain.RawQuery = ""
	opts, err := redisdial.Options(h, plain.String(), 12) // each of a survey's questions waits on a connection of its own
	if err != nil {
		return nil, fmt.Errorf("reading the broker's URL: %w", err)
	}
	c := &overRedis{
		address: u.Scheme + "://" + u.Host + u.Path, topic: "/" + strconv.Itoa(opts.DB) + "." + askExchange,
		rdb: redis.NewClient(opts), command: newCommand(h, o),
	}
	c.questions = questions{c}
	return c, nil
}

// Close ends the connections to Redis.
func (c *overRedis) Close() error { return c.rdb.Close() }

func (c *overRedis) byCommand() bool { return c.commanded.Load() }

func (c *overRedis) redisError(err error) error {
	_, answered := redisdial.Answered(err)
	switch {
	case !answered:
		return fmt.Errorf("%w: %s: %w", ErrUnreachable, c.address, err)
	case redisdial.RefusedLogin(err):
		return fmt.Errorf("%w: %s: %w (check user and password of its URL)", ErrLogin, c.address, err)
	}
	return fmt.Errorf("%s: %w", c.address, err)
}

func (c *overRedis) ask(ctx context.Context, q query) (map[string]json.RawMessage, error) {
	asking, cancel := q.deadline(ctx)
	defer cancel()
	id, ticket := newID(), newID()
	listeners, others, err := c.publish(asking, q, id, ticket)
	if err != nil {
		return nil, c.redisError(err)
	}
	defer c.unbind(ctx, id)
	switch {
	case listeners == 0 && others:
		c.commanded.Store(true)
		return c.command.ask(ctx, q)
	case listeners == 0:
		return nil, nil
	}
	t := &tally{query: q, listeners: listeners}
	got, err := t.collect(asking, func(ctx context.Context) error { return c.nextAnswer(ctx, t, id, ticket) })
	if err != nil && !errors.Is(err, context.Canceled) {
		err = c.redisError(err)
	}
	return got, err
}

// message is how kombu wraps a body.
type message struct {
	Body        string         `json:"body"`
	Encoding    string         `json:"content-encoding"`
	ContentType string         `json:"content-type"`
	Headers     map[string]any `json:"headers"`
	Properties  map[string]any `json:"properties"`
}

// publish binds a list for the answers and asks. It returns how many listen
// where workers do by default and, if nobody, whether any client at all waits
// for what a pattern names, as workers do.
func (c *overRedis) publish(ctx context.Context, q query, id, ticket string) (listeners int, others bool, err error) {
	body, err := q.body(ticket, id)
	if err != nil {
		return 0, false, err
	}
	text, err := json.Marshal(message{
		Body: base64.StdEncoding.EncodeToString(body), Encoding: "utf-8", ContentType: "application/json",
		Headers: map[string]any{"clock": 1, "expires": expires(ctx)},
		Properties: map[string]any{"delivery_mode": 1, "priority": 0, "body_encoding": "base64", "delivery_tag": newID(),
			"delivery_info": map[string]string{"exchange": askExchange, "routing_key": ""}},
	})
	if err != nil {
		return 0, false, err
	}
	pipe := c.rdb.Pipeline()
	// A sweep of the workers must not take the binding away while it is used;
	// where there are no deadlines nobody sweeps. Servers before 6.2 know no GT.
	extended := pipe.ZAddArgs(ctx, bindingDeadlines, redis.ZAddArgs{XX: true, GT: true, Members: []redis.Z{
		{Score: float64(time.Now().Add(bindingLife).UnixMilli()), Member: answerExchange}}})
	bound := pipe.SAdd(ctx, bindingKey+answerExchange, binding(id))
	heard, patterns := pipe.Publish(ctx, c.topic, text), pipe.PubSubNumPat(ctx)
	_, err = pipe.Exec(ctx)
	if extended.Err() != nil || patterns.Err() != nil {
		err = errors.Join(bound.Err(), heard.Err())
	}
	return int(heard.Val()), patterns.Err() != nil || patterns.Val() > 0, err
}

// binding is the member of the reply exchange's table: routing key, pattern and queue.
func binding(id string) string { return id + separator + separator + id + "." + answerExchange }

// unbind leaves nothing behind: a later answer finds no queue and is dropped.
func (c *overRedis) unbind(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	pipe := c.rdb.TxPipeline()
	pipe.SRem(ctx, bindingKey+answerExchange, binding(id))
	pipe.Del(ctx, listsOf(id+"."+answerExchange)...)
	_, _ = pipe.Exec(ctx) // what is left is swept by a worker, or by the next use
}

// nextAnswer waits for one, a second at most: a blocking call does not see
// that its context is cancelled.
func (c *overRedis) nextAnswer(ctx context.Context, t *tally, id, ticket string) error {
	item, err := c.rdb.BRPop(ctx, time.Second, listsOf(id+"."+answerExchange)...).Result()
	if errors.Is(err, redis.Nil) || ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	var m message
	if json.Unmarshal([]byte(item[1]), &m) != nil {
		return nil
	}
	if got, ok := m.Headers["ticket"].(string); ok && got != ticket {
		return nil
	}
	if body, err := m.decode(); err == nil {
		t.take(body)
	}
	return nil
}

func (m message) decode() ([]byte, error) {
	if m.Properties["body_encoding"] == "base64" {
		return base64.StdEncoding.DecodeString(m.Body)
	}
	return []byte(m.Body), nil
}

// QueueDepth counts the lists of the queue. An empty list does not exist in
// Redis: the binding says whether there is such a queue.
func (c *overRedis) QueueDepth(ctx context.Context, queue string) (Queue, error) {
	ctx, cancel := query{nodes: []string{}}.deadline(ctx)
	defer cancel()
	doing := "looking at queue " + queue
	pipe := c.rdb.Pipeline()
	var lengths []*redis.IntCmd
	for _, key := range listsOf(queue) {
		lengths = append(lengths, pipe.LLen(ctx, key))
	}
	bound, unacked := pipe.Exists(ctx, bindingKey+queue), pipe.HLen(ctx, unackedKey)
	if _, err := pipe.Exec(ctx); err != nil {
		return Queue{}, fmt.Errorf("%s: %w", doing, c.redisError(err))
	}
	q := Queue{Unacked: int(unacked.Val()), Consumers: -1}
	for _, n := range lengths {
		q.Messages += int(n.Val())
	}
	if q.Messages == 0 && bound.Val() == 0 {
		return Queue{}, fmt.Errorf("%s of %s: %w", doing, c.address, ErrNoQueue)
	}
	return q, nil
}
