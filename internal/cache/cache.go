// Package cache speaks to Redis: it looks at what a database holds and clears
// the service's cache out of it, and nothing else. The same database may hold
// Celery's queue and results, and the flags that stop updates.
package cache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/redisdial"
)

// Deadlines of calls whose context has none.
const (
	askTimeout  = 10 * time.Second
	scanTimeout = 10 * time.Minute // a look at all keys, or a clearing
)

// Errors that a caller may want to tell apart.
var (
	ErrUnreachable = errors.New("redis is not reachable")
	ErrLogin       = errors.New("redis refused the login")
	ErrNoDatabase  = errors.New("redis has no such database")
)

// Options name what a Client has to keep its hands off.
type Options struct {
	Flags  []string // keys that are flags of the service
	Queues []string // names of Celery's queues; "celery" is always one
}

// A Client speaks to one database of one Redis server.
type Client struct {
	rdb     *redis.Client
	address string // host:port/db, for errors
	flags   map[string]bool
	queues  map[string]bool
}

// New returns a client for a redis:// or rediss:// URL, dialled through h. It
// connects with the first call.
func New(h host.Host, url string, o Options) (*Client, error) {
	opts, err := redisdial.Options(h, url, 2)
	if err != nil {
		return nil, fmt.Errorf("reading the URL of redis: %w", err)
	}
	c := &Client{
		rdb: redis.NewClient(opts), address: opts.Addr + "/" + strconv.Itoa(opts.DB),
		flags: map[string]bool{}, queues: map[string]bool{"celery": true},
	}
	for _, f := range o.Flags {
		c.flags[f] = true
	}
	for _, q := range o.Queues {
		c.queues[q] = true
	}
	return c, nil
}

// Close ends the connections.
func (c *Client) Close() error { return c.rdb.Close() }

func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

// explain says what went wrong in words that lead somewhere.
func (c *Client) explain(ctx context.Context, doing string, err error) error {
	msg, answered := redisdial.Answered(err)
	switch {
	case !answered && ctx.Err() != nil:
		return fmt.Errorf("%s: redis at %s: no answer: %w", doing, c.address, errors.Join(ErrUnreachable, ctx.Err()))
	case !answered:
		return fmt.Errorf("%s: %w at %s: %w", doing, ErrUnreachable, c.address, err)
	case redisdial.RefusedLogin(err):
		return fmt.Errorf("%s: %w at %s: %w (check user and password of its URL)", doing, ErrLogin, c.address, err)
	}
	if strings.Contains(msg, "DB index is out of range") || strings.Contains(msg, "invalid DB index") {
		return fmt.Errorf("%s: %w: %s: %w", doing, ErrNoDatabase, c.address, err)
	}
	return fmt.Errorf("%s: redis at %s: %w", doing, c.address, err)
}

// Ping returns how long the server took to answer.
func (c *Client) Ping(ctx context.Context) (time.Duration, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	begin := time.Now()
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return 0, c.explain(ctx, "asking redis for a sign of life", err)
	}
	return time.Since(begin), nil
}

// Info describes the server.
type Info struct {
	Version        string
	UsedMemory     int64  // bytes
	MaxMemory      int64  // bytes; 0: no limit
	EvictionPolicy string // such as noeviction; another one may evict Celery's queue
	Clients        int64
	Loading        bool // it is reading its data from disk and answers little else
}

// Info asks the server about itself.
func (c *Client) Info(ctx context.Context) (Info, error) {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	text, err := c.rdb.Info(ctx).Result()
	if err != nil {
		return Info{}, c.explain(ctx, "asking redis about itself", err)
	}
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, val, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[name] = val
		}
	}
	number := func(name string) int64 { n, _ := strconv.ParseInt(fields[name], 10, 64); return n }
	return Info{
		Version: fields["redis_version"], UsedMemory: number("used_memory"), MaxMemory: number("maxmemory"),
		EvictionPolicy: fields["maxmemory_policy"], Clients: number("connected_clients"), Loading: fields["loading"] == "1",
	}, nil
}
