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
	opts, err := redisdial.Options(h, url, 4)
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
	code, _, _ := strings.Cut(msg, " ")
	return fmt.Errorf("%s: redis at %s: %w%s", doing, c.address, err, hints[code])
}

// hints explain what a server says that answers and does not serve.
var hints = map[string]string{
	"LOADING":  " (it reads its data from disk after a start: wait until it has)",
	"READONLY": " (it is a replica: name its master in the URL)",
	"MISCONF":  " (it cannot save its data and takes no changes: see its log and its disk)",
	"OOM":      " (its memory is full: raise maxmemory, or see what fills it)",
	"NOPERM":   " (its user may not do this: see ACL LIST)",
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
	MaxClients     int64
	Replica        bool // of another server, from which its data come
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
		EvictionPolicy: fields["maxmemory_policy"], Clients: number("connected_clients"), MaxClients: number("maxclients"), Replica: fields["role"] == "slave",
	}, nil
}

// Writable tells why the server would not unlink the cache's keys, if so, by
// having it unlink one that is not there: that changes nothing.
func (c *Client) Writable(ctx context.Context, prefix string) error {
	ctx, cancel := withDeadline(ctx, askTimeout)
	defer cancel()
	missing := prefix + "etf-deploy:no-such-key"
	if err := c.rdb.Unlink(ctx, missing).Err(); err != nil {
		return c.explain(ctx, "asking redis whether it takes changes", err)
	}
	return nil
}
