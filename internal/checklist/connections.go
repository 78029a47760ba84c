package checklist

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// checkConnections is “Test external service connections”.
var checkConnections = Check{
	Name:    "pre:connections",
	Command: "python -m scripts.test_connections",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		one := func(at string, see func(context.Context, *Target) report.Finding) look {
			return look{at: at, see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{see(ctx, t)}
			}}
		}
		return lookAll(ctx, t,
			one("PostgreSQL", lookDatabase),
			one("Redis", lookRedis),
			one("broker", lookBroker),
			one("supervisor", lookSupervisor),
			one("git origin", lookOrigin),
			one("price source", lookPriceSource),
			one("package index", lookPackageIndex),
			one("API port", lookPort),
			one("disk", lookDisk),
			one("Prometheus and Alertmanager", lookMonitoring),
		)
	},
}

func lookDatabase(ctx context.Context, t *Target) report.Finding {
	looked := "PostgreSQL, database " + t.Config.Database.Name
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return fault(looked, err.Error(), "see database.url in "+t.Config.File)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var version string
	var size int64
	var mayCreate bool
	err = conn.QueryRow(ctx, `select current_setting('server_version'), pg_database_size(current_database()),
		(select rolcreatedb or rolsuper from pg_roles where rolname = current_user)`).Scan(&version, &size, &mayCreate)
	if err != nil {
		return unseen(looked, err, "")
	}
	if !mayCreate {
		return fault(looked, "the owning role may not create databases", "ALTER ROLE … CREATEDB: a rollback restores into a database beside the live one")
	}
	return found(looked, "PostgreSQL %s, %s", version, report.Bytes(size))
}

func lookRedis(ctx context.Context, t *Target) report.Finding {
	looked := "Redis"
	c, err := t.cache()
	if err != nil {
		return fault(looked, err.Error(), "see cache.url in "+t.Config.File)
	}
	defer c.Close()
	info, err := c.Info(ctx)
	if err != nil {
		return fault(looked, err.Error(), "see cache.url in "+t.Config.File)
	}
	return found(looked, "Redis %s answers", info.Version)
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
	return found(looked, "answers; queue %s: %d tasks waiting", t.Config.Celery.Queue, queue.Messages)
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
	return found(looked, "knows %s, %s, %s", t.Config.Services.API, t.Config.Services.Worker, t.Config.Services.Beat)
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

func lookOrigin(ctx context.Context, t *Target) report.Finding {
	looked := "git origin"
	if _, err := t.git(ctx, 2*t.Config.Timeouts.Connect, "ls-remote", "--heads", originRemote); err != nil {
		return fault(looked, err.Error(), "see source.origin in "+t.Config.File)
	}
	return found(looked, "answers")
}

func lookPriceSource(ctx context.Context, t *Target) report.Finding {
	if t.Config.PriceSourceURL == "" {
		return warn("price source", "price_source_url is not configured", "without it only verify:update shows whether prices can be had")
	}
	return t.lookTCP(ctx, "price source", t.Config.PriceSourceURL, "updates will fail until it answers")
}

func lookPackageIndex(ctx context.Context, t *Target) report.Finding {
	if t.Config.Python.PackageIndex == "" {
		return found("package index", "pip's own configuration; release:install has the word")
	}
	return t.lookTCP(ctx, "package index", t.Config.Python.PackageIndex, "see python.package_index in "+t.Config.File)
}

// lookTCP connects to the server of a URL.
func (t *Target) lookTCP(ctx context.Context, looked, address, do string) report.Finding {
	u, err := url.Parse(address)
	if err != nil {
		return fault(looked, "its address cannot be read", do)
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := t.Host.Dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return warn(looked, err.Error(), do)
	}
	conn.Close()
	return found(looked, "%s accepts connections", u.Host)
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

func lookDisk(ctx context.Context, t *Target) report.Finding {
	looked := "disk of " + t.Config.Root
	free, err := t.Host.FreeBytes(ctx, t.Config.Root)
	if err != nil {
		return unseen(looked, err, "")
	}
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return unseen(looked, err, "")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var size int64
	if err := conn.QueryRow(ctx, "select pg_database_size(current_database())").Scan(&size); err != nil {
		return unseen(looked, err, "")
	}
	needed := roomNeeded(size) + int64(t.Config.Thresholds.DiskReserve)
	if free < needed {
		return fault(looked, fmt.Sprintf("%s free, backup and release need %s with the reserve", report.Bytes(free), report.Bytes(needed)),
			"make room, or lower retention or thresholds.disk_reserve")
	}
	return found(looked, "%s free, %s needed", report.Bytes(free), report.Bytes(needed))
}
