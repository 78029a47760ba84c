package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkRedis is “Test Redis connection”.
var checkRedis = Check{
	Name:    "deps:redis",
	Command: "redis-cli ping",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		c, err := t.cache()
		if err != nil {
			return []report.Finding{keyed("redis", unseen("Redis", err, "see cache.url in "+t.Config.File))}
		}
		defer c.Close()
		// What does not answer would be said by each of the looks.
		answers := lookAll(ctx, t, look{at: "Redis", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookRedisServer(ctx, c) }})
		if answers[0].Status == report.Unknown {
			return answers
		}
		return append(answers, lookAll(ctx, t,
			look{at: "the keys of the cache", limit: t.Config.Timeouts.Check, see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookKeys(ctx, c)}
			}},
			look{at: "flag " + t.Config.Cache.PauseKey, see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookPause(ctx, c)}
			}},
		)...)
	},
}

// keyed gives a finding what programs know it by.
func keyed(key string, f report.Finding) report.Finding {
	f.Key = key
	return f
}

// nearlyFull is the part of Redis' memory limit above which it is a fault: the
// next update would not find room.
const nearlyFull = 0.95

func (t *Target) lookRedisServer(ctx context.Context, c *cache.Client) []report.Finding {
	const looked = "Redis"
	see := "see pre:connections, and cache.url in " + t.Config.File
	took, err := c.Ping(ctx)
	if err != nil {
		return []report.Finding{keyed("redis", unseen(looked, err, see))}
	}
	info, err := c.Info(ctx)
	if err != nil {
		return []report.Finding{keyed("redis", unseen(looked, err, see))}
	}
	limit := "no limit"
	if info.MaxMemory > 0 {
		limit = report.Bytes(info.MaxMemory) + " at most"
	}
	f := found(looked, "Redis %s answers in %s: %s of memory used, %s, %s; %s clients", info.Version, report.Duration(took),
		report.Bytes(info.UsedMemory), limit, info.EvictionPolicy, report.Count(info.Clients))
	switch {
	case info.MaxMemory > 0 && float64(info.UsedMemory) > nearlyFull*float64(info.MaxMemory) && info.EvictionPolicy == "noeviction":
		f = fault(looked, "its memory is full: "+f.Found, "raise maxmemory, or see what fills it: cache:clear removes the cache's part")
	case info.MaxMemory > 0 && strings.HasPrefix(info.EvictionPolicy, "allkeys-"):
		f = warn(looked, f.Found+"; when its memory is full it may drop "+t.evicted(), "set maxmemory-policy to a volatile- one, or to noeviction")
	}
	f.Counts = map[string]int64{"ms": took.Milliseconds(), "used_bytes": info.UsedMemory, "max_bytes": info.MaxMemory, "clients": info.Clients, "max_clients": info.MaxClients}
	findings := []report.Finding{keyed("redis", f)}
	if err := c.Writable(ctx, t.Config.Cache.Prefix); err != nil {
		findings = append(findings, keyed("changes", fault("changes to Redis", err.Error(), "cache:clear and updates:pause would fail the same way")))
	}
	return findings
}

// evicted names what must not be dropped and is in the server's hands.
func (t *Target) evicted() string {
	at, err := url.Parse(t.Config.Cache.URL)
	broker, brokerErr := url.Parse(t.Config.BrokerURL)
	what := "the flag that pauses updates"
	if err == nil && brokerErr == nil && at.Host == broker.Host {
		what += " and tasks that wait"
	}
	return what
}

// lookKeys counts what cache:clear would remove, and what it would not.
func (t *Target) lookKeys(ctx context.Context, c *cache.Client) report.Finding {
	prefix := t.Config.Cache.Prefix
	looked := fmt.Sprintf("keys that begin with %q", prefix)
	if t.Config.Cache.WholeDatabase {
		looked = "the whole database of the cache"
	}
	contents, err := c.Look(ctx, prefix)
	if err != nil {
		return keyed("cache", unseen(looked, err, "see pre:connections"))
	}
	f := found(looked, "cache:clear would remove %s of %s keys, and leave %s of Celery's, %s flags and %s others", report.Count(contents.Cache), report.Count(contents.Total),
		report.Count(contents.Celery), report.Count(int64(len(contents.Flags))), report.Count(contents.Other))
	if t.Config.Cache.WholeDatabase {
		err = c.Foreign(ctx, contents)
		var refused *cache.ForeignError
		if errors.As(err, &refused) {
			f = fault(looked, err.Error(), "see cache.whole_database in "+t.Config.File)
		} else if err != nil {
			f = unseen(looked, err, "see pre:connections")
		}
	}
	f.Counts = map[string]int64{"looked": contents.Total, "cache": contents.Cache, "celery": contents.Celery, "flags": int64(len(contents.Flags)), "other": contents.Other}
	f.Samples = contents.Strange
	return keyed("cache", f)
}

func (t *Target) lookPause(ctx context.Context, c *cache.Client) report.Finding {
	key := t.Config.Cache.PauseKey
	looked := "flag " + key
	p, err := c.Paused(ctx, key)
	switch {
	case err != nil:
		return keyed("pause", unseen(looked, err, "see pre:connections"))
	case p == nil:
		return keyed("pause", found(looked, "updates are not paused"))
	}
	f := warn(looked, "updates are paused, "+p.String(), "updates:resume when the reason for it is gone: verify:update waits for it in vain")
	if !p.Since.IsZero() {
		f.Counts = map[string]int64{"ms": t.Now().Sub(p.Since).Round(time.Millisecond).Milliseconds()}
	}
	return keyed("pause", f)
}
