package checklist

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// happened writes the journal of an operation that began at an hour of one
// day; each further line, as recorded takes them, is a minute later.
func (t *Target) happened(tt *testing.T, hour int, kind string, lines ...string) journal.Log {
	tt.Helper()
	at := time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC)
	now := func() time.Time { at = at.Add(time.Minute); return at.Add(-time.Minute) }
	j, err := journal.Create(tt.Context(), t.Host, t.journalDir(), journal.Header{ID: journal.NewID(kind, at), Kind: kind}, now)
	must(tt, err)
	for _, r := range recorded(kind, lines...).Records[1:] {
		if r.Type == journal.End {
			r.Outcome, r.Step = r.Step, ""
		}
		if r.Type == journal.Done || r.Type == journal.Failed {
			r.Millis = 1500
		}
		must(tt, j.Append(tt.Context(), r))
	}
	return j.Log()
}

func stamp(hour, minute int) string {
	return fmt.Sprintf("%q", time.Date(2026, 11, 22, hour, minute, 0, 0, time.UTC).Format(time.RFC3339))
}

// series are the samples of a text in Prometheus' format, as "name label=value,…",
// without the given environment: those of another one keep it.
func series(t *testing.T, text []byte, environment string) map[string]float64 {
	t.Helper()
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	must(t, err)
	all := map[string]float64{}
	for name, f := range families {
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				if l.GetName() == "environment" && l.GetValue() == environment {
					continue
				}
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			all[strings.TrimSuffix(name+" "+strings.Join(labels, ","), " ")] = m.GetGauge().GetValue()
		}
	}
	return all
}

// telling is a teller of a target that holds its lease.
func (t *Target) telling() *teller {
	if t.Config.Monitoring.Pushgateway == "" && t.Config.Monitoring.Textfile == "" {
		t.Config.Monitoring.Textfile = "/nowhere"
	}
	return newTeller(t, func() bool { return false })
}

func (t *Target) told(tt *testing.T, running string) map[string]float64 {
	tt.Helper()
	told, err := t.telling().look(tt.Context(), running)
	must(tt, err)
	text, err := told.Text(t.Config.Environment)
	must(tt, err)
	return series(tt, text, t.Config.Environment)
}

func at(hour, minute int) float64 {
	return unix(time.Date(2026, 11, 22, hour, minute, 0, 0, time.UTC))
}

// What is told follows from the journals, the manifests and the pause flag.
func TestOwnMetrics(t *testing.T) {
	target, c := withRedis(t)
	target.Config.Cache.PauseKey = pauseKey
	target.Config.Operation.Parked = 2 * time.Hour
	target.Now = func() time.Time { return time.Date(2026, 11, 22, 20, 0, 0, 0, time.UTC) }
	nothing := map[string]float64{
		"etf_deploy_stopped_seconds part=workers": 0, "etf_deploy_stopped_seconds part=api": 0, "etf_deploy_drained_seconds": 0,
		"etf_deploy_rollbacks": 0, "etf_deploy_rows_restored": 0, "etf_deploy_interrupted": 0, "etf_deploy_heard_timestamp_seconds": 0,
		"etf_deploy_updates_paused_timestamp_seconds": 0,
	}
	if diff := cmp.Diff(nothing, target.told(t, "")); diff != "" {
		t.Errorf("before anything happened:\n%s", diff)
	}

	target.happened(t, 1, "deploy", "start services:stop", "note workers.stopped="+stamp(1, 2), "note workers.started="+stamp(1, 7),
		"note api.stopped="+stamp(1, 3), "note api.started="+stamp(1, 4), "done services:stop", "start release:migrate", "done release:migrate", "end succeeded")
	target.happened(t, 2, "rollback:immediate", "start services:stop", "note drained=2500000000", "note workers.stopped="+stamp(2, 0),
		"note workers.started="+stamp(2, 1), "done services:stop", "end succeeded")
	target.happened(t, 3, "rollback:gradual", "start data:restore", `note restored={"restored":40,"brought_back":2}`, "done data:restore", "end succeeded")
	target.happened(t, 4, "deploy", "start services:stop", "note workers.stopped="+stamp(4, 2), "failed services:stop", "undo services:stop",
		"note workers.started="+stamp(4, 5), "undone services:stop", "end undone")
	target.happened(t, 5, "deploy", "start release:fetch", "failed release:fetch", "end unchanged")
	target.happened(t, 6, "deploy", "skipped release:compare", "end unchanged") // nothing new
	target.happened(t, 7, "rollback:immediate", "failed rollback:choose", "end unchanged")
	open := target.happened(t, 8, "deploy", "start release:fetch", "done release:fetch", "start release:install")
	target.backedUp(t, "20261122T090000Z-abcdef12", 9, true, 5000)
	target.backedUp(t, "20261122T100000Z-abcdef12", 10, false, 7000) // was never proven
	_, _, err := c.SetPause(t.Context(), pauseKey, cache.Pause{Since: time.Date(2026, 11, 22, 8, 30, 0, 0, time.UTC)})
	must(t, err)

	want := map[string]float64{
		"etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=succeeded":             at(1, 9),
		"etf_deploy_last_operation_duration_seconds kind=deploy,outcome=succeeded":              540,
		"etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=undone":                at(4, 7),
		"etf_deploy_last_operation_duration_seconds kind=deploy,outcome=undone":                 420,
		"etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=failed":                at(5, 3),
		"etf_deploy_last_operation_duration_seconds kind=deploy,outcome=failed":                 180,
		"etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=interrupted":           at(8, 3),
		"etf_deploy_last_operation_duration_seconds kind=deploy,outcome=interrupted":            180,
		"etf_deploy_last_operation_timestamp_seconds kind=rollback:immediate,outcome=succeeded": at(2, 6),
		"etf_deploy_last_operation_duration_seconds kind=rollback:immediate,outcome=succeeded":  360,
		"etf_deploy_last_operation_timestamp_seconds kind=rollback:immediate,outcome=failed":    at(7, 2),
		"etf_deploy_last_operation_duration_seconds kind=rollback:immediate,outcome=failed":     120,
		"etf_deploy_last_operation_timestamp_seconds kind=rollback:gradual,outcome=succeeded":   at(3, 4),
		"etf_deploy_last_operation_duration_seconds kind=rollback:gradual,outcome=succeeded":    240,
		"etf_deploy_step_duration_seconds outcome=succeeded,step=release:fetch":                 1.5,
		"etf_deploy_step_duration_seconds outcome=interrupted,step=release:install":             0,
		"etf_deploy_step_duration_seconds outcome=failed,step=rollback:choose":                  1.5,
		"etf_deploy_step_duration_seconds outcome=undone,step=services:stop":                    1.5,
		"etf_deploy_step_duration_seconds outcome=succeeded,step=data:restore":                  1.5,
		"etf_deploy_step_duration_seconds outcome=succeeded,step=release:migrate":               1.5,
		"etf_deploy_stopped_seconds part=workers":                                               180,
		"etf_deploy_stopped_seconds part=api":                                                   60,
		"etf_deploy_drained_seconds":                                                            2.5,
		"etf_deploy_rollbacks":                                                                  2,
		"etf_deploy_rows_restored":                                                              42,
		"etf_deploy_backup_timestamp_seconds":                                                   at(9, 0),
		"etf_deploy_backup_bytes":                                                               5000,
		"etf_deploy_interrupted":                                                                1,
		"etf_deploy_heard_timestamp_seconds":                                                    at(8, 3),
		"etf_deploy_updates_paused_timestamp_seconds":                                           at(8, 30),
	}
	if diff := cmp.Diff(want, target.told(t, "")); diff != "" {
		t.Error(diff)
	}

	// While it runs it is not interrupted, and its step not either.
	running := target.told(t, open.Header().ID)
	for _, gone := range []string{"etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=interrupted",
		"etf_deploy_step_duration_seconds outcome=interrupted,step=release:install"} {
		if _, there := running[gone]; there {
			t.Errorf("%s of an operation that runs", gone)
		}
	}
	if running["etf_deploy_interrupted"] != 1 {
		t.Error("an operation that runs has not ended")
	}
}

// Between two stages an operation is silent by intent, until its time is up.
func TestOwnMetricsOfAParkedOperation(t *testing.T) {
	target, _ := withRedis(t)
	target.Config.Cache.PauseKey = pauseKey
	target.Config.Operation.Parked = 2 * time.Hour
	target.happened(t, 8, "stages", "start services:stop", "done services:stop", "park services:stop")
	got := target.told(t, "")
	if got["etf_deploy_interrupted"] != 1 || got["etf_deploy_heard_timestamp_seconds"] != at(10, 3) {
		t.Errorf("open %v, heard %v", got["etf_deploy_interrupted"], got["etf_deploy_heard_timestamp_seconds"])
	}
	if _, there := got["etf_deploy_last_operation_timestamp_seconds kind=stages,outcome=interrupted"]; there {
		t.Error("it is not interrupted")
	}
}

// A pause that was set by hand is told, though nobody knows since when: since
// it was first seen.
func TestOwnMetricsOfAPauseByHand(t *testing.T) {
	target, _ := withRedis(t)
	target.Config.Cache.PauseKey = pauseKey
	to, err := redis.ParseURL(target.Config.Cache.URL)
	must(t, err)
	client := redis.NewClient(to)
	defer client.Close()
	must(t, client.Set(t.Context(), pauseKey, "1", 0).Err())
	if got := target.told(t, "")["etf_deploy_updates_paused_timestamp_seconds"]; time.Since(time.Unix(int64(got), 0)) > time.Minute {
		t.Errorf("since %v", got)
	}
	paused := func(hour int) float64 {
		t.Helper()
		target.Now = func() time.Time { return time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC) }
		return target.told(t, "")["etf_deploy_updates_paused_timestamp_seconds"]
	}
	must(t, client.Del(t.Context(), pauseKey).Err())
	if got := paused(7); got != 0 {
		t.Errorf("taken away: since %v", got)
	}
	must(t, client.Set(t.Context(), pauseKey, "1", 0).Err())
	if first, later := paused(8), paused(20); first != at(8, 0) || later != first {
		t.Errorf("set at 8: since %v, twelve hours later since %v", first, later)
	}
	must(t, client.Del(t.Context(), pauseKey).Err())
	paused(21)
	must(t, client.Set(t.Context(), pauseKey, "1", 0).Err())
	if got := paused(22); got != at(22, 0) {
		t.Errorf("set anew at 22: since %v", got)
	}
	// One that ends by itself needs nobody, and nobody tells that it has ended.
	must(t, client.Set(t.Context(), pauseKey, "1", time.Hour).Err())
	if got := target.told(t, ""); got["etf_deploy_updates_paused_timestamp_seconds"] != 0 {
		t.Errorf("%v", got)
	}
}

// backedUp writes a manifest.
func (t *Target) backedUp(tt *testing.T, id string, hour int, proven bool, size int64) {
	tt.Helper()
	m := &Manifest{V: ManifestVersion, ID: id, Created: time.Date(2026, 11, 22, hour, 0, 0, 0, time.UTC), Database: postgres.DumpInfo{Size: size}}
	if proven {
		m.Proof.Contents = &m.Created
	}
	must(tt, os.MkdirAll(t.backupDir(id), 0o755))
	must(tt, t.writeManifest(tt.Context(), t.backupDir(id), m))
}

// pausing is a target on which updates can be paused, and what it has said.
func pausing(t *testing.T) (*Target, *strings.Builder) {
	t.Helper()
	target, _ := withRedis(t)
	var said strings.Builder
	target.Observer = report.NewPrinter(&said)
	target.Config.Cache.PauseKey, target.Config.Environment = pauseKey, "sandbox"
	target.Config.Source.Ref, target.Config.Timeouts.Connect = "main", time.Second
	return target, &said
}

func (t *Target) pause(tt *testing.T) {
	tt.Helper()
	if _, err := t.Operate(tt.Context(), "updates:pause", Options{Reason: "test"}); err != nil {
		tt.Fatal(err)
	}
}

// fetched is what a server exposes at an address.
func fetched(t *testing.T, address, environment string) map[string]float64 {
	t.Helper()
	res, err := http.Get(address)
	must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	must(t, err)
	return series(t, text, environment)
}

// With a real node exporter, and with promtool as the judge of the format.
func TestTextfile(t *testing.T) {
	must(t, sandbox.InstallPackages(t.Context(), os.Stderr, "prometheus-node-exporter"))
	target, said := pausing(t)
	folder := filepath.Join(serverDir(t), "textfile")
	must(t, os.Mkdir(folder, 0o755))
	exporter, err := testserver.StartNodeExporter(t.TempDir(), folder)
	must(t, err)
	defer exporter.Stop()
	target.Config.Monitoring.Textfile = folder
	before := unix(time.Now())
	target.pause(t)
	file := filepath.Join(folder, monitoring.TextfileName(target.Config.Environment))
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Fatalf("%v, %v: the exporter is another user", info, err)
	}
	left, err := os.ReadDir(folder)
	if err != nil || len(left) != 1 {
		t.Errorf("besides the file there are %v, %v", left, err)
	}
	text, err := os.ReadFile(file)
	must(t, err)
	check := exec.Command("promtool", "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s\n%s", err, out, text)
	}
	got := fetched(t, exporter.URL+"/metrics", "sandbox")
	if got["node_textfile_scrape_error"] != 0 || got["etf_deploy_interrupted"] != 0 || got["etf_deploy_updates_paused_timestamp_seconds"] < before-1 ||
		got["etf_deploy_last_operation_timestamp_seconds kind=updates:pause,outcome=succeeded"] < before-1 {
		t.Errorf("%v", got)
	}

	// Another environment on the same host, with a name that is no file's.
	told, err := target.telling().look(t.Context(), "")
	must(t, err)
	const other = `../"x y" {{ . }}`
	target.Config.Environment = other
	must(t, target.deliver(t.Context(), told, true))
	both := fetched(t, exporter.URL+"/metrics", "sandbox")
	for _, name := range []string{"etf_deploy_interrupted", "etf_deploy_interrupted environment=" + other} {
		if _, there := both[name]; !there || both["node_textfile_scrape_error"] != 0 {
			t.Errorf("no %s beside the other environment's: %v", name, both)
		}
	}
	if strings.Contains(said.String(), "warning") {
		t.Error(said)
	}
}

// From its begin on an operation is told of, so that one that is killed has
// left the truth; also that it was heard of.
func TestToldFromTheBeginOn(t *testing.T) {
	before := tellEvery
	tellEvery = 50 * time.Millisecond
	defer func() { tellEvery = before }()
	target, said := pausing(t)
	folder := t.TempDir()
	target.Config.Monitoring.Textfile = folder
	held, err := target.takeLease(t.Context(), lease.Request{Name: target.newID("deploy"), Purpose: "deploy"})
	must(t, err)
	_, err = held.begin(held.ctx, "deploy", Options{})
	must(t, err)
	read := func() map[string]float64 {
		text, err := os.ReadFile(filepath.Join(folder, monitoring.TextfileName(target.Config.Environment)))
		must(t, err)
		return series(t, text, target.Config.Environment)
	}
	until(t, "told", func() bool {
		_, err := os.Stat(filepath.Join(folder, monitoring.TextfileName(target.Config.Environment)))
		return err == nil
	})
	got := read()
	if got["etf_deploy_interrupted"] != 1 || got["etf_deploy_heard_timestamp_seconds"] < unix(time.Now().Add(-time.Minute)) {
		t.Errorf("at its begin: %v", got)
	}
	heard := got["etf_deploy_heard_timestamp_seconds"]
	until(t, "heard of again", func() bool { return read()["etf_deploy_heard_timestamp_seconds"] > heard })
	// Released without an end, as a process leaves it that a signal has ended.
	held.release()
	got = read()
	if got["etf_deploy_interrupted"] != 1 || got["etf_deploy_last_operation_timestamp_seconds kind=deploy,outcome=interrupted"] == 0 {
		t.Errorf("left without an end: %v", got)
	}
	time.Sleep(4 * tellEvery)
	if diff := cmp.Diff(got, read()); diff != "" {
		t.Errorf("it is told of by who has given it away:\n%s", diff)
	}
	if strings.Contains(said.String(), "warning") {
		t.Error(said)
	}
}

func TestPushgateway(t *testing.T) {
	must(t, sandbox.InstallPackages(t.Context(), os.Stderr, sandbox.TestPackages...))
	gateway, err := testserver.StartPushgateway(t.TempDir())
	must(t, err)
	defer gateway.Stop()
	target, said := pausing(t)
	target.Config.Monitoring.Pushgateway = gateway.URL
	target.happened(t, 1, "deploy", "start release:fetch", "failed release:fetch", "end unchanged")
	target.pause(t)
	const labels = " environment=sandbox,instance=,job=etf_deploy"
	const failed = "etf_deploy_step_duration_seconds environment=sandbox,instance=,job=etf_deploy,outcome=failed,step=release:fetch"
	got := fetched(t, gateway.URL+"/metrics", "")
	if _, there := got[failed]; !there || got["etf_deploy_interrupted"+labels] != 0 || got["etf_deploy_updates_paused_timestamp_seconds"+labels] == 0 {
		t.Errorf("%v", got)
	}
	// What is told replaces all that was: the step has succeeded since.
	target.happened(t, 2, "deploy", "start release:fetch", "done release:fetch", "end succeeded")
	target.pause(t)
	if _, there := fetched(t, gateway.URL+"/metrics", "")[failed]; there {
		t.Error("what was pushed before stays beside what is pushed now")
	}
	if strings.Contains(said.String(), "warning") {
		t.Error(said)
	}
}

// An operation succeeds though its metrics go nowhere, and does not wait long.
func TestMetricsThatCannotBeDelivered(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	file := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(file, nil, 0o600))
	for name, c := range map[string]struct{ gateway, folder, says string }{
		"nobody listens":         {gateway: "http://127.0.0.1:1", says: "connection refused"},
		"it answers nothing":     {gateway: "http://" + silent.Addr().String(), says: "deadline exceeded"},
		"the folder is missing":  {folder: "/nowhere/textfile", says: "no such file"},
		"the folder is a file":   {folder: file, says: "not a directory"},
		"it cannot be looked up": {gateway: "http://pushgateway.invalid:9091", says: "pushgateway.invalid"},
	} {
		t.Run(name, func(t *testing.T) {
			target, said := pausing(t)
			target.Config.Monitoring.Pushgateway, target.Config.Monitoring.Textfile = c.gateway, c.folder
			began := time.Now()
			target.pause(t)
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := strings.Count(said.String(), "could not be delivered"); n != 1 || !strings.Contains(said.String(), c.says) {
				t.Errorf("said %d times, want once, and %q:\n%s", n, c.says, said)
			}
		})
	}
}
