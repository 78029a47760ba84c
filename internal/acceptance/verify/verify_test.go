// Package verify breaks a deployed service in one way after the other, and
// looks whether the verification says so.
package verify

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
)

var theStack *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.With(4, func(s *stack.Stack) int {
		theStack = s
		return m.Run()
	}))
}

func TestVerification(t *testing.T) {
	s := theStack
	s.Mage(t, 0, "deploy")
	for _, part := range []struct {
		name string
		run  func(*testing.T, *stack.Stack)
	}{
		{"a healthy service meets the criteria, with evidence", healthy},
		{"an update leaves one marked row and the same prices", idempotent},
		{"a frozen beat", frozenBeat},
		{"a second beat", secondBeat},
		{"a task that no worker knows", unknownTask},
		{"a periodic task that is late", lateTask},
		{"workers that are gone", noWorkers},
		{"a price source that fails", noPriceSource},
		{"an API without its broker", noBroker},
		{"updates that are paused", paused},
		{"an endpoint that answers something else", otherAnswer},
		{"a backup that has changed", changedBackup},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			t.Fatal("the parts to come build on this one")
		}
	}
	s.Mage(t, 0, "verify:api", "verify:tasks", "verify:update", "verify:backups")
}

// verify runs one check and returns its findings by key.
func verify(t *testing.T, s *stack.Stack, want int, check string) map[string]report.Finding {
	t.Helper()
	var answer struct{ Findings []report.Finding }
	r := s.Mage(t, want, check, "-json")
	if err := json.Unmarshal([]byte(r.Stdout), &answer); err != nil {
		t.Fatalf("%v: %s", err, r.Stdout)
	}
	byKey := map[string]report.Finding{}
	for _, f := range answer.Findings {
		if old, twice := byKey[f.Key]; f.Key == "" || twice && old.Status == f.Status {
			t.Errorf("a finding without a key, or with one that there is: %+v", f)
		}
		if f.Status != report.OK || byKey[f.Key].Key == "" {
			byKey[f.Key] = f
		}
	}
	return byKey
}

// finds fails unless a finding has this status and says that.
func finds(t *testing.T, f report.Finding, status report.Status, text string) {
	t.Helper()
	if f.Status != status || !strings.Contains(f.Found, text) {
		t.Errorf("%+v\nwant %s: %s", f, status, text)
	}
}

func query[T any](t *testing.T, s *stack.Stack, sql string) (value T) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Env["ETF_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	if err := conn.QueryRow(t.Context(), sql).Scan(&value); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return value
}

// pids are those of the service's processes with this beginning of their name.
func pids(t *testing.T, s *stack.Stack, name string) (all []int) {
	t.Helper()
	for _, p := range s.Status(t).Processes {
		if strings.HasPrefix(p.Name, name) {
			all = append(all, p.PID)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no process %s", name)
	}
	return all
}

// quickly has an update wait for seconds, not minutes.
func quickly(t *testing.T, s *stack.Stack) {
	t.Cleanup(s.Changed(t, "    thresholds:\n      disk_reserve", "    timeouts: {verify: 4s, check: 30s}\n    thresholds:\n      disk_reserve"))
}

func healthy(t *testing.T, s *stack.Stack) {
	tasks := verify(t, s, 0, "verify:tasks")
	finds(t, tasks["celery_beat"], report.OK, "alone, since")
	finds(t, tasks["worker0@etf"], report.OK, "all 7 tasks of the release registered")
	finds(t, tasks["update-etf-prices"], report.OK, "first due")
	finds(t, tasks["timetable"], report.OK, "6 entries, of which 6 not due yet")
	var criteria struct {
		Criteria []struct {
			Met      bool
			Evidence string
			Findings []report.Finding
		}
	}
	if err := json.Unmarshal([]byte(s.Mage(t, 0, "verify:criteria", "-json").Stdout), &criteria); err != nil || len(criteria.Criteria) != 6 {
		t.Fatalf("%+v, %v", criteria, err)
	}
	for i, want := range []string{"200 in", "7 tasks of the release registered", "of them errors", "metrics", "loaded", "as in the manifest"} {
		if c := criteria.Criteria[i]; !c.Met || !strings.Contains(c.Evidence, want) || len(c.Findings) == 0 {
			t.Errorf("criterion %d: %+v, want evidence of %q", i+1, c, want)
		}
	}
	if e := criteria.Criteria[1].Evidence; !strings.Contains(e, "timetable: 6 entries") || !strings.Contains(e, "completed in") {
		t.Errorf("no evidence that tasks run as scheduled: %s", e)
	}
}

func idempotent(t *testing.T, s *stack.Stack) {
	const rows, marked = "select count(*) from etf_updates", "select count(*) from etf_updates where notes like 'etf-deploy verify:update, %@%'"
	const prices = "select md5(string_agg(p::text, ',' order by id)) from etf_prices p"
	if n := query[int](t, s, "select count(*) from etf_updates where notes like 'etf-deploy verify:update, operation %-deploy-%'"); n != 1 {
		t.Errorf("the deployment has left %d marked rows", n)
	}
	n, m, sum := query[int](t, s, rows), query[int](t, s, marked), query[string](t, s, prices)
	f := verify(t, s, 0, "verify:update")
	finds(t, f["update"], report.OK, "completed in")
	finds(t, f["prices"], report.OK, "as before, 0 completed, 0 corrected slightly")
	if f["update"].Counts["marked"] != 1 || query[int](t, s, rows) != n+1 || query[int](t, s, marked) != m+1 || query[string](t, s, prices) != sum {
		t.Errorf("%+v: %d rows more, %d marked", f["update"], query[int](t, s, rows)-n, query[int](t, s, marked)-m)
	}
	t.Cleanup(s.Changed(t, "    env:\n      keys: *service_env", "      canary: E0001.US\n    env:\n      keys: *service_env"))
	finds(t, verify(t, s, 0, "verify:update")["prices"], report.OK, "as before")
	s.Changed(t, "canary: E0001.US", "canary: NOBODY")
	finds(t, verify(t, s, 1, "verify:update")["canary"], report.Unknown, "there is no ETF NOBODY")
}

func frozenBeat(t *testing.T, s *stack.Stack) {
	pid := pids(t, s, "celery_beat")[0]
	syscall.Kill(pid, syscall.SIGSTOP)
	defer syscall.Kill(pid, syscall.SIGCONT)
	finds(t, verify(t, s, 3, "verify:tasks")["celery_beat"], report.Fault, fmt.Sprintf("process %d does not run: it is stopped", pid))
}

func secondBeat(t *testing.T, s *stack.Stack) {
	dir, err := filepath.EvalSymlinks(filepath.Join(s.Env["ETF_ROOT"], "current", "src", "backend"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("../../.venv/bin/python", "-m", "celery", "-A", "app.core.celery_app", "beat", "--pidfile=", "-s", filepath.Join(t.TempDir(), "second"))
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PROMETHEUS_MULTIPROC_DIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cmd.Process.Kill()
	finds(t, verify(t, s, 3, "verify:tasks")["celery_beat"], report.Fault, fmt.Sprintf("process %d is a beat of this service too", cmd.Process.Pid))
}

func unknownTask(t *testing.T, s *stack.Stack) {
	file := filepath.Join(s.Env["ETF_ROOT"], "current", "src", "backend", "app", "tasks", "maintenance.py")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	defer os.WriteFile(file, good, 0o644)
	if err := os.WriteFile(file, append(slices.Clone(good), "\n\n@celery.task\ndef new_one() -> int:\n    return 1\n"...), 0o644); err != nil {
		t.Fatal(err)
	}
	f := verify(t, s, 3, "verify:tasks")
	for _, node := range []string{"worker0@etf", "worker1@etf"} {
		finds(t, f[node], report.Fault, "does not know 1 of the release's 8 tasks: app.tasks.maintenance.new_one")
	}
}

func lateTask(t *testing.T, s *stack.Stack) {
	t.Cleanup(s.Changed(t, "      disk_reserve: 500MB", "      disk_reserve: 500MB\n      task_delay: 1s",
		"      drain: 2m\n    database", "      drain: 2m\n      evidence:\n        clean-up-etf-updates: select timestamp '2026-01-01 01:00'\n        retry-failed-updates: select 'never'\n    database"))
	f := verify(t, s, 3, "verify:tasks")
	finds(t, f["clean-up-etf-updates"], report.Fault, "was due 2026-01-02 01:00:00 UTC and has not run since; it ran 2026-01-01 01:00:00 UTC (by celery.evidence)")
	finds(t, f["celery.evidence.retry-failed-updates"], report.Warning, "its query failed: it does not return a time")
	finds(t, f["retry-failed-updates"], report.OK, "first due")
}

func noWorkers(t *testing.T, s *stack.Stack) {
	quickly(t, s)
	workers := pids(t, s, "celery_worker")
	for _, pid := range workers {
		syscall.Kill(pid, syscall.SIGSTOP)
		defer syscall.Kill(pid, syscall.SIGCONT)
	}
	f := verify(t, s, 3, "verify:update")["update"]
	finds(t, f, report.Fault, `which is still "pending" after`)
	finds(t, f, report.Fault, "one that does not may") // it has taken the task before it was frozen
	finds(t, verify(t, s, 3, "verify:tasks")["worker0@etf"], report.Fault, "did not say which tasks it knows")
}

// kill ends one server of the sandbox; it is back at the end of the test.
func kill(t *testing.T, s *stack.Stack, name string) {
	t.Helper()
	status, err := s.Sandbox.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Parts, func(p sandbox.PartStatus) bool { return p.Name == name })
	if i < 0 || status.Parts[i].PID == 0 {
		t.Fatalf("no part %s: %+v", name, status.Parts)
	}
	t.Cleanup(func() {
		if err := s.Revive(context.Background()); err != nil {
			t.Error(err)
		}
	})
	syscall.Kill(status.Parts[i].PID, syscall.SIGTERM)
	s.Await(t, 30*time.Second, name+" to end", func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(status.Parts[i].Address, "http://"), time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
}

func noPriceSource(t *testing.T, s *stack.Stack) {
	kill(t, s, "prices")
	f := verify(t, s, 0, "verify:update")
	finds(t, f["update"], report.Warning, "travelled all the way and failed at the price source")
	finds(t, f["prices"], report.OK, "as before")
}

func noBroker(t *testing.T, s *stack.Stack) {
	quickly(t, s)
	kill(t, s, "rabbitmq")
	finds(t, verify(t, s, 3, "verify:update")["update"], report.Fault, "the API did not accept it: 503")
	finds(t, verify(t, s, 1, "verify:tasks")["workers"], report.Unknown, "the broker is not reachable")
}

func paused(t *testing.T, s *stack.Stack) {
	s.Await(t, time.Minute, "the workers to find their broker again", func() bool {
		r, err := s.Call(nil, "verify:tasks")
		return err == nil && r.Code == 0
	})
	s.Mage(t, 0, "updates:pause", "-reason=a test", "-yes")
	finds(t, verify(t, s, 0, "verify:update")["paused"], report.Warning, "not tried: updates are paused")
	s.Mage(t, 0, "updates:resume", "-yes")
}

func otherAnswer(t *testing.T, s *stack.Stack) {
	t.Cleanup(s.Changed(t, `          json: {0.id: "*"}`, "          json: {0.id: NOBODY}\n        - {path: /api/v1/etf/NOBODY, status: 404, contains: NOBODY}"))
	f := verify(t, s, 3, "verify:api")
	finds(t, f["/api/v1/etf?skip=0&limit=5"], report.Fault, "0.id is \"E0000.DE\", not NOBODY")
	finds(t, f["/api/v1/etf/NOBODY"], report.OK, "404 in ")
	if f["/api/v1/etf/health"].Counts["status"] != 200 {
		t.Errorf("%+v", f["/api/v1/etf/health"])
	}
}

func changedBackup(t *testing.T, s *stack.Stack) {
	files, err := filepath.Glob(filepath.Join(s.Env["ETF_ROOT"], "backups", "*", "database.dump"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	f, err := os.OpenFile(files[0], os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var b [1]byte
	if _, err := f.ReadAt(b[:], 5000); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{^b[0]}, 5000); err != nil {
		t.Fatal(err)
	}
	finds(t, verify(t, s, 3, "verify:backups")["checksum"], report.Fault, "it has changed since")
	if _, err := f.WriteAt(b[:], 5000); err != nil {
		t.Fatal(err)
	}
	finds(t, verify(t, s, 0, "verify:backups")["checksum"], report.OK, "as in the manifest")
}
