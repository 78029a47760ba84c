package checklist

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// metricsPage is what the service exposes.
func metricsPage() string {
	var b strings.Builder
	for _, m := range monitoring.Catalog() {
		fmt.Fprintf(&b, "# TYPE %s %s\n", m.Name, strings.ToLower(m.Type.String()))
		if len(m.Buckets) > 0 {
			for _, bound := range m.Buckets {
				fmt.Fprintf(&b, "%s_bucket{le=\"%g\"} 0\n", m.Name, bound)
			}
			fmt.Fprintf(&b, "%[1]s_bucket{le=\"+Inf\"} 0\n%[1]s_sum 0\n%[1]s_count 0\n", m.Name)
			continue
		}
		labels := ""
		for _, l := range m.Labels {
			labels = fmt.Sprintf("{%s=%q}", l.Name, l.Values[0])
		}
		fmt.Fprintf(&b, "%s%s 0\n", m.Name, labels)
	}
	return b.String()
}

// exposing is a target whose API exposes a page that can be changed.
func exposing(t *testing.T) (*Target, *atomic.Value, string) {
	t.Helper()
	page := new(atomic.Value)
	page.Store(metricsPage())
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/metrics" || page.Load() == "" {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		fmt.Fprint(w, page.Load())
	}))
	t.Cleanup(api.Close)
	target := monitored(config.Monitoring{})
	target.Config.API.URL, target.Config.API.Metrics = api.URL, "/metrics"
	u, err := url.Parse(api.URL)
	must(t, err)
	return target, page, u.Host
}

func TestExposedMetrics(t *testing.T) {
	target, page, _ := exposing(t)
	good := metricsPage()
	for name, c := range map[string]struct {
		page     string
		required []string
		want     report.Status
		found    string
	}{
		"all":                   {good, nil, report.OK, "all 5 required ones with type and labels"},
		"one missing":           {strings.ReplaceAll(good, "etf_errors_total", "etf_mistakes_total"), nil, report.Fault, "etf_errors_total is missing"},
		"another type":          {strings.Replace(good, "etf_active_updates gauge", "etf_active_updates counter", 1), nil, report.Fault, "etf_active_updates has type counter, not gauge"},
		"a value of its own":    {strings.Replace(good, `status="completed"`, `status="x"`, 1), nil, report.Warning, `unknown status: "x"`},
		"not of the catalog":    {good + "mine 1\n", []string{"mine"}, report.OK, "all 1 required ones"},
		"of it and not":         {good, []string{"etf_active_updates", "theirs"}, report.Fault, "theirs is missing"},
		"not there":             {"", nil, report.Fault, "/metrics answers 404 Not Found"},
		"rubbish":               {"<html>", nil, report.Fault, "reading metrics"},
		"more than can be read": {strings.Repeat("# HELP a "+strings.Repeat("x", 1000)+"\n", 17<<10), nil, report.Fault, "answers more than"},
	} {
		t.Run(name, func(t *testing.T) {
			page.Store(c.page)
			target.Config.Metrics.Required = c.required
			f := verifyMetrics.look(t.Context(), target, Subject{})[0]
			if f.Status != c.want || !strings.Contains(f.Found, c.found) || len(f.Found) > 500 {
				t.Errorf("got %+v", f)
			}
		})
	}
}

func TestScraped(t *testing.T) {
	target, page, host := exposing(t)
	patience := collectTime
	look := func(since time.Time) report.Finding {
		got := target.lookScraped(t.Context(), since, patience)
		if len(got) != 1 || got[0].Key != "scrape" {
			t.Fatalf("got %+v", got)
		}
		return got[0]
	}
	if f := look(time.Time{}); f.Status != report.Fault {
		t.Errorf("without Prometheus: %+v", f)
	}
	server, err := testserver.StartPrometheus(t.TempDir(), rules, fmt.Sprintf("scrape_configs: [{job_name: 'an \"etf\"', scrape_interval: 1s, static_configs: [{targets: [%q]}]}]", host))
	must(t, err)
	defer server.Stop()
	target.Config.Monitoring.Prometheus = server.URL
	if f := look(time.Now()); f.Status != report.OK || f.Counts["looked"] != 5 || f.Counts["targets"] != 1 {
		t.Errorf("scraped: %+v", f)
	}
	patience = 2 * time.Second
	target.Config.Metrics.Required = []string{"etf_active_updates", "etf_missing"}
	if f := look(time.Time{}); f.Status != report.Fault || !strings.Contains(f.Found, "has no etf_missing from") {
		t.Errorf("one is missing: %+v", f)
	}
	target.Config.Metrics.Required = nil
	page.Store("")
	if f := look(time.Now()); f.Status != report.Fault || !strings.Contains(f.Found, "is down: server returned HTTP status 404") {
		t.Errorf("that cannot be scraped: %+v", f)
	}
	target.Config.API.URL = "http://127.0.0.1:1"
	if f := look(time.Time{}); f.Status != report.Fault || !strings.Contains(f.Found, "it has "+"http://"+host+"/metrics") {
		t.Errorf("another API: %+v", f)
	}
}

// Whoever does not answer, in whatever way, was not looked at.
func TestMonitoringThatDoesNotAnswer(t *testing.T) {
	closed, err := testserver.Port()
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	rubbish := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>hello") }))
	defer rubbish.Close()
	teapot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) }))
	defer teapot.Close()
	for name, address := range map[string]string{"closed": fmt.Sprintf("http://127.0.0.1:%d", closed), "silent": "http://" + silent.Addr().String(), "rubbish": rubbish.URL, "an error": teapot.URL} {
		t.Run(name, func(t *testing.T) {
			target := monitored(config.Monitoring{Prometheus: address, Alertmanager: address})
			target.Config.Timeouts.Connect, target.Config.Thresholds.Latency = 300*time.Millisecond, 100*time.Millisecond
			began := time.Now()
			findings := verifyAlerts.look(t.Context(), target, Subject{Live: &release.Release{}})
			findings = append(findings, target.lookScraped(t.Context(), time.Time{}, time.Second)...)
			for _, f := range findings {
				if f.Status != report.Unknown {
					t.Errorf("got %+v", f)
				}
			}
			if len(findings) != 4 || time.Since(began) > 3*time.Second {
				t.Errorf("%d findings after %s: %+v", len(findings), time.Since(began), findings)
			}
			if f := lookMonitoring(t.Context(), target); f.Status != report.Fault {
				t.Errorf("before a deployment: %+v", f)
			}
		})
	}
}

// What a deployment notes before its stop is what its release is held against,
// also later and alone.
func TestBaselineOfTheLiveRelease(t *testing.T) {
	target := filed(t)
	s, err := target.SubjectAlone(t.Context(), "")
	must(t, err)
	if got, err := target.baseline(t.Context(), s); got != nil || err != nil {
		t.Errorf("without a journal: %+v, %v", got, err)
	}
	want := &baseline{At: time.Date(2026, 11, 23, 11, 59, 0, 0, time.UTC), Latencies: map[string]latency{"/x": {Requests: 5, Median: 10, P95: 20}},
		Alerts: []alertState{{Labels: map[string]string{"alertname": "A"}, State: "firing"}}}
	value, err := json.Marshal(want)
	must(t, err)
	target.journaled(t, operation, "deploy", gone(t), journal.Record{Type: journal.Note, Key: factBaseline, Value: value}, journal.Record{Type: journal.End, Outcome: journal.Succeeded})
	got, err := target.baseline(t.Context(), s)
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(latency{})); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	must(t, os.WriteFile(target.journalDir()+"/"+operation+".jsonl", []byte("x\n"), 0o600))
	target.Config.API.URL = "http://127.0.0.1:1"
	if f := finding(t, target.lookLatency(t.Context(), s), "baseline"); f.Status != report.Warning {
		t.Errorf("a damaged journal: %+v", f)
	}
}

// It is measured once, before the stop, and holds up nothing.
func TestNotesTheBaseline(t *testing.T) {
	target, _, _ := exposing(t)
	filed := filed(t)
	target.Releases, target.Config.Root, target.Config.API.Health = filed.Releases, filed.Config.Root, "/metrics"
	op := target.noted(t, "deploy", nil)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	target.Config.Monitoring.Prometheus = "http://" + silent.Addr().String()
	began := time.Now()
	must(t, target.noteBaseline(t.Context(), &step.Run{Operation: op}))
	b, err := baselineOf(op)
	must(t, err)
	if l := b.Latencies["/metrics"]; l.Requests != baselineRequests || l.Failed != 0 || l.Median <= 0 || b.Blind == "" || time.Since(began) > baselineTime+time.Second {
		t.Errorf("after %s: %+v", time.Since(began), b)
	}
	target.Config.API.URL = "http://127.0.0.1:1"
	must(t, target.noteBaseline(t.Context(), &step.Run{Operation: op}))
	again, err := baselineOf(op)
	if diff := cmp.Diff(b, again, cmp.AllowUnexported(latency{})); diff != "" || err != nil {
		t.Errorf("it was measured again: %v %s", err, diff)
	}
}
