package checklist

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// monitored is a target that has only monitoring.
func monitored(m config.Monitoring) *Target {
	return &Target{Host: host.Local{}, Now: time.Now, Config: &config.Config{
		Monitoring: m, Timeouts: config.Timeouts{Connect: time.Second}, Thresholds: config.Thresholds{Latency: time.Second},
	}}
}

func post(t *testing.T, address string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.Post(address, "application/json", bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s", res.Status, text)
	}
}

func TestAlertsOfAlertmanager(t *testing.T) {
	server, err := testserver.StartAlertmanager(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	target := monitored(config.Monitoring{Alertmanager: server.URL, Prometheus: "http://127.0.0.1:1"})
	if got, err := target.Alerts(t.Context()); len(got) > 0 || err != nil {
		t.Errorf("before one fires: %+v, %v", got, err)
	}
	now := time.Now().UTC().Truncate(time.Second)
	type alert struct {
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations,omitempty"`
		StartsAt    time.Time         `json:"startsAt"`
		EndsAt      *time.Time        `json:"endsAt,omitempty"`
	}
	over := now.Add(-time.Minute)
	post(t, server.URL+"/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": "Quiet", "isRegex": false}}, "startsAt": now, "endsAt": now.Add(time.Hour), "createdBy": "eve", "comment": "known",
	})
	post(t, server.URL+"/api/v2/alerts", []alert{
		{Labels: map[string]string{"alertname": "Young"}, StartsAt: now.Add(-time.Minute)},
		{Labels: map[string]string{"alertname": "UpdateStuck", "severity": "critical"}, Annotations: map[string]string{"summary": "ETF update process stuck"}, StartsAt: now.Add(-time.Hour)},
		{Labels: map[string]string{"alertname": "Watchdog"}, StartsAt: now.Add(-2 * time.Hour)},
		{Labels: map[string]string{"alertname": "Quiet"}, StartsAt: now.Add(-time.Hour)},
		{Labels: map[string]string{"alertname": "Over"}, StartsAt: now.Add(-time.Hour), EndsAt: &over},
	})
	want := []Alert{{"UpdateStuck", "critical", now.Add(-time.Hour), "ETF update process stuck"}, {"Young", "", now.Add(-time.Minute), ""}}
	var got []Alert
	for end := time.Now().Add(10 * time.Second); len(got) != len(want) && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = target.Alerts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	server.Stop()
	if _, err := target.Alerts(t.Context()); err == nil || !strings.Contains(err.Error(), "asking Alertmanager at "+server.URL) {
		t.Errorf("of a stopped one: %v", err)
	}
}

const rules = `
groups:
  - name: test
    rules:
      - {alert: Fires, expr: vector(1), labels: {severity: warning}, annotations: {summary: "it fires"}}
      - {alert: Waits, expr: vector(1), for: 1h}
      - {alert: Sleeps, expr: vector(1) > 2}
      - {alert: Watchdog, expr: vector(1)}
`

func TestAlertsOfPrometheus(t *testing.T) {
	server, err := testserver.StartPrometheus(t.TempDir(), rules)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	target := monitored(config.Monitoring{Prometheus: server.URL})
	var got []Alert
	for end := time.Now().Add(20 * time.Second); len(got) == 0 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if got, err = target.Alerts(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(got) != 1 || got[0].Name != "Fires" || got[0].Severity != "warning" || got[0].Summary != "it fires" || time.Since(got[0].Since) > time.Minute {
		t.Errorf("got %+v", got)
	}
}

func TestAlertsOfNobody(t *testing.T) {
	if _, err := monitored(config.Monitoring{}).Alerts(t.Context()); err == nil || !strings.Contains(err.Error(), "not configured") {
		t.Errorf("got %v", err)
	}
}
