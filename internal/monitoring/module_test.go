package monitoring_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// inSeveralProcesses counts in a process that ends properly, one that is killed
// in an update, and this one.
const inSeveralProcesses = `
import os, signal, sys
from app.core import metrics

def child(work):
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)
    work()
    os._exit(0)

def ends():
    metrics.UPDATES.labels("completed").inc(2)
    metrics.LAST_UPDATE.set(2000)
    metrics.ACTIVE.inc()
    metrics.forget_process(os.getpid())

def killed():
    metrics.UPDATES.labels("failed").inc()
    metrics.DURATION.observe(3)
    metrics.ACTIVE.inc()
    os.kill(os.getpid(), signal.SIGKILL)

metrics.LAST_UPDATE.set(1000)
child(ends)
child(killed)
metrics.ACTIVE.inc()
metrics.ERRORS.labels("api_error").inc()
sys.stdout.buffer.write(metrics.exposition())
`

// What the module exposes is the catalog, with every label initialised, summed
// up over processes, those that were killed left out of what runs now.
func TestMetricsModuleOverSeveralProcesses(t *testing.T) {
	text := run(t, service(t), []string{"PROMETHEUS_MULTIPROC_DIR=" + t.TempDir()}, inSeveralProcesses)
	want := map[string]string{
		`etf_updates_total{status="completed"}`: "2.0", `etf_updates_total{status="failed"}`: "1.0", `etf_updates_total{status="completed_with_errors"}`: "0.0",
		`etf_active_updates`: "1.0", `etf_last_update_timestamp`: "2000.0",
		`etf_errors_total{error_type="api_error"}`: "1.0", `etf_errors_total{error_type="price_missing"}`: "0.0",
		`etf_update_duration_seconds_bucket{le="2.5"}`: "0.0", `etf_update_duration_seconds_bucket{le="5.0"}`: "1.0",
		`etf_update_duration_seconds_count`: "1.0", `etf_update_duration_seconds_sum`: "3.0",
	}
	series := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name != "#" {
			series[name] = value
		}
	}
	for name, value := range want {
		if series[name] != value {
			t.Errorf("%s is %q, want %s", name, series[name], value)
		}
	}
	if strings.Contains(text, "pid=") {
		t.Errorf("a series for each process:\n%s", text)
	}
	sameAsCatalog(t, text, monitoring.Of(monitoring.Service))
}

// sameAsCatalog compares names, types, help and label values.
func sameAsCatalog(t *testing.T, exposition string, catalog []monitoring.Metric) {
	t.Helper()
	families, err := monitoring.Parse(exposition)
	if err != nil {
		t.Fatalf("%v in\n%s", err, exposition)
	}
	for _, m := range catalog {
		f := families[m.Name]
		if f == nil {
			t.Errorf("%s is not exposed", m.Name)
			continue
		}
		if f.GetType() != m.Type || f.GetHelp() != m.Meaning {
			t.Errorf("%s is a %s: %q, want a %s: %q", m.Name, f.GetType(), f.GetHelp(), m.Type, m.Meaning)
		}
		if p := m.Check(f); len(p.Faults)+len(p.Warnings) > 0 {
			t.Errorf("%s: %+v", m.Name, p)
		}
		if len(m.Labels) == 1 {
			var values []string
			for _, one := range f.Metric {
				values = append(values, one.Label[0].GetValue())
			}
			if diff := cmp.Diff(m.Labels[0].Values, values, sorted); diff != "" {
				t.Errorf("%s: values (-want +got):\n%s", m.Name, diff)
			}
		}
		delete(families, m.Name)
	}
	for name := range families {
		if strings.HasPrefix(name, "etf_") {
			t.Errorf("%s is exposed and stands not in the catalog", name)
		}
	}
}

// A module that stands alone, as on a machine with workers only, serves what
// the workers there have counted.
func TestMetricsModuleServes(t *testing.T) {
	dir, shared := service(t), "PROMETHEUS_MULTIPROC_DIR="+t.TempDir()
	run(t, dir, []string{shared}, `from app.core import metrics; metrics.UPDATES.labels("completed").inc(7)`)
	text := run(t, dir, []string{shared}, `
import subprocess, sys, time, urllib.request, socket
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
server = subprocess.Popen([sys.executable, "-m", "app.core.metrics", f"127.0.0.1:{port}"])
try:
    for attempt in range(100):
        try:
            print(urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode())
            break
        except OSError:
            time.sleep(0.1)
finally:
    server.terminate()
    server.wait()
`)
	if !strings.Contains(text, `etf_updates_total{status="completed"} 7.0`) {
		t.Errorf("not served:\n%s", text)
	}
	sameAsCatalog(t, text, monitoring.Of(monitoring.Service))
}

// Alone and without the folder it would answer with noughts, and all would
// seem well.
func TestMetricsModuleWantsTheFolder(t *testing.T) {
	dir := service(t)
	for _, arguments := range []string{`"127.0.0.1:0"`, ``} {
		said := run(t, dir, []string{"PROMETHEUS_MULTIPROC_DIR="}, `
import subprocess, sys
print(subprocess.run([sys.executable, "-m", "app.core.metrics", `+arguments+`], timeout=20, capture_output=True, text=True))`)
		if !strings.Contains(said, "returncode=1") || !strings.Contains(said, "PROMETHEUS_MULTIPROC_DIR=FOLDER") {
			t.Errorf("with %q: %s", arguments, said)
		}
	}
}

// Label values and texts are whatever somebody wrote.
func TestMetricsModuleQuotes(t *testing.T) {
	catalog := []monitoring.Metric{{
		Name: "etf_odd_total", Type: dto.MetricType_COUNTER, Source: monitoring.Service, Python: "ODD",
		Meaning: `it's "odd" \ {{.Name}} ☂`,
		Labels: []monitoring.Label{{Name: "what", Values: []string{
			`a "quoted" one`, `an 'apostrophe'`, "two\nlines", `a \ backslash`, "", "Ü ☂ 𝄞", "{{.}}", "</script>", "#", "\u2028",
		}}},
	}}
	content, err := monitoring.RenderMetricsModule(catalog)
	if err != nil {
		t.Fatal(err)
	}
	dir := service(t)
	if err := os.WriteFile(dir+"/app/core/metrics.py", content, 0o644); err != nil {
		t.Fatal(err)
	}
	sameAsCatalog(t, run(t, dir, []string{"PROMETHEUS_MULTIPROC_DIR=" + t.TempDir()}, `
import sys
from app.core import metrics
sys.stdout.buffer.write(metrics.exposition())`), catalog)
}
