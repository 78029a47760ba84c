package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// checkMigrations is “Check for pending migrations”. Running them belongs to
// the cut-over, behind the backup.
var checkMigrations = Check{
	Name:    "pre:migrations",
	Command: "alembic current\nalembic heads",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Release == nil {
			head, err := t.databaseHead(ctx)
			if err != nil {
				return []report.Finding{unseen("alembic_version", err, "see pre:connections")}
			}
			return []report.Finding{warn("alembic_version", "the database is at "+orNone(head)+"; no release is installed to hold it against", "run release:install, or deploy")}
		}
		looked := "migrations of " + s.Release.ID
		heads, err := t.alembic(s.Release.ID).Heads(ctx)
		if err != nil {
			return []report.Finding{unseen(looked, err, "")}
		}
		if len(heads) != 1 {
			return []report.Finding{fault(looked, fmt.Sprintf("%d heads: %s", len(heads), strings.Join(heads, ", ")), "merge them with `alembic merge` and commit that")}
		}
		plan, err := t.planMigrations(ctx, s.Release.ID)
		switch {
		case errors.Is(err, alembic.ErrUnknownRevision):
			return []report.Finding{fault(looked, fmt.Sprintf("the database is at %s, which this release does not know", plan.From), "deploy a release that has this revision, or roll back to the schema before it")}
		case err != nil:
			return []report.Finding{faultOrUnseen(looked, err)}
		}
		if s.migrations != nil {
			*s.migrations = plan
		}
		if len(plan.Pending) == 0 {
			return []report.Finding{found(looked, "none pending, the database is at %s", plan.To)}
		}
		var names []string
		for _, m := range plan.Pending {
			names = append(names, m.Revision+" "+m.Title)
		}
		return []report.Finding{found(looked, "%d pending, %s → %s, %s: %s", len(plan.Pending), orNone(plan.From), plan.To, compatibility(plan), strings.Join(names, "; "))}
	},
}

// checkConfig is “Verify environment variables”.
var checkConfig = Check{
	Name:    "pre:config",
	Command: "python -m scripts.check_config",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		file := t.Config.Env.File
		info, err := t.Host.Stat(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			return []report.Finding{fault(file, "it is not there", "write it, mode 0600; env.keys in "+t.Config.File+" lists what it must hold")}
		}
		if err != nil {
			return []report.Finding{unseen(file, err, "")}
		}
		var findings []report.Finding
		if info.Mode.Perm()&0o077 != 0 {
			findings = append(findings, fault(file, fmt.Sprintf("its mode is %04o: others can read its secrets", info.Mode.Perm()), "chmod 600 "+file))
		}
		content, err := t.Host.ReadFile(ctx, file)
		if err != nil {
			return append(findings, unseen(file, err, ""))
		}
		values, err := config.ParseEnv(content)
		if err != nil {
			return append(findings, fault(file, err.Error(), "write NAME=value lines"))
		}
		if err := t.Config.Env.Check(content); err != nil {
			findings = append(findings, fault(file, err.Error(), "mend it in "+file))
		}
		findings = append(findings, t.envExample(ctx, s, values)...)
		if u, err := url.Parse(values["DATABASE_URL"]); err == nil && values["DATABASE_URL"] != "" && !sameDatabase(u, t.Config.Database.URL) {
			findings = append(findings, fault(file, "DATABASE_URL names another database than database.url of "+t.Config.File, "let both name the same host, port and database"))
		}
		if Judge(findings) == nil {
			findings = append(findings, found(file, "%d keys, all required ones there", len(values)))
		}
		return findings
	},
}

// envExample holds .env against the .env.example of the release to come.
func (t *Target) envExample(ctx context.Context, s Subject, values map[string]string) []report.Finding {
	if s.Release == nil {
		return nil
	}
	for _, dir := range []string{t.backend(s.Release.ID), t.Releases.Dir(s.Release.ID)} {
		file := path.Join(dir, ".env.example")
		content, err := t.Host.ReadFile(ctx, file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return []report.Finding{unseen(file, err, "")}
		}
		example, err := config.ParseEnv(content)
		if err != nil {
			return []report.Finding{warn(file, err.Error(), "mend it in the service's repository")}
		}
		var missing []string
		for name := range example {
			if _, ok := values[name]; !ok {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			slices.Sort(missing)
			return []report.Finding{fault(t.Config.Env.File, "the release to come knows keys that are missing: "+strings.Join(missing, ", "), "add them; "+file+" explains them")}
		}
		return nil
	}
	return nil
}

func sameDatabase(u *url.URL, owner string) bool {
	o, err := url.Parse(owner)
	return err == nil && u.Host == o.Host && u.Path == o.Path
}

// faultOrUnseen tells a fault that was found from a look that failed.
func faultOrUnseen(looked string, err error) report.Finding {
	if errors.Is(err, step.ErrFault) {
		return fault(looked, strings.TrimPrefix(err.Error(), step.ErrFault.Error()+": "), "")
	}
	return unseen(looked, err, "")
}

// checkConnections is “Test external service connections”.
var checkConnections = Check{
	Name:    "pre:connections",
	Command: "python -m scripts.test_connections",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		looks := []func(context.Context, *Target) report.Finding{
			lookDatabase, lookRedis, lookBroker, lookSupervisor, lookOrigin, lookPriceSource, lookPackageIndex, lookPort, lookDisk, lookMonitoring,
		}
		findings := make([]report.Finding, len(looks))
		var wg sync.WaitGroup
		for i, look := range looks {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(ctx, 2*t.Config.Timeouts.Connect)
				defer cancel()
				findings[i] = look(ctx, t)
			})
		}
		wg.Wait()
		return findings
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
