package checklist

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// begun is an operation that has begun under a lease.
func (t *Target) begun(tt *testing.T, kind string) (*heldLease, *step.Operation) {
	tt.Helper()
	held, err := t.takeLease(tt.Context(), lease.Request{Name: t.newID(kind), Purpose: kind})
	must(tt, err)
	tt.Cleanup(held.release)
	op, err := held.begin(held.ctx, kind, Options{})
	must(tt, err)
	return held, op
}

// inTextfile is what lies in the folder of the exporter.
func (t *Target) inTextfile(tt *testing.T) map[string]float64 {
	tt.Helper()
	text, _ := os.ReadFile(filepath.Join(t.Config.Monitoring.Textfile, monitoring.TextfileName(t.Config.Environment))) // missing: nothing was told
	return series(tt, text, t.Config.Environment)
}

const (
	isOpen    = "etf_deploy_interrupted"
	heardAt   = "etf_deploy_heard_timestamp_seconds"
	pausedAt  = "etf_deploy_updates_paused_timestamp_seconds"
	succeeded = "etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=succeeded"
)

// What cannot be looked at keeps nothing else from being told, and stays as it
// was last known: a pause is not over because Redis does not answer.
func TestToldWithoutRedis(t *testing.T) {
	target, said := pausing(t)
	target.Config.Monitoring.Textfile = t.TempDir()
	target.pause(t)
	paused := target.inTextfile(t)[pausedAt]
	target.Config.Cache.URL = "redis://" + silentServer(t) + "/0"
	held, op := target.begun(t, "deploy")
	until(t, "told", func() bool { return target.inTextfile(t)[isOpen] == 1 })
	must(t, op.End(held.ctx, journal.Succeeded, ""))
	held.release()
	if got := target.inTextfile(t); got[isOpen] != 0 || got[heardAt] != 0 || got[succeeded] == 0 || got[pausedAt] != paused || paused == 0 {
		t.Errorf("%v", got)
	}
	if n := strings.Count(said.String(), "not all of the suite's own metrics could be found out: pause flag: "); n != 1 {
		t.Errorf("said %d times:\n%s", n, said)
	}
}

// What could not be found out at the begin is looked at again.
func TestToldWhenItCanBeFoundOut(t *testing.T) {
	before := tellEvery
	tellEvery = 100 * time.Millisecond
	defer func() { tellEvery = before }()
	target, said := pausing(t)
	target.Config.Monitoring.Textfile = t.TempDir()
	const old = "# TYPE etf_deploy_backup_bytes gauge\netf_deploy_backup_bytes 7\n"
	must(t, os.WriteFile(filepath.Join(target.Config.Monitoring.Textfile, monitoring.TextfileName(target.Config.Environment)), []byte(old), 0o644))
	broken := []string{target.backupDir("20261122T090000Z-abcdef12"), target.backupDir("20261122T100000Z-abcdef12")}
	for _, dir := range broken {
		must(t, os.MkdirAll(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("{"), 0o644))
	}
	target.begun(t, "deploy")
	until(t, "told", func() bool { _, there := target.inTextfile(t)["etf_deploy_rollbacks"]; return there })
	if got := target.inTextfile(t); got["etf_deploy_backup_bytes"] != 7 {
		t.Errorf("%v", got)
	}
	for _, dir := range broken {
		must(t, os.RemoveAll(dir))
	}
	until(t, "there is no backup", func() bool { _, there := target.inTextfile(t)["etf_deploy_backup_bytes"]; return !there })
	if n := strings.Count(said.String(), "\n"); n != 1 || !strings.Contains(said.String(), "; ") {
		t.Errorf("said in %d lines, want one:\n%s", n, said)
	}
}

// Each journal is read once, however far back it takes to see how operations
// end, and nothing waits for that.
func TestToldOfManyOperations(t *testing.T) {
	target, said := pausing(t)
	target.Config.Monitoring.Textfile = t.TempDir()
	var whole journal.Log
	for i := range 150 {
		kind := []string{"backup:create", "rollback:immediate", "deploy"}[i%3]
		whole = target.happened(t, i, kind, "start release:fetch", "done release:fetch", "end succeeded")
	}
	counting := &countingHost{Host: target.Host, read: map[string]int{}}
	target.Host = counting
	tl := target.telling()
	for range 2 {
		told, err := tl.look(t.Context(), "")
		must(t, err)
		text, err := told.Text(target.Config.Environment)
		must(t, err)
		if got := series(t, text, target.Config.Environment); got["etf_deploy_rollbacks"] != 50 || got[succeeded] != unix(whole.Last().Time) {
			t.Errorf("%v", got)
		}
	}
	for name, n := range counting.read {
		if n > 1 {
			t.Errorf("%s was read %d times", name, n)
		}
	}
	if len(counting.read) > 3*recentOperations {
		t.Errorf("%d journals were read whole", len(counting.read))
	}

	target.Host = &readSlowly{target.Host, 40 * time.Millisecond}
	began := time.Now()
	held, op := target.begunFast(t)
	if took := time.Since(began); took > time.Second {
		t.Errorf("the begin took %s", took)
	}
	until(t, "told", func() bool { return target.inTextfile(t)[isOpen] == 1 })
	until(t, "all is told", func() bool { return target.inTextfile(t)["etf_deploy_rollbacks"] == 50 })
	must(t, op.End(held.ctx, journal.Succeeded, ""))
	held.release()
	if got := target.inTextfile(t); got[isOpen] != 0 || got[succeeded] < unix(began) {
		t.Errorf("%v", got)
	}
	if strings.Contains(said.String(), "warning") {
		t.Error(said)
	}
}

// begunFast is begun without the looks at earlier operations, which take as
// long as they take.
func (t *Target) begunFast(tt *testing.T) (*heldLease, *step.Operation) {
	tt.Helper()
	id := journal.NewID("deploy", time.Now())
	held, err := t.takeLease(tt.Context(), lease.Request{Name: func(context.Context) (string, error) { return id, nil }, Purpose: "deploy"})
	must(tt, err)
	tt.Cleanup(held.release)
	op, err := held.create(held.ctx, id, "deploy", Options{})
	must(tt, err)
	return held, op
}

// An end that could not be told is told again while there is time, and else by
// the next who looks: otherwise people are called for what went well.
func TestTheEndIsToldAgain(t *testing.T) {
	target, said := pausing(t)
	target.Config.Monitoring.Textfile = t.TempDir()
	away := target.Config.Monitoring.Textfile + ".away"
	ended := func() {
		held, op := target.begun(t, "deploy")
		until(t, "told", func() bool { return target.inTextfile(t)[isOpen] == 1 })
		must(t, op.End(held.ctx, journal.Succeeded, ""))
		must(t, os.Rename(target.Config.Monitoring.Textfile, away))
		began := time.Now()
		held.release()
		if took := time.Since(began); took > farewell+time.Second {
			t.Errorf("the end waited %s", took)
		}
	}
	go func() {
		for os.Rename(away, target.Config.Monitoring.Textfile) != nil {
			time.Sleep(700 * time.Millisecond)
		}
	}()
	ended()
	if got := target.inTextfile(t); got[isOpen] != 0 || got[succeeded] == 0 {
		t.Errorf("the exporter's folder was away for a moment: %v", got)
	}

	ended()
	must(t, os.Rename(away, target.Config.Monitoring.Textfile))
	if got := target.inTextfile(t); got[isOpen] != 1 {
		t.Fatalf("%v: the test shows nothing", got)
	}
	if _, err := target.Resume(t.Context(), false, 0); ExitCode(err) != 0 {
		t.Error(err)
	}
	if got := target.inTextfile(t); got[isOpen] != 0 || got[heardAt] != 0 {
		t.Errorf("after resume: %v", got)
	}
	if n := strings.Count(said.String(), "could not be delivered"); n < 1 || n > 2 {
		t.Errorf("said %d times:\n%s", n, said)
	}
}

// Neither the begin nor the end of an operation, nor who takes the service
// back, waits for servers of others.
func TestNobodyWaitsForOthers(t *testing.T) {
	address := "http://" + silentServer(t)
	atOnce := func(what string, limit time.Duration, do func()) {
		t.Helper()
		began := time.Now()
		if do(); time.Since(began) > limit {
			t.Errorf("%s took %s", what, time.Since(began))
		}
	}
	const soon = 300 * time.Millisecond
	for name, leave := range map[string]func(*heldLease){
		"the end":             (*heldLease).release,
		"the end of a stage":  (*heldLease).asItWas,
		"making way for undo": func(held *heldLease) { held.park(time.Now().Add(time.Minute)) },
		"the start": func(held *heldLease) {
			atOnce("the start", soon, func() { held.t.maintenance.over(held.ctx) })
			held.release()
		},
	} {
		target := filed(t)
		var said strings.Builder
		target.Observer = report.NewPrinter(&said)
		target.Config.Timeouts.Connect = 5 * time.Second
		target.Config.Monitoring = config.Monitoring{Alertmanager: address, Pushgateway: address, Interval: time.Second, Evaluation: time.Second}
		var held *heldLease
		var op *step.Operation
		atOnce("the begin", soon, func() { held, op = target.begunFast(t) })
		atOnce("the stop", soon, func() { held.t.maintenance.begin(held.ctx, &step.Run{Operation: op}) })
		time.Sleep(50 * time.Millisecond)
		atOnce(name, 1800*time.Millisecond, func() { leave(held) })
	}
}

// Where the disk hangs, deliveries do not pile up.
func TestOneDeliveryAtATime(t *testing.T) {
	before := tellEvery
	tellEvery = 20 * time.Millisecond
	defer func() { tellEvery = before }()
	target, said := pausing(t)
	stuck := &stuckHost{Host: target.Host, hangs: make(chan struct{})}
	target.Host, target.Config.Monitoring.Textfile, target.Config.Timeouts.Connect = stuck, t.TempDir(), 50*time.Millisecond
	held, op := target.begunFast(t)
	time.Sleep(time.Second)
	stuck.mu.Lock()
	if stuck.tries != 1 {
		t.Errorf("%d deliveries hang", stuck.tries)
	}
	stuck.mu.Unlock()
	close(stuck.hangs) // the disk is there again
	must(t, op.End(held.ctx, journal.Succeeded, ""))
	held.release()
	if got := target.inTextfile(t); got[isOpen] != 0 || got[succeeded] == 0 {
		t.Errorf("%v", got)
	}
	if n := strings.Count(said.String(), "could not be delivered"); n != 1 {
		t.Errorf("said %d times:\n%s", n, said)
	}
}
