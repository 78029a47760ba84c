package checklist

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

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

// verifyUpdate is “Test ETF updates”: one travels through API, broker, worker
// and database. It leaves one row in etf_updates. A price source that fails is
// no fault of the release.
var verifyUpdate = Check{
	Name:    "verify:update",
	Command: "python -m scripts.test_etf_update",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		if c, err := t.cache(); err == nil {
			flag, err := c.Flag(ctx, t.Config.Cache.PauseKey)
			c.Close()
			if err == nil && flag.Set {
				return []report.Finding{warn("an update", "not tried: updates are paused ("+t.Config.Cache.PauseKey+")", "delete the flag when its reason is gone, then run verify:update")}
			}
		}
		etf, err := t.canary(ctx)
		if err != nil {
			return []report.Finding{unseen("an ETF to update", err, "")}
		}
		looked := "update of " + etf
		began := time.Now()
		base := t.Config.API.URL + "/api/v1/etf/" + url.PathEscape(etf)
		res, body, err := t.request(ctx, http.MethodPost, base+"/update?update_type=prices_only")
		if err != nil {
			return []report.Finding{fault(looked, err.Error(), "see the API's log")}
		}
		if res.StatusCode != http.StatusAccepted {
			return []report.Finding{fault(looked, "the API answers "+res.Status+": "+firstLine(body), "see the API's log")}
		}
		var accepted struct {
			UpdateID int64 `json:"update_id"`
		}
		if err := json.Unmarshal([]byte(body), &accepted); err != nil || accepted.UpdateID == 0 {
			return []report.Finding{fault(looked, "the API's answer has no update_id: "+firstLine(body), "")}
		}
		return []report.Finding{t.awaitUpdate(ctx, looked, accepted.UpdateID, began)}
	},
}

// canary is the ETF with the newest price: one that updates.
func (t *Target) canary(ctx context.Context) (string, error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var id string
	err = conn.QueryRow(ctx, "select id from etfs order by last_update desc nulls last, id limit 1").Scan(&id)
	return id, err
}

func (t *Target) awaitUpdate(ctx context.Context, looked string, id int64, began time.Time) report.Finding {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Verify)
	defer cancel()
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return unseen(looked, err, "")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	status := ""
	for {
		var message *string
		err := conn.QueryRow(ctx, "select status, error from etf_updates where id = $1", id).Scan(&status, &message)
		if err != nil {
			if ctx.Err() != nil {
				return fault(looked, fmt.Sprintf("update %d is still %q after %s", id, status, t.Config.Timeouts.Verify), "see deps:celery and the workers' log")
			}
			return unseen(looked, err, "")
		}
		switch status {
		case "completed":
			return found(looked, "completed in %s", report.Duration(time.Since(began)))
		case "completed_with_errors":
			return warn(looked, "completed with errors: "+text(message), "the update travelled all the way; see the price source")
		case "failed":
			if t.priceSourceDown(ctx) {
				return warn(looked, "failed, and the price source does not answer: "+text(message), "the update travelled all the way; see the price source")
			}
			return fault(looked, "failed: "+text(message), "see the workers' log")
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return fault(looked, fmt.Sprintf("update %d is still %q after %s", id, status, t.Config.Timeouts.Verify), "see deps:celery and the workers' log")
		}
	}
}

func (t *Target) priceSourceDown(ctx context.Context) bool {
	return t.Config.PriceSourceURL != "" && t.lookTCP(ctx, "price source", t.Config.PriceSourceURL, "").Status != report.OK
}

func text(s *string) string {
	if s == nil {
		return "no reason given"
	}
	return firstLine(*s)
}

// verifyMetrics is “Check metrics”.
var verifyMetrics = Check{
	Name:    "verify:metrics",
	Command: "curl http://localhost:8000/metrics",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		if t.Config.API.Metrics == "" {
			return []report.Finding{fault("metrics", "api.metrics is empty: the service is configured to have none", "add the metrics to the service, and their path to "+t.Config.File)}
		}
		res, body, err := t.get(ctx, t.Config.API.URL+t.Config.API.Metrics)
		if err != nil {
			return []report.Finding{fault(t.Config.API.Metrics, err.Error(), "see the API's log")}
		}
		if res.StatusCode != http.StatusOK {
			return []report.Finding{fault(t.Config.API.Metrics, res.Status, "see the API's log")}
		}
		parser := expfmt.NewTextParser(model.UTF8Validation)
		families, err := parser.TextToMetricFamilies(strings.NewReader(body))
		if err != nil {
			return []report.Finding{fault(t.Config.API.Metrics, err.Error(), "")}
		}
		var missing []string
		for _, name := range t.Config.Metrics.Required {
			if families[name] == nil && families[strings.TrimSuffix(name, "_total")] == nil {
				missing = append(missing, name)
			}
		}
		if len(missing) > 0 {
			return []report.Finding{fault(t.Config.API.Metrics, "missing: "+join(missing), "metrics.required in "+t.Config.File+" lists them")}
		}
		return []report.Finding{
			found(t.Config.API.Metrics, "%d metrics, all %d required ones", len(families), len(t.Config.Metrics.Required)),
			t.lookCollected(ctx),
		}
	},
}

// collectTime is how long Prometheus gets to collect for the first time: more
// than its scrape interval of the plan, 15 seconds.
const collectTime = 40 * time.Second

// lookCollected asks Prometheus whether it has the service's metrics.
func (t *Target) lookCollected(ctx context.Context) report.Finding {
	const looked = "Prometheus"
	if t.Config.Monitoring.Prometheus == "" || len(t.Config.Metrics.Required) == 0 {
		return fault(looked, "nothing to ask for: monitoring.prometheus or metrics.required is empty", "set them in "+t.Config.File)
	}
	name := t.Config.Metrics.Required[0]
	query := t.Config.Monitoring.Prometheus + "/api/v1/query?query=" + url.QueryEscape("count("+name+")")
	for end := t.Now().Add(collectTime); ; {
		var answer struct {
			Data struct{ Result []any }
		}
		if err := t.getJSON(ctx, query, &answer); err != nil {
			return unseen(looked, err, "see monitoring.prometheus in "+t.Config.File)
		}
		if len(answer.Data.Result) > 0 {
			return found(looked, "has collected %s", name)
		}
		if t.Now().After(end) || sleep(ctx, 500*time.Millisecond) != nil {
			return fault(looked, "has no "+name, "add the service to scrape_configs in prometheus.yml")
		}
	}
}

// verifyAlerts is the criterion “Alerts properly configured”, as far as it can
// be seen without sending one.
var verifyAlerts = Check{
	Name:    "verify:alerts",
	Command: "Alerts properly configured",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		if t.Config.Monitoring.Prometheus == "" {
			return []report.Finding{fault("Prometheus", "monitoring.prometheus is not configured: nobody will be called when the service fails", "set it in "+t.Config.File)}
		}
		var rules struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Type, Health, LastError string }
				}
			}
		}
		if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/rules?type=alert", &rules); err != nil {
			return []report.Finding{fault("Prometheus", err.Error(), "see monitoring.prometheus in "+t.Config.File)}
		}
		var names, broken []string
		for _, g := range rules.Data.Groups {
			for _, r := range g.Rules {
				names = append(names, r.Name)
				if r.LastError != "" {
					broken = append(broken, r.Name+": "+r.LastError)
				}
			}
		}
		var findings []report.Finding
		switch {
		case len(broken) > 0:
			findings = append(findings, fault("alert rules", join(broken), "mend the rules"))
		case len(names) == 0:
			findings = append(findings, fault("alert rules", "Prometheus has loaded none", "load the rules into Prometheus"))
		default:
			findings = append(findings, found("alert rules", "%d loaded: %s", len(names), join(names)))
		}
		return append(findings, t.lookAlertmanagers(ctx))
	},
}

func (t *Target) lookAlertmanagers(ctx context.Context) report.Finding {
	var managers struct {
		Data struct {
			ActiveAlertmanagers []struct{ URL string }
		}
	}
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/alertmanagers", &managers); err != nil {
		return fault("Alertmanager", err.Error(), "")
	}
	if len(managers.Data.ActiveAlertmanagers) == 0 {
		return fault("Alertmanager", "Prometheus knows none: alerts go nowhere", "add it under alerting in prometheus.yml")
	}
	if t.Config.Monitoring.Alertmanager != "" {
		res, _, err := t.get(ctx, t.Config.Monitoring.Alertmanager+"/-/ready")
		if err != nil {
			return fault("Alertmanager", err.Error(), "see monitoring.alertmanager in "+t.Config.File)
		}
		if res.StatusCode != http.StatusOK {
			return fault("Alertmanager", "not ready: "+res.Status, "see its log")
		}
	}
	return found("Alertmanager", "Prometheus sends to %s", managers.Data.ActiveAlertmanagers[0].URL)
}

func (t *Target) getJSON(ctx context.Context, address string, v any) error {
	res, body, err := t.get(ctx, address)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, firstLine(body))
	}
	return json.Unmarshal([]byte(body), v)
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
		info, err := t.Host.Stat(ctx, path.Join(t.backupDir(newest.ID), dumpFile))
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
