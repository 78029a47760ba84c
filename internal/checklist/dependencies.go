package checklist

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// checkCelery is “Verify RabbitMQ connection” and “Check worker status”.
var checkCelery = Check{
	Name:    "deps:celery",
	Command: "celery -A app.core.celery_app inspect ping\ncelery -A app.core.celery_app status",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return []report.Finding{found("workers", "none yet: this is the first deployment")}
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
type cacheStep struct{ t *Target }

func (cacheStep) String() string { return "cache:clear" }

func (s cacheStep) Describe(context.Context) ([]string, error) {
	return []string{fmt.Sprintf("UNLINK of the keys that begin with %q; Celery's keys and flags stay", s.t.Config.Cache.Prefix)}, nil
}

func (s cacheStep) Run(ctx context.Context, r *step.Run) error {
	c, err := s.t.cache()
	if err != nil {
		return err
	}
	defer c.Close()
	n, err := c.Clear(ctx, s.t.Config.Cache.Prefix, func(done, total int64) { r.Progress(done, total, "keys") })
	if err != nil {
		return err
	}
	r.Say("%s keys removed", report.Count(n))
	return nil
}

func join(words []string) string { return strings.Join(words, ", ") }
