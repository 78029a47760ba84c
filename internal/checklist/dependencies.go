package checklist

import (
	"context"
	"fmt"
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

// cacheStep is “Clear cache before deployment”: while no worker refills it.
type cacheStep struct{ inputs }

func (cacheStep) String() string { return "cache:clear" }

func (s cacheStep) Describe(context.Context) ([]string, error) {
	if s.t.Config.Cache.WholeDatabase {
		return []string{"UNLINK of every key, after the database was seen to hold nothing of Celery's and no flag of others"}, nil
	}
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
