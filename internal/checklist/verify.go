package checklist

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyAPI is “Check API endpoints”.
var verifyAPI = Check{
	Name:    "verify:api",
	Command: "curl -v http://localhost:8000/api/v1/etf/health",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		var findings []report.Finding
		pages := append([]string{t.Config.API.Health}, t.Config.API.Endpoints...)
		for i, page := range pages {
			if slices.Index(pages, page) == i {
				findings = append(findings, t.lookPage(ctx, page, s))
			}
		}
		return findings
	},
}

func (t *Target) lookPage(ctx context.Context, page string, s Subject) report.Finding {
	began := time.Now()
	res, body, err := t.get(ctx, t.Config.API.URL+page)
	took := time.Since(began)
	if err != nil {
		return fault(page, err.Error(), "see services:status")
	}
	if res.StatusCode != http.StatusOK {
		return fault(page, res.Status+": "+firstLine(body), "see the API's log")
	}
	if header := t.Config.API.ReleaseHeader; header != "" && s.Live != nil {
		if got := res.Header.Get(header); got != s.Live.ID {
			return fault(page, fmt.Sprintf("answered by release %q, live is %s", got, s.Live.ID), "services:start restarts what runs another release")
		}
	}
	if took > t.Config.Thresholds.Latency {
		return warn(page, fmt.Sprintf("200 after %s", report.Duration(took)), "thresholds.latency is "+report.Duration(t.Config.Thresholds.Latency))
	}
	return found(page, "200 in %s", report.Duration(took))
}

// verifyTasks is “Verify Celery tasks”. Registered is not running: the
// scheduler is looked at as well.
var verifyTasks = Check{
	Name:    "verify:tasks",
	Command: "celery -A app.core.celery_app inspect registered",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return []report.Finding{fault("workers", "no release is live", "run deploy")}
		}
		control, err := t.celery(s.Live.ID)
		if err != nil {
			return []report.Finding{unseen("broker", err, "see pre:connections")}
		}
		defer control.Close()
		asking, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect)
		defer cancel()
		registered, err := control.Registered(asking, t.Config.Celery.Nodes)
		if err != nil {
			return []report.Finding{unseen("workers", err, "see deps:celery")}
		}
		var findings []report.Finding
		for _, node := range t.Config.Celery.Nodes {
			if len(registered[node]) == 0 {
				findings = append(findings, fault(node, "has no task registered, or did not answer", "see the worker's log"))
				continue
			}
			findings = append(findings, found(node, "%d tasks registered", len(registered[node])))
		}
		for _, group := range []string{t.Config.Services.Worker, t.Config.Services.Beat} {
			if err := t.onRelease(ctx, group, s.Live.ID); err != nil {
				findings = append(findings, fault(group, err.Error(), "services:start"))
				continue
			}
			findings = append(findings, found(group, "runs release %s", s.Live.ID))
		}
		return findings
	},
}

// verifyBackups is the criterion “Backup systems operational”.
var verifyBackups = Check{
	Name:    "verify:backups",
	Command: "Backup systems operational",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		all, err := t.Backups(ctx)
		if err != nil {
			return []report.Finding{unseen("backups", err, "")}
		}
		if len(all) == 0 {
			return []report.Finding{fault("backups", "there is none", "run backup:create")}
		}
		newest := all[0]
		looked := "backup " + newest.ID
		age := t.Now().Sub(newest.Created)
		info, err := t.Host.Stat(ctx, t.dumpOf(newest))
		switch {
		case err != nil:
			return []report.Finding{fault(looked, err.Error(), "run backup:create")}
		case info.Size != newest.Database.Size:
			return []report.Finding{fault(looked, fmt.Sprintf("its dump has %d bytes, its manifest says %d", info.Size, newest.Database.Size), "run backup:create")}
		case newest.Proof.Contents == nil:
			return []report.Finding{fault(looked, "it was never proven", "run backup:verify")}
		case age > t.Config.Thresholds.BackupAge:
			return []report.Finding{fault(looked, report.Duration(age)+" old", "run backup:create, and look why the schedule did not")}
		}
		return []report.Finding{found(looked, "%s old, %s, contents proven", report.Duration(age), report.Bytes(info.Size))}
	},
}

// Only returns the check of this name, as a list for a target of its own.
func (l Checks) Only(name string) Checks {
	i := slices.IndexFunc(l, func(c Check) bool { return c.Name == name })
	return l[i : i+1]
}

// Checks is a section of the plan.
type Checks []Check
