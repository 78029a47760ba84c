package monitoring

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const exposed = `# HELP etf_updates_total x
# TYPE etf_updates_total counter
etf_updates_total{status="completed"} 3.0
# TYPE etf_update_duration_seconds histogram
etf_update_duration_seconds_sum 1.5
etf_update_duration_seconds_bucket{le="0.1"} 0.0
etf_update_duration_seconds_bucket{le="0.25"} 0.0
etf_update_duration_seconds_bucket{le="0.5"} 0.0
etf_update_duration_seconds_bucket{le="1.0"} 0.0
etf_update_duration_seconds_bucket{le="2.5"} 0.0
etf_update_duration_seconds_bucket{le="5.0"} 0.0
etf_update_duration_seconds_bucket{le="10.0"} 0.0
etf_update_duration_seconds_bucket{le="30.0"} 0.0
etf_update_duration_seconds_bucket{le="60.0"} 0.0
etf_update_duration_seconds_bucket{le="120.0"} 0.0
etf_update_duration_seconds_bucket{le="300.0"} 1.0
etf_update_duration_seconds_bucket{le="+Inf"} 1.0
etf_update_duration_seconds_count 1.0
# TYPE etf_active_updates gauge
etf_active_updates 0.0
# TYPE etf_errors_total counter
etf_errors_total{error_type="api_error"} 0.0
# TYPE etf_last_update_timestamp gauge
etf_last_update_timestamp 1.7e+09
`

// problems are those of all metrics of a page, and how many of them it has.
func problems(t *testing.T, page string) (all Problems, n int) {
	t.Helper()
	families, err := Parse(page)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range Catalog() {
		if families[m.Name] == nil {
			continue
		}
		n++
		p := m.Check(families[m.Name])
		for _, text := range p.Faults {
			all.Faults = append(all.Faults, m.Name+" "+text)
		}
		all.Warnings = append(all.Warnings, p.Warnings...)
	}
	return all, n
}

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		fault    string
		warning  string
	}{
		"as declared":   {"", "", "", ""},
		"another type":  {"# TYPE etf_updates_total counter", "# TYPE etf_updates_total gauge", "etf_updates_total has type gauge, not counter", ""},
		"no type":       {"# TYPE etf_active_updates gauge", "", "etf_active_updates has type untyped, not gauge", ""},
		"a pid":         {"etf_active_updates 0.0", "etf_active_updates{pid=\"17\"} 0.0\netf_active_updates{pid=\"18\"} 1.0", "etf_active_updates has a label pid: each process is a series of its own, and stays when it dies; its multiprocess mode must be livesum", ""},
		"another label": {`{status="completed"}`, `{status="completed",symbol="x"}`, "etf_updates_total has a label symbol that it should not have", ""},
		"without label": {`{status="completed"}`, "", "etf_updates_total lacks the label status", ""},
		"unknown value": {`{status="completed"}`, `{status="cancelled"}`, "", `has an unknown status: "cancelled"`},
		"no bucket":     {"etf_update_duration_seconds_bucket{le=\"0.1\"} 0.0\n", "", "", "lacks the buckets [0.1]"},
		"bare summary":  {"# TYPE etf_update_duration_seconds histogram", "# TYPE etf_update_duration_seconds summary", "etf_update_duration_seconds has type summary, not histogram", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, n := problems(t, strings.Replace(exposed, c.old, c.new, 1))
			if n != 5 || strings.Join(got.Faults, "|") != c.fault || strings.Join(got.Warnings, "|") != c.warning {
				t.Errorf("%d metrics, %+v", n, got)
			}
		})
	}
	bare := regexp.MustCompile(`(?m)^etf_update_duration_seconds_bucket.*\n`).ReplaceAllString(exposed, "")
	if got, _ := problems(t, bare); !slices.Contains(got.Faults, "etf_update_duration_seconds has no buckets: quantiles cannot be had") {
		t.Errorf("without buckets: %+v", got)
	}
}

func TestParse(t *testing.T) {
	open := strings.NewReplacer("# TYPE etf_updates_total", "# TYPE etf_updates", "# TYPE etf_errors_total", "# TYPE etf_errors",
		"etf_updates_total{status=\"completed\"} 3.0", "# UNIT etf_updates updates\netf_updates_total{status=\"completed\"} 3.0 # {trace_id=\"x\"} 1.0").Replace(exposed) + "# EOF\n"
	if got, n := problems(t, open); n != 5 || len(got.Faults)+len(got.Warnings) > 0 {
		t.Errorf("OpenMetrics: %d, %+v", n, got)
	}
	for _, bad := range []string{"<html>not found</html>", "etf_active_updates zero\n", "a{b=\"c} 1\n", "\x00\xff"} {
		if _, err := Parse(bad); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

const rulesFile = `
groups:
  - name: etf
    rules:
      - {alert: A, expr: "up == 0", for: 5m, labels: {severity: critical}, annotations: {summary: "it is\n down"}}
      - {alert: Burn, expr: "x > 1", labels: {severity: page}}
      - {alert: Burn, expr: "x > 2", for: 1h30m, labels: {severity: page}}
      - {record: "etf:x", expr: "sum(x)"}
`

func TestCompareRules(t *testing.T) {
	want, err := ReadRules([]byte(rulesFile))
	if err != nil || len(want) != 4 || want[2].For != 90*time.Minute || !want[3].Recording {
		t.Fatalf("%+v, %v", want, err)
	}
	for name, c := range map[string]struct {
		change func(all []Rule) []Rule
		want   []string
	}{
		"as generated":                     {func(all []Rule) []Rule { return all }, nil},
		"white space":                      {func(all []Rule) []Rule { all[0].Expr = "up\n  == 0"; return all }, nil},
		"written in another way, the same": {func(all []Rule) []Rule { all[0].Expr = "(up)==0"; return all }, nil},
		"another threshold":                {func(all []Rule) []Rule { all[0].Expr = "up == 1"; return all }, []string{"etf/A: expr is up == 1, should be up == 0"}},
		"for":                              {func(all []Rule) []Rule { all[0].For = time.Minute; return all }, []string{"etf/A: for is 1m, should be 5m"}},
		"labels and annotations": {func(all []Rule) []Rule {
			all[0].Labels = map[string]string{"severity": "warning", "team": "x"}
			all[0].Annotations = nil
			return all
		}, []string{`etf/A: label severity is "warning", should be "critical"`, "etf/A: label team should not be there", "etf/A: annotation summary is missing"}},
		"missing": {func(all []Rule) []Rule { return all[:2] }, []string{"etf/Burn #2 is not loaded", "etf/etf:x (recording) is not loaded"}},
		"extra":   {func(all []Rule) []Rule { return append(all, Rule{Group: "etf", Name: "New"}) }, []string{"etf/New is loaded, and should not be"}},
		"group":   {func(all []Rule) []Rule { all[3].Group = "other"; return all }, []string{"etf/etf:x (recording) is not loaded", "other/etf:x (recording) is loaded, and should not be"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := CompareRules(want, c.change(slices.Clone(want)), func(a, b string) (bool, error) {
				return strings.Trim(a, "()") == "up == 0" && b == "(up)==0", nil
			})
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	for _, bad := range []string{"", "groups: []", "groups: [", "groups: [{name: a, rules: [{alert: a, expr: b, for: soon}]}]"} {
		if _, err := ReadRules([]byte(bad)); err == nil {
			t.Errorf("%q was read", bad)
		}
	}
}

const routesFile = `
global: {smtp_auth_password: "${x}"}
route:
  receiver: primary
  group_by: ['...']
  group_wait: 30s
  routes:
    - matchers: ['severity = critical', team=~"a|b"]
      receiver: primary
      group_wait: 60s
      continue: true
    - match: {severity: warning}
      receiver: chat
receivers:
  - name: primary
    email_configs: [{to: a@example.com}]
  - name: chat
    webhook_configs: [{url: "http://secret/"}]
inhibit_rules:
  - source_matchers: [alertname="Down"]
    target_matchers: ['severity="warning"']
    equal: [instance]
`

// loaded is how Alertmanager writes it.
const loadedRoutes = `
global: {resolve_timeout: 5m}
route:
  receiver: primary
  group_by: ['...']
  continue: false
  group_wait: 30s
  group_interval: 5m
  routes:
  - receiver: primary
    matchers: [severity="critical", team=~"a|b"]
    continue: true
    group_wait: 1m
  - receiver: chat
    match: {severity: warning}
    continue: false
receivers:
- name: chat
  webhook_configs: [{send_resolved: true, url: <secret>, max_alerts: 0}]
- name: primary
  email_configs: [{send_resolved: false, to: a@example.com, auth_password: <secret>}]
inhibit_rules:
- source_matchers: [alertname="Down"]
  target_matchers: [severity="warning"]
  equal: [instance]
templates: []
`

func TestCompareRoutes(t *testing.T) {
	for name, c := range map[string]struct {
		old, new string
		want     []string
	}{
		"as generated":     {"", "", nil},
		"another receiver": {"receiver: chat\n    match", "receiver: primary\n    match", []string{"route.routes[1].receiver is primary, should be chat"}},
		"a matcher":        {`severity="critical"`, `severity="page"`, []string{"route.routes[0].matchers[0] is severity=page, should be severity=critical"}},
		"a wait":           {"group_wait: 1m", "group_wait: 2m", []string{"route.routes[0].group_wait is 2m0s, should be 1m0s"}},
		"a mute":           {"continue: true", "continue: true\n    mute_time_intervals: [night]", []string{"route.routes[0].mute_time_intervals is [night], should not be there"}},
		"without route":    {"  - receiver: chat\n    match: {severity: warning}\n    continue: false\n", "", []string{"route.routes has 1 entries, should have 2"}},
		"a renamed one":    {"- name: chat", "- name: talk", []string{"receiver chat is not loaded", "receiver talk is loaded, and should not be"}},
		"another kind":     {"webhook_configs: [{send_resolved: true, url: <secret>, max_alerts: 0}]", "slack_configs: [{api_url: <secret>}]", []string{"receiver chat: slack_configs is loaded, and should not be", "receiver chat.webhook_configs is not loaded"}},
		"another address":  {"to: a@example.com", "to: b@example.com", []string{"receiver primary.email_configs[0].to is another one"}},
		"no inhibition":    {"  equal: [instance]\n", "", []string{"inhibit_rules[0].equal is not loaded"}},
		"nothing":          {loadedRoutes, "{}", []string{"route is not loaded", "receiver chat is not loaded", "receiver primary is not loaded", "inhibit_rules has 0 entries, should have 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := CompareRoutes([]byte(routesFile), []byte(strings.Replace(loadedRoutes, c.old, c.new, 1)))
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
	for _, bad := range [][2]string{{"", loadedRoutes}, {"[", loadedRoutes}, {routesFile, "["}} {
		if _, err := CompareRoutes([]byte(bad[0]), []byte(bad[1])); err == nil {
			t.Errorf("%.20q was compared with %.20q", bad[0], bad[1])
		}
	}
}
