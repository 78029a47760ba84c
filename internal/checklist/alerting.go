package checklist

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyAlerts is the criterion “Alerts properly configured”, as far as it can
// be seen without sending one. Before a release is live, only what every
// deployment needs is looked at.
var verifyAlerts = Check{
	Name:    "verify:alerts",
	Command: "Alerts properly configured",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if t.Config.Monitoring.Prometheus == "" {
			return []report.Finding{withNumbers(fault("Prometheus", "monitoring.prometheus is not configured: nobody will be called when the service fails", "set it in "+t.Config.File), "rules", nil)}
		}
		live := s.Live != nil
		looks := []look{
			{at: "alert rules", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookRules(ctx, live) }},
			{at: "Alertmanager", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookAlertmanager(ctx, live) }},
		}
		if live {
			looks = append(looks, look{at: "alerts", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookAlerts(ctx, s) }})
		}
		return lookAll(ctx, t, looks...)
	},
}

// notAsked is Prometheus or Alertmanager that could not be asked.
func (t *Target) notAsked(looked, who, address string, err error) report.Finding {
	return withNumbers(unseen(looked, notAnswering(who, address, err), "see pre:connections, and monitoring in "+t.Config.File), strings.ToLower(who), nil)
}

// ruleGroups is what Prometheus says of its rules.
type ruleGroups struct {
	Data struct {
		Groups []struct {
			Name, File string
			Rules      []struct {
				Name, Type, Query, LastError string
				Duration, KeepFiringFor      float64 // seconds
				Labels, Annotations          map[string]string
			}
		}
	}
}

func (t *Target) lookRules(ctx context.Context, compare bool) []report.Finding {
	const looked = "alert rules"
	var loaded ruleGroups
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/rules", &loaded); err != nil {
		return []report.Finding{t.notAsked(looked, "Prometheus", t.Config.Monitoring.Prometheus, err)}
	}
	var names, broken []string
	for _, g := range loaded.Data.Groups {
		for _, r := range g.Rules {
			if r.Type == "alerting" {
				names = append(names, r.Name)
			}
			if r.LastError != "" {
				broken = append(broken, r.Name+": "+firstLine(r.LastError))
			}
		}
	}
	counts := map[string]int64{"looked": int64(len(names)), "violations": int64(len(broken))}
	switch {
	case len(broken) > 0:
		return []report.Finding{withNumbers(fault(looked, fewOf(broken), "mend the rules"), "rules", counts, broken...)}
	case len(names) == 0:
		return []report.Finding{withNumbers(fault(looked, "Prometheus has loaded none", "load the rules into Prometheus"), "rules", counts)}
	}
	findings := []report.Finding{withNumbers(found(looked, "%d loaded: %s", len(names), join(names)), "rules", counts, names...)}
	if compare {
		findings = append(findings, t.compareRules(ctx, loaded))
	}
	return findings
}

// compareRules holds what is loaded against the generated file. Other teams'
// rules in the same Prometheus are none of ours.
func (t *Target) compareRules(ctx context.Context, loaded ruleGroups) report.Finding {
	file := t.Config.Monitoring.Rules
	if file == "" {
		return withNumbers(warn("alert rules as generated", "not compared: monitoring.rules is not set", "let it name the rules file in "+t.Config.File), "rules/generated", nil)
	}
	want, err := t.generatedRules()
	if err != nil {
		return withNumbers(unseen(file, err, "see monitoring.rules in "+t.Config.File), "rules/generated", nil)
	}
	var got []monitoring.Rule
	for _, g := range loaded.Data.Groups {
		ours := path.Base(g.File) == path.Base(file) || slices.ContainsFunc(want, func(r monitoring.Rule) bool { return r.Group == g.Name })
		for _, r := range g.Rules {
			if ours {
				got = append(got, monitoring.Rule{Group: g.Name, Name: r.Name, Recording: r.Type == "recording", Expr: r.Query,
					For: seconds(r.Duration), KeepFiring: seconds(r.KeepFiringFor), Labels: r.Labels, Annotations: r.Annotations})
			}
		}
	}
	differences, err := monitoring.CompareRules(want, got, func(a, b string) (bool, error) { return t.sameExpr(ctx, a, b) })
	counts := map[string]int64{"looked": int64(len(want)), "loaded": int64(len(got)), "violations": int64(len(differences))}
	switch {
	case err != nil:
		return withNumbers(unseen(file, err, "see pre:connections"), "rules/generated", counts)
	case len(differences) > 0:
		return withNumbers(fault(file, fewOf(differences), "load it into Prometheus, and let Prometheus read its configuration again"), "rules/generated", counts, differences...)
	}
	return withNumbers(found(file, "all %d rules are loaded as they stand there", len(want)), "rules/generated", counts)
}

// generatedRules are those of the service's own file.
func (t *Target) generatedRules() ([]monitoring.Rule, error) {
	data, err := os.ReadFile(t.Config.Monitoring.Rules)
	if err != nil {
		return nil, err
	}
	return monitoring.ReadRules(data)
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// sameExpr lets Prometheus itself write both expressions in its way. One that
// cannot yet has them compared without white space.
func (t *Target) sameExpr(ctx context.Context, a, b string) (bool, error) {
	var formatted [2]string
	for i, expr := range []string{a, b} {
		res, body, err := t.get(ctx, t.Config.Monitoring.Prometheus+"/api/v1/format_query?query="+url.QueryEscape(expr))
		switch {
		case err != nil:
			return false, err
		case res.StatusCode == http.StatusBadRequest:
			return false, nil // the file holds what no Prometheus could have loaded
		case res.StatusCode == http.StatusNotFound:
			return strings.Join(strings.Fields(a), "") == strings.Join(strings.Fields(b), ""), nil
		case res.StatusCode != http.StatusOK:
			return false, fmt.Errorf("%s: %s", res.Status, firstLine(body))
		}
		formatted[i] = body
	}
	return formatted[0] == formatted[1], nil
}

// lookAlertmanager sees to it that Prometheus sends its alerts to somebody who
// takes them, and that this one has the routes that were generated.
func (t *Target) lookAlertmanager(ctx context.Context, compare bool) []report.Finding {
	const looked = "Alertmanager"
	var managers struct {
		Data struct {
			ActiveAlertmanagers []struct{ URL string }
		}
	}
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/alertmanagers", &managers); err != nil {
		return []report.Finding{t.notAsked(looked, "Prometheus", t.Config.Monitoring.Prometheus, err)}
	}
	counts := map[string]int64{"looked": int64(len(managers.Data.ActiveAlertmanagers))}
	if len(managers.Data.ActiveAlertmanagers) == 0 {
		return []report.Finding{withNumbers(fault(looked, "Prometheus knows none: alerts go nowhere", "add it under alerting in prometheus.yml"), "alertmanager", counts)}
	}
	address := t.Config.Monitoring.Alertmanager
	if address != "" {
		res, _, err := t.get(ctx, address+"/-/ready")
		if err != nil {
			return []report.Finding{t.notAsked(looked, "Alertmanager", address, err)}
		}
		if res.StatusCode != http.StatusOK {
			return []report.Finding{withNumbers(fault(looked, "not ready: "+res.Status, "see its log"), "alertmanager", counts)}
		}
	}
	findings := []report.Finding{withNumbers(found(looked, "Prometheus sends to %s", managers.Data.ActiveAlertmanagers[0].URL), "alertmanager", counts)}
	if compare && address != "" {
		findings = append(findings, t.compareRoutes(ctx, address))
	}
	return findings
}

func (t *Target) compareRoutes(ctx context.Context, address string) report.Finding {
	file := t.Config.Monitoring.Routes
	if file == "" {
		return withNumbers(warn("routes as generated", "not compared: monitoring.routes is not set", "let it name Alertmanager's configuration in "+t.Config.File), "routes/generated", nil)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return withNumbers(unseen(file, err, "see monitoring.routes in "+t.Config.File), "routes/generated", nil)
	}
	var status struct {
		Config struct{ Original string }
	}
	if err := t.getJSON(ctx, address+"/api/v2/status", &status); err != nil {
		return t.notAsked(file, "Alertmanager", address, err)
	}
	differences, err := monitoring.CompareRoutes(data, []byte(status.Config.Original))
	counts := map[string]int64{"violations": int64(len(differences))}
	switch {
	case err != nil:
		return withNumbers(unseen(file, err, "see monitoring.routes in "+t.Config.File), "routes/generated", counts)
	case len(differences) > 0:
		return withNumbers(fault(file, fewOf(differences), "load it into Alertmanager, and let Alertmanager read its configuration again"), "routes/generated", counts, differences...)
	}
	return withNumbers(found(file, "routes, receivers and inhibition are loaded as they stand there"), "routes/generated", counts)
}
