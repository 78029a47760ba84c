package monitoring

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Where Alertmanager lies behind a proxy, jobs of several instances, intervals
// of their own, an odd name: what is generated says so, and promtool takes it.
func TestPrometheusOfOtherEnvironments(t *testing.T) {
	e := collecting(JobService, JobPushgateway, "own")
	e.Name = "blue \"one\"\nand more: {x}"
	e.Jobs[0].Targets = []string{"a:1", "[::1]:2"}
	e.Jobs[0].Interval = 1500 * time.Millisecond
	e.Jobs[0].Scheme = "https"
	e.Alertmanager = &Endpoint{Scheme: "https", Address: "mon:443", Prefix: "/alerts"}
	for name, env := range map[string]Environment{"everything": e, "nothing": {Name: "empty", Interval: time.Minute, Evaluation: time.Minute}} {
		f, err := Prometheus(env)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if _, err := Write(dir, []File{f, file(RulesFile, "groups: []\n")}); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), "/usr/bin/promtool", "check", "config", filepath.Join(dir, PrometheusFile)).CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s\n%s", name, err, out, f.Content)
		}
		if name == "nothing" {
			continue
		}
		for _, want := range []string{"path_prefix: /alerts\n", "- mon:443\n", "scrape_interval: 1s500ms\n", "- '[::1]:2'\n", "scheme: https\n"} {
			if !strings.Contains(string(f.Content), want) {
				t.Errorf("%s: no %q in\n%s", name, want, f.Content)
			}
		}
		if n := strings.Count(string(f.Content), "honor_labels: true"); n != 1 {
			t.Errorf("%d jobs keep the labels that were pushed, want the Pushgateway alone", n)
		}
	}
}

// Two files that are committed must not differ by who generated them.
func TestGeneratingIgnoresTheProcess(t *testing.T) {
	before, err := Files(production(t), Everything)
	must(t, err)
	for _, name := range []string{"ETF_ENV", "ETF_SANDBOX", "ETF_PROMETHEUS_URL", "ETF_RABBITMQ_METRICS"} {
		t.Setenv(name, "elsewhere:1")
	}
	for _, name := range []string{"ETF_PRODUCTION_DATABASE_URL", "ETF_PRODUCTION_REDIS_URL", "ETF_PRODUCTION_BROKER_URL"} {
		must(t, os.Unsetenv(name))
	}
	after, err := Files(production(t), Everything)
	must(t, err)
	for i := range before {
		if before[i].Path != after[i].Path || string(before[i].Content) != string(after[i].Content) {
			t.Errorf("%s differs", before[i].Path)
		}
	}
}
