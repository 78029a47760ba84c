package alerts

import (
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// ticking commits a release that updates both ETFs every two seconds: one
// update a minute, as time goes here.
func ticking(t *testing.T, s *stack.Stack) {
	t.Helper()
	const file = "app/core/celery_app.py"
	out, err := exec.Command("git", "-C", s.Env["ETF_ORIGIN"], "show", "v1.1:src/backend/"+file).Output()
	if err != nil {
		t.Fatal(err)
	}
	const nightly = `_daily("etf.update_all_etfs", 20)`
	if !strings.Contains(string(out), nightly) {
		t.Fatalf("%s has no %s", file, nightly)
	}
	s.Commit(t, "ticking", "v1.1", file, strings.Replace(string(out), nightly, `{"task": "app.tasks.etf.update_all_etfs", "schedule": 2.0}`, 1))
	s.Commit(t, "next", "origin/ticking", "NOTES.md", "the same service\n")
}

func services(s *stack.Stack) *supervisor.Client {
	return supervisor.New(host.Local{}, s.Sandbox.Socket())
}

// starts brings a group of the service's processes back.
func starts(t *testing.T, s *stack.Stack, group string) {
	t.Helper()
	if err := services(s).StartGroup(context.Background(), group, true); err != nil {
		t.Error(err)
	}
}

// killWorkers kills each worker that supervisord starts again, until it gives
// them up. The broker notices at once, and tells every five seconds.
var killWorkers = trouble{
	name: "the workers are killed", alert: "NoWorkers", late: 5 * time.Second,
	begin: func(t *testing.T, s *stack.Stack) func() {
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			for ctx.Err() == nil && !killAll(ctx, s) {
				time.Sleep(50 * time.Millisecond)
			}
		}()
		return func() {
			stop()
			<-done
			starts(t, s, "celery_worker")
		}
	},
}

// killAll reports whether no worker will come back.
func killAll(ctx context.Context, s *stack.Stack) bool {
	all, err := services(s).Processes(ctx)
	left := false
	for _, p := range all {
		if p.Group == "celery_worker" && p.State != "FATAL" {
			left = true
			if p.PID > 0 {
				syscall.Kill(p.PID, syscall.SIGKILL)
			}
		}
	}
	return err == nil && !left
}

var stopAPI = trouble{
	name: "the API is stopped", alert: "TargetDown",
	begin: func(t *testing.T, s *stack.Stack) func() {
		if err := services(s).StopGroup(t.Context(), "etf_api", true); err != nil {
			t.Fatal(err)
		}
		return func() { starts(t, s, "etf_api") }
	},
}

// stopPrices makes every update fail, one a minute. More than half of those of
// the last quarter of an hour have to.
var stopPrices = trouble{
	name: "every update fails", alert: "UpdatesFailing",
	window: func(e monitoring.Environment) time.Duration {
		return time.Duration(e.Alerts.Scale * float64(15*time.Minute))
	},
	begin: func(t *testing.T, s *stack.Stack) func() { return s.Kill(t, "prices") },
}

var leavePaused = trouble{
	name: "updates stay paused", alert: "UpdatesPausedTooLong",
	begin: func(t *testing.T, s *stack.Stack) func() {
		s.Mage(t, 0, "updates:pause", "-reason=a test", "-yes")
		return func() { s.Mage(t, 0, "updates:resume", "-yes") }
	},
}

// interruptDeployment kills one that has stopped the workers. The alert waits
// for a minute or longer, as an operation tells of itself every half.
var interruptDeployment = trouble{
	name: "a deployment is killed half-way", alert: "DeploymentInterrupted",
	begin: func(t *testing.T, s *stack.Stack) func() {
		s.MageEnv(t, stack.Faults("release:activate:during=kill"), -1, "deploy", "-ref=next")
		m := theMaintenance(t, s)
		if m.State != "active" || m.Noted != m.ID {
			t.Errorf("the service is stopped, and its silence is %+v", m)
		}
		return func() {
			s.Mage(t, 0, "resume", "-undo")
			m.over(t, s)
		}
	},
	meanwhile: silencedDrill,
}

// freezeBeat lets nobody start updates any more. What is stale after a day and
// two hours otherwise is here after a quarter of an hour.
var freezeBeat = trouble{
	name: "beat is frozen", alert: "UpdatesStale",
	window: func(e monitoring.Environment) time.Duration { return e.Alerts.StaleAfter },
	begin: func(t *testing.T, s *stack.Stack) func() {
		s.Changed(t, "      secondary: 3m\n", "      stale_after: 15m\n      secondary: 3m\n")
		if err := s.Revive(t.Context()); err != nil {
			t.Fatal(err)
		}
		beat := s.PIDs(t, "celery_beat")[0]
		syscall.Kill(beat, syscall.SIGSTOP)
		return func() { syscall.Kill(beat, syscall.SIGCONT) }
	},
}

func inSeconds(all []time.Duration) (texts []string) {
	for _, d := range all {
		texts = append(texts, fmt.Sprintf("%.1f s", d.Seconds()))
	}
	return texts
}

// alerts are those that somebody was called for, each with its severity, once.
func alerts(calls []call) (names []string) {
	for _, c := range calls {
		if c.Status == "firing" {
			names = append(names, c.Alert+" "+c.Severity)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
