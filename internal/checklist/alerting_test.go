package checklist

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

const generatedRules = `
groups:
  - name: etf_service
    rules:
      - alert: HighErrorRate
        expr: |
          sum(rate(etf_errors_total[5m]))
            > 0.1
        for: 5m
        labels: {severity: warning}
        annotations: {summary: "{{ $value }} errors\n a second", runbook: RUNBOOK.md}
      - {record: "etf:errors:rate5m", expr: "sum(rate(etf_errors_total[300s]))"}
  - name: watchdog
    rules:
      - {alert: Watchdog, expr: vector(1)}
`

const generatedRoutes = `
global: {smtp_smarthost: "localhost:25", smtp_from: a@localhost, smtp_auth_username: a, smtp_auth_password: geheim12}
route:
  receiver: primary
  group_by: ['...']
  group_wait: 5s
  routes:
    - {matchers: ['severity = critical'], receiver: escalation, group_wait: 60s, continue: true}
    - {match: {severity: warning}, receiver: primary}
receivers:
  - {name: primary, email_configs: [{to: b@localhost}], webhook_configs: [{url: "http://127.0.0.1:1/geheim12"}]}
  - {name: escalation, pagerduty_configs: [{routing_key: geheim12}]}
inhibit_rules:
  - {source_matchers: [alertname = TargetDown], target_matchers: ['severity=~"warning|critical"'], equal: [instance]}
`

// generated writes a file that should be loaded.
func generated(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "generated.yml")
	must(t, os.WriteFile(file, []byte(content), 0o600))
	return file
}

func TestRulesAndRoutesAsGenerated(t *testing.T) {
	manager, err := testserver.StartAlertmanagerWith(t.TempDir(), generatedRoutes)
	must(t, err)
	defer manager.Stop()
	server, err := testserver.StartPrometheus(t.TempDir(), generatedRules+"  - {name: of another team, rules: [{alert: Theirs, expr: vector(0) > 0}]}\n",
		fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}", strings.TrimPrefix(manager.URL, "http://")))
	must(t, err)
	defer server.Stop()
	target := monitored(config.Monitoring{Prometheus: server.URL, Alertmanager: manager.URL})
	looked := func() []report.Finding {
		t.Helper()
		findings := verifyAlerts.look(t.Context(), target, Subject{Live: &release.Release{}, Since: time.Now()})
		if text := fmt.Sprint(findings); strings.Contains(text, "geheim12") {
			t.Errorf("it shows a secret: %s", text)
		}
		return findings
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && finding(t, target.lookAlertmanager(t.Context(), false), "alertmanager").Status != report.OK; {
		time.Sleep(50 * time.Millisecond)
	}
	all := func(rules, routes report.Status) map[string]report.Status {
		return map[string]report.Status{"rules": report.OK, "alertmanager": report.OK, "alerts": report.OK, "rules/generated": rules, "routes/generated": routes}
	}
	if diff := cmp.Diff(all(report.Warning, report.Warning), statuses(looked())); diff != "" {
		t.Errorf("not configured: %s", diff)
	}
	for name, c := range map[string]struct {
		rules, routes [2]string // what stands in the file in place of what is loaded
		want          map[string]report.Status
		found         string // part of a sample
	}{
		"as they stand": {[2]string{}, [2]string{}, all(report.OK, report.OK), ""},
		"the same, written in another way": {[2]string{"          sum(rate(etf_errors_total[5m]))\n            > 0.1\n", "          (sum(rate(etf_errors_total[5m]))) > 0.1\n"},
			[2]string{"group_wait: 60s", "group_wait: 1m"}, all(report.Fault, report.OK), "should be (sum"}, // brackets stay
		"another threshold": {[2]string{"> 0.1", "> 0.2"}, [2]string{"receiver: escalation,", "receiver: primary,"}, all(report.Fault, report.Fault), "HighErrorRate: expr is"},
		"no expression":     {[2]string{"> 0.1", ">"}, [2]string{}, all(report.Fault, report.OK), "should be sum(rate(etf_errors_total[5m])) >"},
		"an alert more":     {[2]string{"{alert: Watchdog, expr: vector(1)}", "{alert: Watchdog, expr: vector(1)}\n      - {alert: New, expr: vector(0)}"}, [2]string{"to: b@localhost", "to: c@localhost"}, all(report.Fault, report.Fault), "watchdog/New is not loaded"},
		"an alert less":     {[2]string{"{record: \"etf:errors:rate5m\", expr: \"sum(rate(etf_errors_total[300s]))\"}", "{alert: Other, expr: up}"}, [2]string{"equal: [instance]", "equal: [job]"}, all(report.Fault, report.Fault), "etf_service/etf:errors:rate5m (recording) is loaded, and should not be"},
		"another secret":    {[2]string{}, [2]string{"routing_key: geheim12", "routing_key: geheim34"}, all(report.OK, report.OK), ""},
		"no YAML":           {[2]string{generatedRules, "["}, [2]string{generatedRoutes, "["}, all(report.Unknown, report.Unknown), ""},
	} {
		t.Run(name, func(t *testing.T) {
			target.Config.Monitoring.Rules = generated(t, strings.Replace(generatedRules, c.rules[0], c.rules[1], 1))
			target.Config.Monitoring.Routes = generated(t, strings.Replace(generatedRoutes, c.routes[0], c.routes[1], 1))
			findings := looked()
			if diff := cmp.Diff(c.want, statuses(findings)); diff != "" {
				t.Errorf("%+v\n%s", findings, diff)
			}
			before := statuses(lookMonitoring(t.Context(), target, true))
			for _, key := range []string{"rules/generated", "routes/generated"} {
				if want := c.want[key]; want == report.Fault && before["monitoring/"+key] != want || want == report.OK && before["monitoring/"+key] != "" {
					t.Errorf("before the cut-over %s: %+v", key, before)
				}
			}
			if f := finding(t, findings, "rules/generated"); !strings.Contains(strings.Join(f.Samples, "\n"), c.found) {
				t.Errorf("got %+v", f)
			}
		})
	}
	target.Config.Monitoring.Rules, target.Config.Monitoring.Routes = "/no/such/rules.yml", "/no/such/routes.yml"
	if diff := cmp.Diff(all(report.Unknown, report.Unknown), statuses(looked())); diff != "" {
		t.Errorf("missing files: %s", diff)
	}
}

// Which groups are the service's, of those that Prometheus has.
func TestOurs(t *testing.T) {
	const file = "/srv/etf/rules.yml"
	want := []monitoring.Rule{{Group: "etf"}, {Group: "watchdog"}}
	for name, c := range map[string]struct{ loaded, want []string }{
		"by its path":                   {[]string{file + " etf", file + " removed", "/x/rules.yml etf", "/x/y.yml watchdog"}, []string{file + " etf", file + " removed", "/x/y.yml watchdog"}},
		"another team's, of that name":  {[]string{"/etc/rules.yml etf", "/theirs/rules.yml theirs"}, []string{"/etc/rules.yml etf"}},
		"another team's, of that group": {[]string{"/etc/rules.yml watchdog", "/theirs/x.yml watchdog"}, []string{"/etc/rules.yml watchdog"}},
		"loaded from a renamed copy":    {[]string{"/etc/etf.yml etf", "/etc/x.yml theirs"}, []string{"/etc/etf.yml etf"}},
	} {
		var loaded ruleGroups
		for _, text := range c.loaded {
			path, group, _ := strings.Cut(text, " ")
			loaded.Data.Groups = append(loaded.Data.Groups, ruleGroup{Name: group, File: path})
		}
		var got []string
		for _, g := range loaded.ours(file, want) {
			got = append(got, g.File+" "+g.Name)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A Prometheus that cannot format queries has them compared as they are.
func TestSameExprOfAnOldPrometheus(t *testing.T) {
	old := httptest.NewServer(http.HandlerFunc(http.NotFound))
	defer old.Close()
	target := monitored(config.Monitoring{Prometheus: old.URL})
	for b, want := range map[string]bool{"sum( up )\n> 1": true, "sum(up) > 2": false} {
		if same, err := target.sameExpr(t.Context(), "sum(up) > 1", b); same != want || err != nil {
			t.Errorf("%s: %v, %v", b, same, err)
		}
	}
}

const badRules = `
groups:
  - name: broken
    rules:
      - {alert: Broken, expr: 'vector(1) * on() group_left() (label_replace(vector(1), "a", "1", "", "") or label_replace(vector(1), "a", "2", "", ""))'}
`

func TestRulesThatFail(t *testing.T) {
	server, err := testserver.StartPrometheus(t.TempDir(), badRules)
	must(t, err)
	defer server.Stop()
	target := monitored(config.Monitoring{Prometheus: server.URL})
	var f report.Finding
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && f.Status != report.Fault; time.Sleep(50 * time.Millisecond) {
		f = target.lookRules(t.Context(), false)[0]
	}
	if !strings.Contains(f.Found, "Broken: ") || f.Counts["violations"] != 1 {
		t.Errorf("got %+v", f)
	}
	if f := target.lookAlertmanager(t.Context(), false)[0]; f.Status != report.Fault || !strings.Contains(f.Found, "alerts go nowhere") {
		t.Errorf("without an Alertmanager: %+v", f)
	}
	empty, err := testserver.StartPrometheus(t.TempDir(), "groups: []\n")
	must(t, err)
	defer empty.Stop()
	target.Config.Monitoring.Rules = generated(t, generatedRules)
	others := target.lookRules(t.Context(), false)
	if got := statuses(others); got["rules"] != report.OK || got["rules/others"] != report.Warning {
		t.Errorf("rules of others that fail: %+v", others)
	}
	target.Config.Monitoring.Rules = generated(t, badRules)
	if f := target.lookRules(t.Context(), false)[0]; f.Status != report.Fault {
		t.Errorf("by the service's file: %+v", f)
	}
	target.Config.Monitoring.Prometheus = empty.URL
	if f := target.lookRules(t.Context(), true)[0]; f.Status != report.Fault || f.Found != "Prometheus has loaded none" {
		t.Errorf("without rules: %+v", f)
	}
}

const firingRules = `
groups:
  - name: test
    rules:
      - {alert: Calls, expr: vector(1), labels: {severity: critical}}
      - {alert: Mentions, expr: vector(1), labels: {severity: warning}, annotations: {summary: "it is mentioned"}}
      - {alert: Waits, expr: vector(1), for: 1h, labels: {severity: critical}}
      - {alert: Silenced, expr: vector(1), labels: {severity: critical}}
      - {alert: Watchdog, expr: vector(1)}
`

func TestAlertsSinceTheCutOver(t *testing.T) {
	manager, err := testserver.StartAlertmanager(t.TempDir())
	must(t, err)
	defer manager.Stop()
	began := time.Now().UTC()
	post(t, manager.URL+"/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": "Silenced", "isRegex": false}}, "startsAt": began.Add(-time.Minute), "endsAt": began.Add(time.Hour), "createdBy": "eve", "comment": "known",
	})
	server, err := testserver.StartPrometheus(t.TempDir(), firingRules,
		fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}", strings.TrimPrefix(manager.URL, "http://")))
	must(t, err)
	defer server.Stop()
	target := monitored(config.Monitoring{Prometheus: server.URL, Alertmanager: manager.URL})
	var now []alertState
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if now, err = target.alertStates(t.Context()); len(now) == 3 && len(target.suppressed(t.Context())) == 1 {
			break
		}
	}
	must(t, err)
	if len(now) != 3 {
		t.Fatalf("got %+v", now)
	}
	earlier := func(state string, names ...string) *baseline {
		b := &baseline{}
		for _, a := range now {
			if strings.Contains(strings.Join(names, " "), a.Labels["alertname"]) {
				a.State = state
				b.Alerts = append(b.Alerts, a)
			}
		}
		return b
	}
	for name, c := range map[string]struct {
		since  time.Time
		before *baseline
		want   report.Status
		counts [3]int64 // violations, new, before
	}{
		"nothing known":             {time.Time{}, nil, report.Fault, [3]int64{1, 3, 0}},
		"since the cut-over":        {began.Add(-time.Hour), &baseline{}, report.Fault, [3]int64{1, 3, 0}},
		"before the cut-over":       {time.Now(), nil, report.Warning, [3]int64{0, 0, 3}},
		"fired before":              {began.Add(-time.Hour), earlier("firing", "Calls", "Mentions", "Waits"), report.Warning, [3]int64{0, 0, 3}},
		"one fired before":          {began.Add(-time.Hour), earlier("firing", "Calls"), report.Warning, [3]int64{0, 2, 1}},
		"was pending, fires now":    {began.Add(-time.Hour), earlier("pending", "Calls"), report.Fault, [3]int64{1, 3, 0}},
		"was pending, and still is": {began.Add(-time.Hour), earlier("pending", "Waits"), report.Fault, [3]int64{1, 2, 1}},
	} {
		got := target.lookAlerts(t.Context(), Subject{Live: &release.Release{}, Since: c.since, before: c.before})[0]
		if counts := [3]int64{got.Counts["violations"], got.Counts["new"], got.Counts["before"]}; got.Status != c.want || counts != c.counts || strings.Contains(fmt.Sprint(got), "Silenced") {
			t.Errorf("%s: %+v", name, got)
		}
	}
	// What was pending before calls nobody: only what fires is named.
	if f := target.lookAlerts(t.Context(), Subject{Live: &release.Release{}, Since: time.Now()})[0]; !strings.Contains(fmt.Sprint(f), "Calls") || strings.Contains(fmt.Sprint(f), "Waits") {
		t.Errorf("before the cut-over: %+v", f)
	}
	// What fires by rules that are not the service's undoes no deployment.
	for rules, want := range map[string]report.Status{generatedRules: report.Warning, firingRules: report.Fault} {
		target.Config.Monitoring.Rules = generated(t, rules)
		if f := target.lookAlerts(t.Context(), Subject{Live: &release.Release{}})[0]; f.Status != want || f.Counts["new"] != 3 {
			t.Errorf("by rules of others: %+v", f)
		}
	}
	// Without a release that is live, nobody can be blamed.
	for _, f := range verifyAlerts.look(t.Context(), target, Subject{}) {
		if f.Status != report.OK && !strings.Contains(f.Key, "generated") {
			t.Errorf("before a deployment: %+v", f)
		}
	}
}

// Prometheus sends to an Alertmanager that answers, and is not the one from
// which people are called: what always fires is not in that one.
func TestAlertsThatArriveElsewhere(t *testing.T) {
	var managers []string
	for range 2 {
		manager, err := testserver.StartAlertmanagerWith(t.TempDir(), generatedRoutes)
		must(t, err)
		defer manager.Stop()
		managers = append(managers, manager.URL)
	}
	const rules = `groups: [{name: watchdog, rules: [{alert: Watchdog, expr: vector(1), labels: {environment: elsewhere}}]}]`
	server, err := testserver.StartPrometheus(t.TempDir(), rules,
		fmt.Sprintf("alerting: {alertmanagers: [{static_configs: [{targets: [%q]}]}]}", strings.TrimPrefix(managers[0], "http://")))
	must(t, err)
	defer server.Stop()
	look := func(manager string, ahead time.Duration) report.Finding {
		t.Helper()
		target := monitored(config.Monitoring{Prometheus: server.URL, Alertmanager: manager})
		target.Config.Environment = "elsewhere"
		target.Now = func() time.Time { return time.Now().Add(ahead) }
		return finding(t, target.lookAlertmanager(t.Context(), false), "alertmanager")
	}
	later := arrives + time.Minute
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end) && look(managers[0], later).Status != report.OK; {
		time.Sleep(100 * time.Millisecond)
	}
	if f := look(managers[0], later); f.Status != report.OK {
		t.Errorf("they arrive: %+v", f)
	}
	if f := look(managers[1], later); f.Status != report.Fault || !strings.Contains(fmt.Sprint(f), managers[0]) || !strings.Contains(fmt.Sprint(f), "do not arrive") {
		t.Errorf("they arrive elsewhere: %+v", f)
	}
	if f := look(managers[1], 0); f.Status != report.OK {
		t.Errorf("it has only just begun to fire: %+v", f)
	}
}
