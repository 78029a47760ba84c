package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// asWarnings, if asked to, turns the faults of a section into warnings: the live release's
// broken workers must not keep its repair out.
func (l Checks) asWarnings(force bool) Checks {
	if !force {
		return l
	}
	var lenient Checks
	for _, c := range l {
		look := c.look
		c.look = func(ctx context.Context, t *Target, s Subject) []report.Finding {
			findings := look(ctx, t, s)
			for i, f := range findings {
				if f.Status == report.Fault {
					findings[i].Status = report.Warning
				}
			}
			return findings
		}
		lenient = append(lenient, c)
	}
	return lenient
}

// checkCelery is “Verify RabbitMQ connection” and “Check worker status”.
var checkCelery = Check{
	Name:    "deps:celery",
	Command: "celery -A app.core.celery_app inspect ping\ncelery -A app.core.celery_app status",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return t.lookUnmanaged(ctx)
		}
		control, err := t.celery(s.Live.ID)
		if err != nil {
			return []report.Finding{unseen("broker", err, "see pre:connections")}
		}
		defer control.Close()
		nodes := t.Config.Celery.Nodes
		ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect)
		defer cancel()
		answered, err := control.Ping(ctx, nodes)
		var findings []report.Finding
		for _, node := range nodes {
			if answered[node] != "" {
				findings = append(findings, found(node, "answers the ping"))
				continue
			}
			why := "does not answer"
			if err != nil {
				why += ": " + err.Error()
			}
			findings = append(findings, fault(node, why, "see services:status, and the worker's log"))
		}
		return findings
	},
}

// lookUnmanaged sees to it that a first deployment finds nothing running that
// its undo would stop and could not start again.
func (t *Target) lookUnmanaged(ctx context.Context) []report.Finding {
	processes, err := t.ServiceStatus(ctx)
	if err != nil {
		return []report.Finding{unseen("the service's processes", err, "see pre:connections")}
	}
	for _, p := range processes {
		if p.PID != 0 {
			return []report.Finding{fault(p.Name, "it runs, but no release of this suite's is live: it could not be brought back", "stop it with supervisorctl, then deploy")}
		}
	}
	return []report.Finding{found("the service's processes", "none runs: this is the first deployment, there are no workers to ask")}
}

// checkRedis is “Test Redis connection”.
var checkRedis = Check{
	Name:    "deps:redis",
	Command: "redis-cli ping",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		c, err := t.cache()
		if err != nil {
			return []report.Finding{unseen("Redis", err, "see cache.url in "+t.Config.File)}
		}
		defer c.Close()
		took, err := c.Ping(ctx)
		if err != nil {
			return []report.Finding{fault("Redis", err.Error(), "see cache.url in "+t.Config.File)}
		}
		contents, err := c.Look(ctx, t.Config.Cache.Prefix)
		if err != nil {
			return []report.Finding{unseen("Redis", err, "")}
		}
		findings := []report.Finding{found("Redis", "answers in %s; cache:clear would remove %s of %s keys", report.Duration(took), report.Count(contents.Cache), report.Count(contents.Total))}
		if slices.Contains(contents.Flags, t.Config.Cache.PauseKey) {
			findings = append(findings, warn("flag "+t.Config.Cache.PauseKey, "updates are paused", "delete the flag when the reason for it is gone: verify:update waits for it in vain"))
		}
		return findings
	},
}

// cacheStep is “Clear cache before deployment”: while no worker refills it.
type cacheStep struct{ inputs }

func (cacheStep) String() string { return "cache:clear" }

func (s cacheStep) Describe(context.Context) ([]string, error) {
	return []string{fmt.Sprintf("UNLINK of the keys that begin with %q; Celery's keys and flags stay", s.t.Config.Cache.Prefix)}, nil
}

func (s cacheStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	n, err := s.t.clearCache(ctx, r)
	if err == nil {
		r.Say("%s keys removed", report.Count(n))
	}
	return err
}

func (t *Target) clearCache(ctx context.Context, r *step.Run) (int64, error) {
	c, err := t.cache()
	if err != nil {
		return 0, err
	}
	defer c.Close()
	return c.Clear(ctx, t.Config.Cache.Prefix, func(done, total int64) { r.Progress(done, total, "keys") })
}

func join(words []string) string { return strings.Join(words, ", ") }
