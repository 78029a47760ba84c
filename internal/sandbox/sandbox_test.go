package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestSandbox takes two real sandboxes side by side through their life. The
// second lies below a closed folder and under a path that is too long for a
// Unix socket.
func TestSandbox(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	base := t.TempDir()
	closed := filepath.Join(base, "closed", strings.Repeat("long", 20))
	if err := os.MkdirAll(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(base, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := newTest(t, filepath.Join(base, "a"), 5), newTest(t, filepath.Join(closed, "b"), 4)
	var g errgroup.Group
	for _, s := range []*Sandbox{a, b} {
		g.Go(func() error { return s.Up(ctx) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"both are up", func(t *testing.T) { wantState(ctx, t, StateUp, a, b) }},
		{"they share no port", func(t *testing.T) { differentPorts(t, a, b) }},
		{"up again is quick", func(t *testing.T) { quickUp(ctx, t, a) }},
		{"another size is refused", func(t *testing.T) { otherSize(ctx, t, a) }},
		{"the data", func(t *testing.T) { dataIsThere(ctx, t, a) }},
		{"the rights", func(t *testing.T) { rightsHold(ctx, t, b) }},
		{"prices agree with the source", func(t *testing.T) { pricesAgree(ctx, t, a) }},
		{"secrets stay secret", func(t *testing.T) { secretsStaySecret(t, a); secretsStaySecret(t, b) }},
		{"monitoring is valid", func(t *testing.T) { monitoringIsValid(ctx, t, a) }},
		{"a release", func(t *testing.T) { releases(ctx, t, a) }},
		{"recovery from kills, a foreign server and a cut load", func(t *testing.T) { recovers(ctx, t, a) }},
		{"down leaves no process", func(t *testing.T) { stops(ctx, t, a) }},
		{"the other one is untouched", func(t *testing.T) { wantState(ctx, t, StateUp, b) }},
		{"purge leaves no file", func(t *testing.T) { purges(ctx, t, a); purges(ctx, t, b) }},
	}
	for _, step := range steps {
		start := time.Now()
		if !t.Run(step.name, step.run) {
			break
		}
		t.Logf("%s: %.1fs", step.name, time.Since(start).Seconds())
	}
}

// newTest makes a sandbox that is purged at the end; where the test has
// failed by then, what its servers have written is shown.
func newTest(t *testing.T, dir string, etfs int) *Sandbox {
	t.Helper()
	var out bytes.Buffer
	s, err := New(dir, Options{ETFs: etfs, Config: "../../deploy.yaml", Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", dir, out.String())
			logs, _ := filepath.Glob(s.path("log", "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				t.Logf("%s%s", path, tailOf(text, 5))
			}
		}
		if err := s.Down(context.Background(), true); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wantState(ctx context.Context, t *testing.T, want string, all ...*Sandbox) {
	t.Helper()
	for _, s := range all {
		status, err := s.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status.State != want {
			t.Errorf("%s, want %s:\n%s", status.State, want, status.Table())
		}
		data, err := status.JSON()
		var back Status
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || back.Version != StatusVersion || len(back.Parts) != len(status.Parts) {
			t.Errorf("the JSON does not read back: %v", err)
		}
		if table := status.Table(); !strings.Contains(table, partRabbitMQ) || !strings.Contains(table, s.dir) {
			t.Errorf("the table lacks something:\n%s", table)
		}
	}
}

func differentPorts(t *testing.T, a, b *Sandbox) {
	for name, port := range a.st.Ports {
		for other, taken := range b.st.Ports {
			if port == taken {
				t.Errorf("port %d is %s of one and %s of the other", port, name, other)
			}
		}
	}
}

func quickUp(ctx context.Context, t *testing.T, s *Sandbox) {
	before, start := pids(s), time.Now()
	if err := s.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if after := pids(s); !slices.Equal(before, after) {
		t.Errorf("servers changed: %v, before %v", after, before)
	}
}

// pids are those of the servers themselves: PostgreSQL's children come and go.
func pids(s *Sandbox) []int {
	var list []int
	all := processes(s.dir)
	for _, p := range s.parts() {
		server, _ := p.server(all)
		list = append(list, server.PID)
	}
	return list
}

func otherSize(ctx context.Context, t *testing.T, s *Sandbox) {
	other, err := New(s.dir, Options{ETFs: 7, Config: "../../deploy.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Up(ctx); err == nil || !strings.Contains(err.Error(), "sandbox:down -purge") {
		t.Errorf("got: %v", err)
	}
}

func monitoringIsValid(ctx context.Context, t *testing.T, s *Sandbox) {
	for _, argv := range [][]string{
		{"promtool", "check", "config", s.path("monitoring", "prometheus.yml")},
		{"amtool", "check-config", s.path("alerts", "alertmanager.yml")},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
	}
	collects(ctx, t, s, "rabbitmq", "prometheus", "alertmanager")
	var answer struct {
		Data struct {
			ActiveAlertmanagers []struct{ URL string }
		}
	}
	address := sourced(t, s, "ETF_PROMETHEUS_URL") + "/api/v1/alertmanagers"
	for deadline := time.Now().Add(20 * time.Second); len(answer.Data.ActiveAlertmanagers) == 0; {
		getJSON(ctx, t, address, &answer)
		if time.Now().After(deadline) || sleep(ctx, 200*time.Millisecond) != nil {
			t.Fatal("Prometheus found no Alertmanager")
		}
	}
	if got := answer.Data.ActiveAlertmanagers[0].URL; !strings.HasPrefix(got, sourced(t, s, "ETF_ALERTMANAGER_URL")) {
		t.Errorf("Prometheus sends its alerts to %s", got)
	}
}

// collects waits until Prometheus has collected from each of these jobs.
func collects(ctx context.Context, t *testing.T, s *Sandbox, jobs ...string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var answer struct {
			Data struct {
				Result []struct{ Metric struct{ Job string } }
			}
		}
		getJSON(ctx, t, sourced(t, s, "ETF_PROMETHEUS_URL")+"/api/v1/query?query="+url.QueryEscape("up == 1"), &answer)
		var up []string
		for _, r := range answer.Data.Result {
			up = append(up, r.Metric.Job)
		}
		missing := slices.DeleteFunc(slices.Clone(jobs), func(job string) bool { return slices.Contains(up, job) })
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) || sleep(ctx, 200*time.Millisecond) != nil {
			t.Errorf("Prometheus does not collect from %v", missing)
			return
		}
	}
}
