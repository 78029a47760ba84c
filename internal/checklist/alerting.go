package checklist

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyAlerts is the criterion “Alerts properly configured”, as far as it can
// be seen without sending one. What fires is looked at when a release is live.
var verifyAlerts = Check{
	Name:    "verify:alerts",
	Command: "Alerts properly configured",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if s.Live == nil {
			return t.lookAlerting(ctx, true)
		}
		return t.lookAlerting(ctx, true, look{at: "alerts", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookAlerts(ctx, s) }})
	},
}

// lookAlerting looks at what does not depend on what fires, and at more.
// compare: with the files that should be loaded, too.
func (t *Target) lookAlerting(ctx context.Context, compare bool, more ...look) []report.Finding {
	if t.Config.Monitoring.Prometheus == "" {
		return []report.Finding{marked(fault("Prometheus", "monitoring.prometheus is not configured: nobody will be called when the service fails", "set it in "+t.Config.File), "rules", nil)}
	}
	return lookAll(ctx, t, append([]look{
		{at: "alert rules", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookRules(ctx, compare) }},
		{at: "Alertmanager", see: func(ctx context.Context, t *Target) []report.Finding { return t.lookAlertmanager(ctx, compare) }},
	}, more...)...)
}

// once is each of them once: an alert may have a rule for each job.
func once(names []string) []string { return slices.Compact(slices.Sorted(slices.Values(names))) }

// notAsked is Prometheus or Alertmanager that could not be asked.
func (t *Target) notAsked(looked, who, address string, err error) report.Finding {
	return marked(unseen(looked, notAnswering(who, address, err), "see pre:connections, and monitoring in "+t.Config.File), strings.ToLower(who), nil)
}

// ruleGroups is what Prometheus says of its rules.
type ruleGroups struct {
	Data struct{ Groups []ruleGroup }
}

type ruleGroup struct {
	Name, File string
	Rules      []struct {
		Name, Type, Query, LastError string
		Duration, KeepFiringFor      float64 // seconds
		Labels, Annotations          map[string]string
	}
}

// ours are the groups of the service's own file: by that file, where Prometheus
// has loaded it under its path, and otherwise by their names. Of several of one
// name it is that of a file of the same name.
func (r ruleGroups) ours(file string, want []monitoring.Rule) (all []ruleGroup) {
	if absolute, err := filepath.Abs(file); err == nil {
		file = absolute
	}
	match := func(g ruleGroup) int {
		switch {
		case g.File == file:
			return 2
		case path.Base(g.File) == path.Base(file):
			return 1
		}
		return 0
	}
	best := map[string]int{}
	for _, g := range r.Data.Groups {
		best[g.Name] = max(best[g.Name], match(g))
	}
	for _, g := range r.Data.Groups {
		named := slices.ContainsFunc(want, func(w monitoring.Rule) bool { return w.Group == g.Name })
		if match(g) == 2 || named && match(g) == best[g.Name] {
			all = append(all, g)
		}
	}
	return all
}

func (t *Target) lookRules(ctx context.Context, compare bool) []report.Finding {
	const looked = "alert rules"
	var loaded ruleGroups
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/rules", &loaded); err != nil {
		return []report.Finding{t.notAsked(looked, "Prometheus", t.Config.Monitoring.Prometheus, err)}
	}
	want, err := t.generatedRules()
	ours := loaded.ours(t.Config.Monitoring.Rules, want)
	var names, broken, theirs []string
	for _, g := range loaded.Data.Groups {
		// Where the service's file cannot be read, all may be its own.
		other := err == nil && !slices.ContainsFunc(ours, func(o ruleGroup) bool { return o.Name == g.Name && o.File == g.File })
		for _, r := range g.Rules {
			if r.Type == "alerting" {
				names = append(names, r.Name)
			}
			switch text := r.Name + ": " + firstLine(r.LastError); {
			case r.LastError != "" && other:
				theirs = append(theirs, text)
			case r.LastError != "":
				broken = append(broken, text)
			}
		}
	}
	counts := map[string]int64{"looked": int64(len(names)), "violations": int64(len(broken))}
	switch {
	case len(broken) > 0:
		return []report.Finding{marked(fault(looked, fewOf(broken), "mend the rules"), "rules", counts, broken...)}
	case len(names) == 0:
		return []report.Finding{marked(fault(looked, "Prometheus has loaded none", "load the rules into Prometheus"), "rules", counts)}
	}
	findings := []report.Finding{marked(found(looked, "%d loaded: %s", len(names), join(once(names))), "rules", counts, names...)}
	if len(theirs) > 0 {
		findings = append(findings, marked(warn("alert rules of others", fewOf(theirs), "tell those whose rules they are"), "rules/others", map[string]int64{"violations": int64(len(theirs))}, theirs...))
	}
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
		return marked(warn("alert rules as generated", "not compared: monitoring.rules is not set", "let it name the rules file in "+t.Config.File), "rules/generated", nil)
	}
	want, err := t.generatedRules()
	if err != nil {
		return marked(unseen(file, err, "see monitoring.rules in "+t.Config.File), "rules/generated", nil)
	}
	var got []monitoring.Rule
	for _, g := range loaded.ours(file, want) {
		for _, r := range g.Rules {
			got = append(got, monitoring.Rule{Group: g.Name, Name: r.Name, Recording: r.Type == "recording", Expr: r.Query,
				For: seconds(r.Duration), KeepFiring: seconds(r.KeepFiringFor), Labels: r.Labels, Annotations: r.Annotations})
		}
	}
	differences, err := monitoring.CompareRules(want, got, func(a, b string) (bool, error) { return t.sameExpr(ctx, a, b) })
	counts := map[string]int64{"looked": int64(len(want)), "loaded": int64(len(got)), "violations": int64(len(differences))}
	switch {
	case err != nil:
		return marked(unseen(file, err, "see pre:connections"), "rules/generated", counts)
	case len(differences) > 0:
		return marked(fault(file, fewOf(differences), "load it into Prometheus, and let Prometheus read its configuration again"), "rules/generated", counts, differences...)
	}
	return marked(found(file, "all %d rules are loaded as they stand there", len(want)), "rules/generated", counts)
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
		return []report.Finding{marked(fault(looked, "Prometheus knows none: alerts go nowhere", "add it under alerting in prometheus.yml"), "alertmanager", counts)}
	}
	address := t.Config.Monitoring.Alertmanager
	if address != "" {
		res, _, err := t.get(ctx, address+"/-/ready")
		if err != nil {
			return []report.Finding{t.notAsked(looked, "Alertmanager", address, err)}
		}
		if res.StatusCode != http.StatusOK {
			return []report.Finding{marked(fault(looked, "not ready: "+res.Status, "see its log"), "alertmanager", counts)}
		}
	}
	findings := []report.Finding{marked(found(looked, "Prometheus sends to %s", managers.Data.ActiveAlertmanagers[0].URL), "alertmanager", counts)}
	if address != "" {
		if f, wrong := t.lookWatchdog(ctx, managers.Data.ActiveAlertmanagers[0].URL); wrong {
			findings = []report.Finding{f}
		}
	}
	if compare && address != "" {
		findings = append(findings, t.compareRoutes(ctx, address))
	}
	return findings
}

// arrives is how long an alert that fires may take from Prometheus to
// Alertmanager: it is sent again each minute.
const arrives = 2 * time.Minute

// lookWatchdog asks whether what Prometheus fires arrives at the Alertmanager
// that deploy.yaml names: the alert that always fires is there. Names and
// addresses tell nothing, since each may know the other by another one.
func (t *Target) lookWatchdog(ctx context.Context, sentTo string) (f report.Finding, wrong bool) {
	const looked = "Alertmanager"
	var answer struct{ Data struct{ Alerts []alertState } }
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/alerts", &answer); err != nil {
		return t.notAsked(looked, "Prometheus", t.Config.Monitoring.Prometheus, err), true
	}
	since := t.Now().Add(-arrives)
	i := slices.IndexFunc(answer.Data.Alerts, func(a alertState) bool {
		return a.Labels["alertname"] == watchdog && a.State == "firing" && a.Labels["environment"] == t.Config.Environment && a.ActiveAt.Before(since)
	})
	if i < 0 {
		return f, false // the rules are not loaded, which another look reports, or not for long
	}
	am, _ := t.alertmanager()
	started, err := am.Started(ctx)
	if err == nil && started.After(since) {
		return f, false // it may not have been sent again
	}
	held, err := am.Alerts(ctx, fmt.Sprintf("alertname=%q", watchdog), fmt.Sprintf("environment=%q", t.Config.Environment))
	switch {
	case err != nil:
		return t.notAsked(looked, "Alertmanager", am.URL, err), true
	case len(held) == 0:
		return marked(fault(looked, fmt.Sprintf("%s fires in Prometheus since %s and is not in %s: alerts are sent to %s and do not arrive",
			watchdog, answer.Data.Alerts[i].ActiveAt.UTC().Format(time.TimeOnly), am.URL, sentTo),
			"see alerting in prometheus.yml, and Prometheus' log"), "alertmanager", map[string]int64{"violations": 1}), true
	}
	return f, false
}

func (t *Target) compareRoutes(ctx context.Context, address string) report.Finding {
	file := t.Config.Monitoring.Routes
	if file == "" {
		return marked(warn("routes as generated", "not compared: monitoring.routes is not set", "let it name Alertmanager's configuration in "+t.Config.File), "routes/generated", nil)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return marked(unseen(file, err, "see monitoring.routes in "+t.Config.File), "routes/generated", nil)
	}
	am, _ := t.alertmanager()
	loaded, err := am.Loaded(ctx)
	if err != nil {
		return t.notAsked(file, "Alertmanager", address, err)
	}
	differences, err := monitoring.CompareRoutes(data, loaded)
	counts := map[string]int64{"violations": int64(len(differences))}
	switch {
	case err != nil:
		return marked(unseen(file, err, "see monitoring.routes in "+t.Config.File), "routes/generated", counts)
	case len(differences) > 0:
		return marked(fault(file, fewOf(differences), "load it into Alertmanager, and let Alertmanager read its configuration again"), "routes/generated", counts, differences...)
	}
	return marked(found(file, "routes, receivers and inhibition are loaded as they stand there"), "routes/generated", counts)
}
