package monitoring

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

const deployYAML = "../../deploy.yaml"

// production is the environment whose files are committed.
func production(t testing.TB) Environment {
	t.Helper()
	e, err := Load(deployYAML, Committed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestProductionNeedsNoSecret(t *testing.T) {
	e := production(t)
	if e.Folder != "." || e.Interval != 15*time.Second {
		t.Errorf("folder %q, interval %s", e.Folder, e.Interval)
	}
	var names []string
	for _, j := range e.Jobs {
		names = append(names, j.Name)
	}
	want := []string{JobService, JobWorker, JobRedis, JobPostgres, JobRabbitMQ, JobNode, JobCelery, JobPushgateway, JobPrometheus, JobAlertmanager}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func TestFoldersOfTheEnvironments(t *testing.T) {
	t.Setenv("ETF_SANDBOX", "/tmp/elsewhere")
	for name, want := range map[string]string{Committed: ".", "sandbox": "/tmp/elsewhere", "staging": filepath.Join("generated", "staging")} {
		if got := folder(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func given(change func(*config.Config)) *config.Config {
	c := &config.Config{Environment: "staging", File: "deploy.yaml", API: config.API{URL: "https://etf.example.com/api", Metrics: "/metrics"},
		Monitoring: config.Monitoring{Interval: time.Minute, Evaluation: time.Minute}}
	change(c)
	return c
}

func TestJobsOfAConfiguration(t *testing.T) {
	service := Job{Name: JobService, Scheme: "https", Path: "/api/metrics", Targets: []string{"etf.example.com:443"}, Interval: time.Minute}
	for name, test := range map[string]struct {
		change func(*config.Config)
		want   []Job
	}{
		"the service follows from api.url": {func(*config.Config) {}, []Job{service}},
		"a service without metrics":        {func(c *config.Config) { c.API.Metrics = "" }, nil},
		"several instances": {func(c *config.Config) {
			c.Monitoring.Jobs = []config.Job{{Name: JobService, Targets: []string{"a:1", "b:1"}, Interval: time.Second}}
		}, []Job{{Name: JobService, Scheme: "http", Path: "/metrics", Targets: []string{"a:1", "b:1"}, Interval: time.Second}}},
		"the known ones come in their order, others last": {func(c *config.Config) {
			c.Monitoring.Alertmanager = "http://mon/alerts/"
			c.Monitoring.Jobs = []config.Job{{Name: "own", Targets: []string{"o:1"}}, {Name: JobRabbitMQ, Targets: []string{"r:1"}}}
		}, []Job{
			service,
			{Name: JobRabbitMQ, Scheme: "http", Path: "/metrics/per-object", Targets: []string{"r:1"}, Interval: time.Minute},
			{Name: JobAlertmanager, Scheme: "http", Path: "/alerts/metrics", Targets: []string{"mon:80"}, Interval: time.Minute},
			{Name: "own", Scheme: "http", Path: "/metrics", Targets: []string{"o:1"}, Interval: time.Minute},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := FromConfig(given(test.change))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, e.Jobs); diff != "" {
				t.Errorf("jobs (-want +got):\n%s", diff)
			}
		})
	}
}

// However a target is written, and whoever names it, it is collected once.
func TestWhatIsCollectedTwice(t *testing.T) {
	for name, change := range map[string]func(*config.Config){
		"one job writes the path that is the default": func(c *config.Config) {
			c.Monitoring.Jobs = []config.Job{{Name: JobService, Targets: []string{"a:1"}, Path: "/metrics"}, {Name: JobWorker, Targets: []string{"a:1"}}}
		},
		"the service follows from api.url": func(c *config.Config) {
			c.API.URL = "http://etf1:8000"
			c.Monitoring.Jobs = []config.Job{{Name: JobWorker, Targets: []string{"etf1:8000"}}}
		},
		"Prometheus follows from its key": func(c *config.Config) {
			c.Monitoring.Prometheus = "http://mon:9090"
			c.Monitoring.Jobs = []config.Job{{Name: "own", Targets: []string{"mon:9090"}}}
		},
		"large letters, a port with noughts": func(c *config.Config) {
			c.Monitoring.Jobs = []config.Job{{Name: JobRedis, Targets: []string{"etf1:8000", "ETF1:08000"}}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := FromConfig(given(change))
			if err == nil || !errors.Is(err, config.ErrInvalid) || !strings.Contains(err.Error(), "monitoring.jobs: ") || !strings.Contains(err.Error(), "collected by") {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := FromConfig(given(func(c *config.Config) {
		c.Monitoring.Jobs = []config.Job{{Name: JobService, Targets: []string{"a:1"}}, {Name: "own", Targets: []string{"a:1"}, Path: "/own"}}
	})); err != nil {
		t.Errorf("another path: %v", err)
	}
}

// What the generators cannot use is said together with everything else.
func TestFaultsOfJobsAreSaidWithAllOthers(t *testing.T) {
	text, err := os.ReadFile(deployYAML)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "deploy.yaml")
	faulty := strings.NewReplacer("error_rate: 0.1", "error_rate: -1", `targets: ["worker1.example.com:8000"]`, `targets: ["127.0.0.1:8000"]`).Replace(string(text))
	must(t, os.WriteFile(file, []byte(faulty), 0o600))
	_, err = Load(file, Committed, nil)
	for _, want := range []string{"2 faults", "alerts.error_rate (line ", "monitoring.jobs (line ", "127.0.0.1:8000/metrics of etf_worker is collected by etf_service"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}

// The suite's metrics reach Prometheus by the job that brings them from where
// they go, and by no other.
func TestHowTheSuitesMetricsArrive(t *testing.T) {
	for name, test := range map[string]struct {
		gateway, folder string
		jobs            []string
		missing         string // nothing: they arrive
	}{
		"pushed":                      {gateway: "http://h:9091", jobs: []string{JobPushgateway}},
		"by textfile":                 {folder: "/var/lib/node", jobs: []string{JobNode}},
		"nowhere, both are collected": {jobs: []string{JobPushgateway, JobNode}, missing: "neither monitoring.pushgateway nor monitoring.textfile"},
		"pushed, node is collected":   {gateway: "http://h:9091", jobs: []string{JobNode}, missing: "no job pushgateway is collected"},
		"textfile, gateway collected": {folder: "/var/lib/node", jobs: []string{JobPushgateway}, missing: "no job node is collected"},
	} {
		e, err := FromConfig(given(func(c *config.Config) {
			c.Monitoring.Pushgateway, c.Monitoring.Textfile = test.gateway, test.folder
			for _, job := range test.jobs {
				c.Monitoring.Jobs = append(c.Monitoring.Jobs, config.Job{Name: job, Targets: []string{job + ":1"}})
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		got := backupTooOld(e).Missing
		if test.missing == "" && got != "" || !strings.Contains(got, test.missing) || e.HearsTheSuite() != (test.missing == "") {
			t.Errorf("%s: %q, want %q; heard of: %v", name, got, test.missing, e.HearsTheSuite())
		}
	}
}

// Several environments may share a Pushgateway, a machine and a Prometheus:
// each looks at its own.
func TestTheSuitesMetricsAreThoseOfTheEnvironment(t *testing.T) {
	e := production(t)
	const name, selected = "etf_deploy_", `{environment="production"}`
	look := func(at, expr string) (n int) {
		for rest := expr; strings.Contains(rest, name); n++ {
			_, rest, _ = strings.Cut(rest, name)
			if !strings.HasPrefix(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz_"), selected) {
				t.Errorf("%s: %s", at, expr)
			}
		}
		return n
	}
	rules, panels := 0, 0
	for _, a := range Alerts(e) {
		for _, r := range a.Rules {
			rules += look(a.Name, r.Expr)
		}
	}
	for title, all := range DashboardQueries(e, "1h") {
		for _, expr := range all {
			panels += look(title, expr)
		}
	}
	if rules < 6 || panels < len(Of(Suite)) {
		t.Errorf("only %d in rules, %d in panels", rules, panels)
	}
}

func TestNoCredentialsInGeneratedFiles(t *testing.T) {
	_, err := FromConfig(given(func(c *config.Config) {
		c.API.URL = "https://token-of-ours@etf.example.com"
		c.Monitoring.Prometheus = "http://ops:hunter2secret@mon:9090"
		c.Monitoring.Alertmanager = "http://mon:9093"
	}))
	if !errors.Is(err, config.ErrInvalid) {
		t.Fatalf("error %v, want config.ErrInvalid", err)
	}
	for _, want := range []string{"2 faults", "environments.staging.api.url: ", "environments.staging.monitoring.prometheus: "} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
	if strings.Contains(err.Error(), "hunter2secret") || strings.Contains(err.Error(), "token-of-ours") {
		t.Errorf("the error shows a secret: %v", err)
	}
}
