package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkConnections is “Test external service connections”.
var checkConnections = Check{
	Name:    "pre:connections",
	Command: "python -m scripts.test_connections",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		looks := []look{{at: "PostgreSQL", see: lookPostgres}, {at: "Redis", see: lookCache}, {at: "disk", see: lookDisks}}
		one := func(key, at string, see func(context.Context, *Target) report.Finding) {
			looks = append(looks, look{at: at, see: func(ctx context.Context, t *Target) []report.Finding {
				f := see(ctx, t)
				f.Key = key
				return []report.Finding{f}
			}})
		}
		one("postgres-tools", "PostgreSQL's programs", lookTools)
		one("broker", "broker", lookBroker)
		one("supervisor", "supervisor", lookSupervisor)
		one("origin", "git origin", lookOrigin)
		one("price-source", "price source", lookPriceSource)
		one("package-index", "package index", lookPackageIndex)
		one("api-port", "API port", lookPort)
		one("monitoring", "Prometheus and Alertmanager", lookMonitoring)
		return lookAll(ctx, t, looks...)
	},
}

// lookRedis asks whether the cache's server answers and lets us in.
func lookRedis(ctx context.Context, t *Target) report.Finding {
	_, f := t.redisInfo(ctx)
	return f
}

func (t *Target) redisInfo(ctx context.Context) (cache.Info, report.Finding) {
	const looked, do = "Redis", "see cache.url in "
	c, err := t.cache()
	if err != nil {
		return cache.Info{}, marked(fault(looked, err.Error(), do+t.Config.File), "redis", nil)
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err == nil {
		_, err = c.Ping(ctx) // one that still reads its data from disk tells of itself, and no more
	}
	if err != nil {
		return info, marked(fault(looked, err.Error(), do+t.Config.File), "redis", nil)
	}
	return info, marked(found(looked, "Redis %s answers", info.Version), "redis", map[string]int64{"bytes": info.UsedMemory, "clients": info.Clients})
}

// lookCache also looks at whether Redis may throw away what it holds: the pause
// flag and, where it is the broker too, tasks.
func lookCache(ctx context.Context, t *Target) []report.Finding {
	info, f := t.redisInfo(ctx)
	if f.Status != report.OK {
		return []report.Finding{f}
	}
	const looked = "memory of Redis"
	counts := map[string]int64{"bytes": info.UsedMemory, "limit": info.MaxMemory}
	broker := sameRedis(t.Config.BrokerURL, t.Config.Cache.URL)
	evicts := strings.HasPrefix(info.EvictionPolicy, "allkeys-")
	m := found(looked, "%s used, no limit, policy %s", report.Bytes(info.UsedMemory), info.EvictionPolicy)
	if info.MaxMemory > 0 {
		m = found(looked, "%s of %s used, policy %s", report.Bytes(info.UsedMemory), report.Bytes(info.MaxMemory), info.EvictionPolicy)
	}
	const policy = "set maxmemory-policy to noeviction or volatile-lru, or give the cache a server of its own"
	switch {
	case evicts && broker && info.MaxMemory > 0:
		m = fault(looked, "policy "+info.EvictionPolicy+" throws away any key when memory is short, also tasks that wait: this server is the broker too", policy)
	case evicts:
		m = warn(looked, "policy "+info.EvictionPolicy+" throws away any key when memory is short, also the flag "+t.Config.Cache.PauseKey, policy)
	case info.MaxMemory > 0 && info.UsedMemory > info.MaxMemory*9/10:
		m = warn(looked, m.Found+": it is nearly full", "raise maxmemory, or see what fills it (deps:redis)")
	}
	return []report.Finding{f, marked(m, "redis-memory", counts)}
}

// sameRedis reports whether two URLs name the same Redis server, whatever the
// database: one memory, one policy.
func sameRedis(a, b string) bool {
	server := func(text string) string {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" {
			return ""
		}
		host, port := u.Hostname(), u.Port()
		if host == "localhost" || host == "::1" {
			host = "127.0.0.1"
		}
		return net.JoinHostPort(host, cmp.Or(port, "6379"))
	}
	return server(a) != "" && server(a) == server(b)
}

func lookBroker(ctx context.Context, t *Target) report.Finding {
	looked := "broker"
	id := ""
	if live, err := t.Releases.Current(ctx); err == nil && live != nil {
		id = live.ID
	}
	control, err := t.celery(id)
	if err != nil {
		return fault(looked, err.Error(), "see broker_url in "+t.Config.File)
	}
	defer control.Close()
	queue, err := control.QueueDepth(ctx, t.Config.Celery.Queue)
	switch {
	case errors.Is(err, celery.ErrNoQueue):
		return found(looked, "answers; the first worker will make queue %s", t.Config.Celery.Queue)
	case err != nil:
		return fault(looked, err.Error(), "see broker_url in "+t.Config.File)
	}
	counts := map[string]int64{"messages": int64(queue.Messages)}
	text := fmt.Sprintf("answers; queue %s: %d tasks waiting", t.Config.Celery.Queue, queue.Messages)
	if queue.Consumers >= 0 { // a broker on Redis does not tell
		counts["consumers"] = int64(queue.Consumers)
		text += fmt.Sprintf(", %d consumers", queue.Consumers)
	}
	if queue.Consumers == 0 && queue.Messages > 0 {
		return marked(warn(looked, text+": nobody takes them", "see services:status: the workers run on another queue or broker, or not at all"), "broker", counts)
	}
	return marked(found(looked, "%s", text), "broker", counts)
}

func lookSupervisor(ctx context.Context, t *Target) report.Finding {
	looked := "supervisor at " + t.Config.Services.Socket
	for _, group := range []string{t.Config.Services.API, t.Config.Services.Worker, t.Config.Services.Beat} {
		if _, err := t.processes(ctx, group); err != nil {
			return fault(looked, err.Error(), "add the program to supervisor's configuration, or mend services in "+t.Config.File)
		}
	}
	if f, ok := t.lookStopWait(ctx, looked); !ok {
		return f
	}
	return marked(found(looked, "knows %s, %s, %s", t.Config.Services.API, t.Config.Services.Worker, t.Config.Services.Beat), "supervisor", map[string]int64{"groups": 3})
}

// lookStopWait holds supervisor's patience with the workers against the longest
// task: after it, supervisor kills.
func (t *Target) lookStopWait(ctx context.Context, looked string) (report.Finding, bool) {
	programs, err := t.supervisor().ReadConfig(ctx)
	if err != nil {
		return unseen(looked, err, ""), false
	}
	for _, p := range programs {
		if p.Group == t.Config.Services.Worker && p.StopWait < t.Config.Thresholds.LongestTask {
			return fault(looked, fmt.Sprintf("%s is killed %s after it was asked to end, its longest task takes %s", p.Group, p.StopWait, t.Config.Thresholds.LongestTask),
				"raise stopwaitsecs in supervisor's configuration, or correct thresholds.longest_task"), false
		}
	}
	return report.Finding{}, true
}

// lookMonitoring asks before the stop for what the verification will ask for.
func lookMonitoring(ctx context.Context, t *Target) report.Finding {
	for _, f := range verifyAlerts.look(ctx, t, Subject{}) {
		if f.Status == report.Unknown {
			f.Status = report.Fault // that it answers is what is looked for here
		}
		if f.Status != report.OK {
			return f
		}
	}
	return found("Prometheus and Alertmanager", "answer, with alert rules loaded")
}

// lookPort finds a stranger on the API's port before supervisor does.
func lookPort(ctx context.Context, t *Target) report.Finding {
	u, err := url.Parse(t.Config.API.URL)
	if err != nil {
		return fault("API port", err.Error(), "see api.url in "+t.Config.File)
	}
	looked := "API port " + u.Host
	procs, err := t.processes(ctx, t.Config.Services.API)
	if err != nil {
		return unseen(looked, err, "")
	}
	for _, p := range procs {
		if p.PID != 0 || p.State == "BACKOFF" && p.SpawnError == "" {
			return found(looked, "held by %s", p.Group)
		}
	}
	conn, err := t.Host.Dial(ctx, "tcp", u.Host)
	if err == nil {
		conn.Close()
		return fault(looked, "somebody else listens there, while no process of "+t.Config.Services.API+" runs", "end that process, or give the API another port")
	}
	return found(looked, "free")
}
