package checklist

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyMetrics is “Check metrics”.
var verifyMetrics = Check{
	Name:    "verify:metrics",
	Command: "curl http://localhost:8000/metrics",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		if t.Config.API.Metrics == "" {
			return []report.Finding{fault("metrics", "api.metrics is empty: the service is configured to have none", "add the metrics to the service, and their path to "+t.Config.File)}
		}
		families, err := t.metrics(ctx)
		if err != nil {
			return []report.Finding{fault(t.Config.API.Metrics, err.Error(), "see the API's log")}
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
