package beat_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var (
	redis  *testserver.Redis
	python string
)

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) error {
		var wg sync.WaitGroup
		var errs [2]error
		wg.Go(func() { redis, errs[0] = testserver.StartRedis(dir) })
		wg.Go(func() { python, errs[1] = testserver.Venv(dir, "celery[redis]>=5.5,<6") })
		wg.Wait()
		return errors.Join(errs[:]...)
	}))
}

// A release has a timetable in the time of Berlin and writes down what it has
// sent at once, so that a test need not wait for minutes.
//
// kept is where its beat keeps what it has sent: "dumb" is one of the dbm that
// write at once, "" the one of the system's Python.
func release(t *testing.T, entries, kept string) string {
	t.Helper()
	dir := t.TempDir()
	code := fmt.Sprintf(`import dbm
from celery import Celery
from celery.schedules import crontab

if %q:
    import dbm.dumb
    dbm._defaultmod = dbm._modules["dbm.dumb"] = dbm.dumb
print("what an application prints must not spoil the answer")
celery = Celery("etf", broker=%q)
celery.conf.update(timezone="Europe/Berlin", beat_sync_every=1, beat_max_loop_interval=1, beat_schedule={%s})

@celery.task(name="app.tasks.nap")
def nap(*args): pass

@celery.task(name="app.tasks.tidy")
def tidy(): pass
`, kept, redis.URL(0), entries)
	if err := os.WriteFile(filepath.Join(dir, "timetable_app.py"), []byte(code), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

const (
	quick   = `"quick": {"task": "app.tasks.nap", "schedule": 2.0, "args": (1,), "options": {"expires": 60, "headers": {}}},`
	yearly  = `"yearly": {"task": "app.tasks.tidy", "schedule": crontab(minute=30, hour=16, day_of_month=24, month_of_year=12)},`
	nightly = `"nightly": {"task": "app.tasks.tidy", "schedule": crontab(minute=0, hour=2)},`
)

// start starts beat as etf-run does, in dir, with its timetable in file.
func start(t *testing.T, dir, file string) int {
	t.Helper()
	cmd := exec.Command(python, "-m", "celery", "-A", "timetable_app", "beat", "--pidfile=", "--schedule", file)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	stop, err := testserver.Start(cmd, filepath.Join(t.TempDir(), "beat.log"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return cmd.Process.Pid
}

// in is the beat of this folder.
func in(t *testing.T, dir string) []beat.Process {
	t.Helper()
	all, err := beat.Processes(t.Context(), host.Local{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(p beat.Process) bool { return p.Dir != dir })
}

func ask(t *testing.T, dir string, q beat.Question) beat.Timetable {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	table, err := beat.Ask(ctx, host.Local{}, beat.Options{Python: python, Dir: dir, App: "timetable_app"}, q)
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func entry(t *testing.T, table beat.Timetable, name string) beat.Entry {
	t.Helper()
	i := slices.IndexFunc(table.Entries, func(e beat.Entry) bool { return e.Name == name })
	if i < 0 {
		t.Fatalf("no entry %s: %+v", name, table)
	}
	return table.Entries[i]
}

func TestRealBeat(t *testing.T) {
	dir, file := release(t, quick+yearly, "dumb"), filepath.Join(t.TempDir(), "celerybeat-schedule")
	began := time.Now()
	pid := start(t, dir, file)
	var process []beat.Process
	for end := time.Now().Add(10 * time.Second); len(process) == 0 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		process = in(t, dir)
	}
	if len(process) != 1 || process[0].PID != pid || process[0].App != "timetable_app" || process[0].File != file {
		t.Fatalf("%+v, want process %d", process, pid)
	}
	q := beat.Question{Process: process[0], Started: began.Truncate(time.Second), Patience: 20 * time.Second, Since: began}
	table := ask(t, dir, q)
	for end := time.Now().Add(20 * time.Second); entry(t, table, "quick").Runs < 2 && time.Now().Before(end); {
		table = ask(t, dir, q)
	}
	if !table.Read() || !table.Live || !slices.Equal(table.Tasks, []string{"app.tasks.nap", "app.tasks.tidy"}) || table.File != file || len(table.Strange) > 0 {
		t.Errorf("%+v", table)
	}
	e := entry(t, table, "quick")
	if e.Runs < 2 || !e.InFile || !e.Same || e.Schedule != "every 2.00 seconds" || e.AfterLast.Sub(e.Last).Round(time.Second) != 2*time.Second || table.Now.Sub(e.Last) > 20*time.Second {
		t.Errorf("%+v", e)
	}
	if v := table.Judge(e, beat.Evidence{Started: began, Tolerance: time.Minute}); !v.Sent || v.State != beat.Ran && v.State != beat.Waiting {
		t.Errorf("%+v", v)
	}
	y := entry(t, table, "yearly")
	if y.Runs != 0 || !y.Same || y.Schedule != "30 16 24 12 *" || y.AfterLast.Format("01-02 15:04") != "12-24 15:30" || !y.AfterLast.Equal(y.Next) {
		t.Errorf("%+v", y) // half past four of a winter's day in Berlin
	}
	if v := table.Judge(y, beat.Evidence{Started: began}); v.State != beat.NotDueYet {
		t.Errorf("%+v", v)
	}

	if life, err := beat.LifeOf(t.Context(), host.Local{}, pid); life.Frozen != "" || life.Parent != os.Getpid() || err != nil {
		t.Errorf("%+v, %v", life, err)
	}
	syscall.Kill(pid, syscall.SIGSTOP)
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if life, _ := beat.LifeOf(t.Context(), host.Local{}, pid); life.Frozen != "" {
			break
		}
	}
	if life, err := beat.LifeOf(t.Context(), host.Local{}, pid); !strings.Contains(life.Frozen, "stopped") || err != nil {
		t.Errorf("frozen: %+v, %v", life, err)
	}
	// It stays judged by its file: it has not sent what was due since.
	time.Sleep(2500 * time.Millisecond)
	table = ask(t, dir, q)
	late := entry(t, table, "quick")
	if v := table.Judge(late, beat.Evidence{Started: began}); v.State != beat.Waiting {
		t.Errorf("what it has not written down is not held against it: %+v", v)
	}
	syscall.Kill(pid, syscall.SIGCONT)

	start(t, dir, filepath.Join(t.TempDir(), "second"))
	for end := time.Now().Add(10 * time.Second); len(in(t, dir)) < 2 && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
	}
	if got := in(t, dir); len(got) != 2 {
		t.Errorf("a second one was started by hand: %+v", got)
	}

	// Another release: one entry gone, one new, one changed.
	changed := release(t, strings.Replace(quick, "2.0", "7.0", 1)+nightly, "dumb")
	q.Patience = 0
	table = ask(t, changed, q)
	if e := entry(t, table, "quick"); !e.InFile || e.Same || e.Stored != "app.tasks.nap, every 2.00 seconds" {
		t.Errorf("changed: %+v", e)
	}
	if e := entry(t, table, "nightly"); e.InFile || !slices.Equal(table.Strange, []string{"yearly"}) {
		t.Errorf("new and gone: %+v, %v", e, table.Strange)
	}
}

// A state that beat left behind three days ago.
func leave(t *testing.T, dir, file string) {
	t.Helper()
	code := `import shelve, sys
from datetime import timedelta
from timetable_app import celery
from celery.beat import ScheduleEntry
state = shelve.open(sys.argv[1])
state["entries"] = {name: ScheduleEntry(name=name, app=celery, last_run_at=celery.now() - timedelta(days=3), total_run_count=5, **entry)
                    for name, entry in celery.conf.beat_schedule.items()}
state["__version__"], state["tz"], state["utc_enabled"] = "5", celery.conf.timezone, celery.conf.enable_utc
state.close()`
	cmd := exec.Command(python, "-c", code, file)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestMissedRuns(t *testing.T) {
	dir, file := release(t, nightly, "dumb"), filepath.Join(t.TempDir(), "state")
	leave(t, dir, file)
	q := beat.Question{Process: beat.Process{Dir: dir, File: file}, Tasks: map[string]time.Time{"app.tasks.tidy": time.Now().Add(-10 * time.Minute)}}
	table := ask(t, dir, q)
	e := entry(t, table, "nightly")
	if v := table.Judge(e, beat.Evidence{}); v.State != beat.Late || v.At != e.Last || v.Due.Sub(e.Last) > 25*time.Hour {
		t.Errorf("%+v: %+v", e, v)
	}
	if v := table.Judge(e, beat.Evidence{Ran: q.Tasks["app.tasks.tidy"], Tables: true}); v.Sent || v.Due.Before(table.Now) && v.State == beat.Ran {
		t.Errorf("%+v: %+v", e, v)
	}
	// A beat that starts makes up for it at once, and writes that down.
	began := time.Now().Truncate(time.Second)
	start(t, dir, file)
	q.Started, q.Patience = began, 20*time.Second
	for end := time.Now().Add(20 * time.Second); entry(t, table, "nightly").Runs == 5 && time.Now().Before(end); {
		table = ask(t, dir, q)
	}
	e = entry(t, table, "nightly")
	if v := table.Judge(e, beat.Evidence{Started: began}); e.Runs != 6 || v.State != beat.Ran || !v.Sent {
		t.Errorf("%+v: %+v", e, v)
	}
}

// A file that is not there, is damaged or means harm is said to be so, and
// nothing that stands in it is carried out.
func TestFilesThatCannotBeRead(t *testing.T) {
	dir := release(t, nightly, "dumb")
	missing := ask(t, dir, beat.Question{Process: beat.Process{Dir: dir}})
	if missing.Read() || missing.File != filepath.Join(dir, "celerybeat-schedule") || !strings.Contains(missing.Unread, "is not there") || entry(t, missing, "nightly").InFile {
		t.Errorf("%+v", missing)
	}
	elsewhere := ask(t, dir, beat.Question{Process: beat.Process{Dir: dir, Scheduler: "redbeat.RedBeatScheduler"}})
	if elsewhere.File != "" || elsewhere.Scheduler != "redbeat.RedBeatScheduler" || elsewhere.Read() {
		t.Errorf("%+v", elsewhere)
	}
	damaged := filepath.Join(t.TempDir(), "damaged")
	for _, suffix := range []string{"", ".db", ".dat", ".dir"} {
		if err := os.WriteFile(damaged+suffix, []byte("\x00\x01 no shelve"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := ask(t, dir, beat.Question{Process: beat.Process{Dir: dir, File: damaged}}); got.Read() || got.Unread == "" {
		t.Errorf("%+v", got)
	}
	harmful, trace := filepath.Join(t.TempDir(), "harmful"), filepath.Join(t.TempDir(), "trace")
	code := `import os, shelve, sys
class Harm:
    def __reduce__(self): return os.mkdir, (sys.argv[2],)
state = shelve.open(sys.argv[1])
state["entries"] = {"nightly": Harm()}
state.close()`
	if out, err := exec.Command(python, "-c", code, harmful, trace).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got := ask(t, dir, beat.Question{Process: beat.Process{Dir: dir, File: harmful}}); got.Read() {
		t.Errorf("%+v", got)
	}
	if _, err := os.Stat(trace); err == nil {
		t.Error("what stood in the file was carried out")
	}
}

// A release that cannot be imported, or hangs, is an error in time.
func TestAReleaseThatDoesNotAnswer(t *testing.T) {
	for _, code := range []string{"raise RuntimeError('does not import')", "import time; time.sleep(60)", "print('[')\nimport os; os._exit(0)"} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "timetable_app.py"), []byte(code), 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		began := time.Now()
		_, err := beat.Ask(ctx, host.Local{}, beat.Options{Python: python, Dir: dir, App: "timetable_app"}, beat.Question{})
		cancel()
		if err == nil || time.Since(began) > 8*time.Second {
			t.Errorf("%s: %v after %s", code, err, time.Since(began))
		}
	}
}

// Where the system's dbm writes when it is closed and not before, what the
// beat before has left is what can be seen, and is said to be that.
func TestBeatThatKeepsAllInMemory(t *testing.T) {
	if out, err := exec.Command(python, "-c", "import dbm.ndbm").CombinedOutput(); err != nil {
		t.Fatalf("the system's Python has no dbm.ndbm: %s", out)
	}
	dir, file := release(t, quick+yearly, "ndbm"), filepath.Join(t.TempDir(), "state")
	code, err := os.ReadFile(filepath.Join(dir, "timetable_app.py"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "timetable_app.py"), []byte(strings.ReplaceAll(string(code), "dbm.dumb", "dbm.ndbm")), 0o600); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	pid := start(t, dir, file)
	q := beat.Question{Process: beat.Process{Dir: dir, File: file}, Started: began.Truncate(time.Second), Patience: 20 * time.Second, Since: began}
	table := ask(t, dir, q)
	e := entry(t, table, "quick")
	if !table.Read() || !table.InMemory || table.Live || e.InFile || entry(t, table, "yearly").AfterSince.Before(began) {
		t.Errorf("%+v", table)
	}
	time.Sleep(3 * time.Second) // it sends twice
	syscall.Kill(pid, syscall.SIGTERM)
	for end := time.Now().Add(10 * time.Second); entry(t, table, "quick").Runs == 0 && time.Now().Before(end); {
		table = ask(t, dir, q)
	}
	if e = entry(t, table, "quick"); e.Runs == 0 || !e.Same || table.Live {
		t.Errorf("%+v", table)
	}
}
