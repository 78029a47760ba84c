package supervisor_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

const programs = `
[program:good]
command=/bin/sh -c "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
process_name=%(program_name)s_%(process_num)02d
numprocs=2
autostart=false
startsecs=1
stopwaitsecs=7
[program:slow]
command=/bin/sh -c "trap 'sleep 1; exit 0' TERM; while :; do sleep 0.05; done"
autostart=false
startsecs=0
stopwaitsecs=20
killasgroup=true
[program:crash]
command=/bin/sh -c "printf '\342\202\254\342\202\254 \033[31mboom password-of-somebody\n' >&2; exit 3"
autostart=false
startretries=1
[program:missing]
command=%(here)s/no-such-program
autostart=false
startretries=0
[program:flaky]
command=/bin/sh -c "if mkdir %(here)s/flaky; then exit 1; fi; while :; do sleep 0.05; done"
autostart=false
startsecs=1
startretries=2
[group:mixed]
programs=crash,steady
[program:steady]
command=/bin/sh -c "while :; do sleep 0.05; done"
autostart=false
startsecs=0
`

var (
	daemon *testserver.Supervisor
	client *supervisor.Client
)

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) (err error) {
		if daemon, err = testserver.StartSupervisor(dir, programs); err == nil {
			client = supervisor.New(host.Local{}, daemon.Socket)
		}
		return err
	}))
}

func states(t *testing.T, group string) (states []string) {
	t.Helper()
	all, err := client.Processes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.Group == group {
			states = append(states, p.Name+" "+p.State)
		}
	}
	return states
}

func TestDaemonAndConfiguration(t *testing.T) {
	d, err := client.Daemon(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d.State != "RUNNING" || d.PID != daemon.PID() || d.Identification != "testserver" || d.Version == "" {
		t.Errorf("Daemon() = %+v, want RUNNING, pid %d, testserver", d, daemon.PID())
	}
	configs, err := client.ReadConfig(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopWait := map[string]time.Duration{}
	for _, c := range configs {
		stopWait[c.Group+":"+c.Name] = c.StopWait
		if c.Name == "slow" && (!c.KillAsGroup || c.StopAsGroup || c.AutoStart || c.StopSignal != 15) {
			t.Errorf("configuration of slow = %+v", c)
		}
	}
	if stopWait["good:good_00"] != 7*time.Second || stopWait["slow:slow"] != 20*time.Second {
		t.Errorf("stopwaitsecs = %v", stopWait)
	}
}

func TestGroupStartsAndStops(t *testing.T) {
	ctx := t.Context()
	for range 2 { // the second time there is nothing to do
		if err := client.StartGroup(ctx, "good", true); err != nil {
			t.Fatal(err)
		}
		if got, want := states(t, "good"), []string{"good_00 RUNNING", "good_01 RUNNING"}; !slices.Equal(got, want) {
			t.Fatalf("after the start: %v, want %v", got, want)
		}
	}
	all, _ := client.Processes(ctx)
	p := all[slices.IndexFunc(all, func(p supervisor.ProcessInfo) bool { return p.Name == "good_00" })]
	if p.PID == 0 || time.Since(p.Started) > time.Minute || !strings.Contains(p.Description, "pid") || !p.Running() {
		t.Errorf("running process = %+v", p)
	}
	if err := client.StopProcess(ctx, "good:good_01", true); err != nil {
		t.Fatal(err)
	}
	if got, want := states(t, "good"), []string{"good_00 RUNNING", "good_01 STOPPED"}; !slices.Equal(got, want) {
		t.Fatalf("after stopping one: %v, want %v", got, want)
	}
	if err := client.StartProcess(ctx, "good:good_01", false); err != nil {
		t.Fatal(err)
	}
	if err := client.StartProcess(ctx, "good:good_01", true); err != nil {
		t.Errorf("starting a process that is starting: %v", err)
	}
	for range 2 {
		if err := client.StopGroup(ctx, "good", true); err != nil {
			t.Fatal(err)
		}
		if got, want := states(t, "good"), []string{"good_00 STOPPED", "good_01 STOPPED"}; !slices.Equal(got, want) {
			t.Fatalf("after the stop: %v, want %v", got, want)
		}
	}
}

// A stop that was begun by a run that has died since is still waited for, and
// so is it before a start.
func TestStoppingIsNotStopped(t *testing.T) {
	ctx := t.Context()
	if err := client.StartGroup(ctx, "slow", true); err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // for the shell to set its trap
	if err := client.StopGroup(ctx, "slow", false); err != nil {
		t.Fatal(err)
	}
	if got := states(t, "slow"); !slices.Equal(got, []string{"slow STOPPING"}) {
		t.Fatalf("after a stop without waiting: %v, want STOPPING", got)
	}
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	err := client.StopGroup(short, "slow", true)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("stop with too short a deadline: %v", err)
	}
	if err := client.StartGroup(ctx, "slow", true); err != nil {
		t.Errorf("start during the stop: %v", err)
	}
	if err := client.StopProcess(ctx, "slow:slow", true); err != nil {
		t.Fatal(err)
	}
	if got := states(t, "slow"); !slices.Equal(got, []string{"slow STOPPED"}) {
		t.Errorf("after the stop: %v", got)
	}
}

func TestFailuresNameTheProcess(t *testing.T) {
	host.AddSecret("password-of-somebody")
	err := client.StartGroup(t.Context(), "mixed", true)
	var group *supervisor.GroupError
	if !errors.As(err, &group) || len(group.Failed) != 1 || !slices.Equal(group.Done, []string{"mixed:steady"}) {
		t.Fatalf("start of a half-good group: %v", err)
	}
	failed := group.Failed[0]
	if failed.Process != "mixed:crash" || failed.State != "FATAL" || !strings.Contains(failed.SpawnError, "too quickly") {
		t.Errorf("failed process = %+v", failed)
	}
	if !strings.Contains(err.Error(), "boom ***") || strings.Contains(err.Error(), "password-of-somebody") {
		t.Errorf("the error does not hold the end of the log, redacted: %v", err)
	}
	err = client.StartGroup(t.Context(), "missing", true)
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Errorf("start of a missing program: %v", err)
	}
	if err := client.StopGroup(t.Context(), "mixed", true); err != nil {
		t.Errorf("stop of a half-running group: %v", err)
	}
}

func TestASecondAttemptOfSupervisorCounts(t *testing.T) {
	if err := client.StartGroup(t.Context(), "flaky", true); err != nil {
		t.Errorf("start of a process that needs two attempts: %v", err)
	}
	if err := client.StopGroup(t.Context(), "flaky", true); err != nil {
		t.Error(err)
	}
}

// Every length of tail is readable, also those that cut a character in two.
func TestLogTail(t *testing.T) {
	client.StartGroup(t.Context(), "mixed", true)
	for n := 1; n < 60; n++ {
		tail, err := client.LogTail(t.Context(), "mixed:crash", n)
		if err != nil {
			t.Fatalf("tail of %d bytes: %v", n, err)
		}
		if len(tail) > n+3 || n > 4 && tail == "" {
			t.Errorf("tail of %d bytes = %q", n, tail)
		}
	}
	client.StopGroup(t.Context(), "mixed", true)
	if tail, err := client.LogTail(t.Context(), "missing:missing", 100); tail != "" || err != nil {
		t.Errorf("tail of a process that never wrote = %q, %v", tail, err)
	}
}

func TestUnknownNamesAndDeadSocket(t *testing.T) {
	var unknown *supervisor.UnknownError
	for _, err := range []error{
		client.StopGroup(t.Context(), "worker", true),
		client.StartGroup(t.Context(), "worker", true),
		client.StartProcess(t.Context(), "good:good_99", true),
	} {
		if !errors.As(err, &unknown) || !slices.Contains(unknown.Known, "good") || !slices.Contains(unknown.Known, "mixed") {
			t.Errorf("unknown name: %v", err)
		}
	}
	socket := filepath.Join(t.TempDir(), "sock")
	_, err := supervisor.New(host.Local{}, socket).Processes(t.Context())
	if !errors.Is(err, supervisor.ErrUnreachable) || !strings.Contains(err.Error(), socket) {
		t.Errorf("nobody at the socket: %v", err)
	}
}
