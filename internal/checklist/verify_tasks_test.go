package checklist

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

func TestJudgeRegistered(t *testing.T) {
	tasks := []string{"app.tasks.a", "app.tasks.b"}
	for _, c := range []struct {
		names    []string
		answered bool
		err      error
		status   report.Status
		found    string
		samples  []string
	}{
		{append(slices.Clone(tasks), "app.tasks.more"), true, nil, report.OK, "all 2 tasks of the release registered", nil},
		{tasks[:1], true, nil, report.Fault, "does not know 1 of the release's 2 tasks: app.tasks.b", []string{"app.tasks.b"}},
		{nil, false, nil, report.Fault, "did not say which tasks it knows", nil},
		{nil, true, nil, report.Fault, "has no task registered", nil},
		{tasks, true, errors.New("x"), report.OK, "2 tasks registered; which the release has could not be looked at", nil},
	} {
		f := judgeRegistered("worker0@etf", c.names, c.answered, tasks, c.err)
		if f.Status != c.status || f.Found != c.found || f.Key != "worker0@etf" || f.Counts["registered"] != int64(len(c.names)) || !slices.Equal(f.Samples, c.samples) {
			t.Errorf("%+v, want %s: %s", f, c.status, c.found)
		}
	}
}

func night(clock string) time.Time {
	at, err := time.Parse("2006-01-02 15:04", "2026-11-"+clock)
	if err != nil {
		panic(err)
	}
	return at
}

// a scheduler that was started at noon of the 20th and looked at at noon of the 23rd.
func scheduler(entries ...beat.Entry) scheduled {
	return scheduled{
		process: supervisor.ProcessInfo{PID: 7, Started: night("20 12:00")},
		beats:   beats{ours: beat.Process{PID: 7}, known: true, programs: 1},
		table:   beat.Timetable{Now: night("23 12:00"), File: "/l/state", Live: true, Written: night("23 11:58"), MostSleep: 8 * time.Minute, Entries: entries},
	}
}

func nightly(name string, last, due string, runs int) beat.Entry {
	return beat.Entry{Name: name, Task: "app.tasks." + name, Schedule: "0 2 * * *", InFile: true, Same: true, Runs: runs, Last: night(last), AfterLast: night(due), Next: night("24 02:00")}
}

func withConfig() *Target {
	return &Target{Config: &config.Config{File: "deploy.yaml", Thresholds: config.Thresholds{TaskDelay: 5 * time.Minute}}}
}

func TestJudgeTimetable(t *testing.T) {
	good := nightly("a", "23 02:00", "24 02:00", 4)
	lacking, other := good, good
	lacking.InFile, other.Same, other.Stored = false, false, "app.tasks.a, 0 3 * * *"
	for _, c := range []struct {
		name   string
		change func(*scheduled)
		status report.Status
		found  string
	}{
		{"the same", func(*scheduled) {}, report.OK, "1 entries, of which 1 ran; beat has the same, by what it wrote at 2026-11-23 11:58:00 UTC"},
		{"one is missing", func(s *scheduled) { s.table.Entries[0] = lacking }, report.Fault, "a is missing"},
		{"one differs", func(s *scheduled) { s.table.Entries[0] = other }, report.Fault, "a is app.tasks.a, 0 3 * * *, not app.tasks.a, 0 2 * * *"},
		{"one too many", func(s *scheduled) { s.table.Strange = []string{"b"} }, report.Fault, "b is not in the release"},
		{"beat hangs", func(s *scheduled) { s.table.Written = night("23 11:30") }, report.Fault, "beat has not written /l/state since"},
		{"not written since beat's start", func(s *scheduled) { s.table.Live = false }, report.Fault, "has not written /l/state: it does not work"},
		{"in memory", func(s *scheduled) { s.table.Live, s.table.InMemory = false, true }, report.OK, "its dbm writes what it has sent when it ends"},
		{"elsewhere", func(s *scheduled) { s.table.Live, s.table.File, s.table.Scheduler = false, "", "redbeat" }, report.OK, "beat keeps its own with redbeat"},
		{"cannot be read", func(s *scheduled) { s.table.Live, s.table.Unread = false, "EOFError" }, report.Warning, "/l/state: EOFError"},
		{"no beat", func(s *scheduled) { s.table.Live, s.beats.ours.PID = false, 0 }, report.OK, "no beat runs to hold them against"},
		{"none", func(s *scheduled) { s.table.Entries = nil }, report.Warning, "no periodic task"},
	} {
		sc := scheduler(good)
		c.change(&sc)
		if f := withConfig().judgeTimetable(sc); f.Status != c.status || !strings.Contains(f.Found, c.found) || f.Key != "timetable" {
			t.Errorf("%s: %+v, want %s: %s", c.name, f, c.status, c.found)
		}
	}
}

func TestJudgeEntry(t *testing.T) {
	table := func(at, status string) func(*scheduled) {
		return func(s *scheduled) {
			s.runs.tasks = map[string]taskRun{}
			if at != "" {
				s.runs.tasks["app.tasks.a"], s.runs.newest = taskRun{night(at), status}, night("23 11:00")
			}
		}
	}
	later := func(s *scheduled) { s.table.Live = false; s.table.InMemory = true }
	both := func(fs ...func(*scheduled)) func(*scheduled) {
		return func(s *scheduled) {
			for _, f := range fs {
				f(s)
			}
		}
	}
	for _, c := range []struct {
		name    string
		entry   beat.Entry
		change  func(*scheduled)
		backlog int
		status  report.Status
		found   string
	}{
		{"sent", nightly("a", "23 02:00", "24 02:00", 4), both(), 0, report.OK, "it ran 2026-11-23 02:00:00 UTC (as beat sent it); due next 2026-11-24 02:00:00 UTC"},
		{"begun", nightly("a", "23 02:00", "24 02:00", 4), table("23 02:00", "SUCCESS"), 0, report.OK, "as beat sent it"},
		{"sent, and not begun", nightly("a", "23 02:00", "24 02:00", 4), table("22 02:00", "SUCCESS"), 0, report.Warning, "no worker has begun it since"},
		{"failed", nightly("a", "22 02:00", "23 02:00", 4), func(s *scheduled) {
			table("23 02:01", "FAILURE")(s)
			s.table.Entries[0].AfterTables = night("24 02:00")
		}, 0, report.Warning, "(by task_status) and ended as FAILURE"},
		{"never due", nightly("a", "23 03:00", "24 02:00", 0), both(), 0, report.OK, "not due yet since it is known: first due 2026-11-24 02:00:00 UTC"},
		{"missed", nightly("a", "22 02:00", "23 02:00", 4), both(), 9, report.Fault, "was due 2026-11-23 02:00:00 UTC and has not run since; it ran 2026-11-22 02:00:00 UTC (as beat sent it)"},
		{"never ran", nightly("a", "20 12:00", "21 02:00", 0), both(), 0, report.Fault, "there is no sign that it ever ran"},
		{"the file is not written, the table has none since", nightly("a", "22 02:00", "23 02:00", 4), both(later, table("22 02:00", "SUCCESS")), 0, report.Fault, "was due 2026-11-23 02:00:00 UTC"},
		{"the same, and tasks wait", nightly("a", "22 02:00", "23 02:00", 4), both(later, table("22 02:00", "SUCCESS")), 3, report.Warning, "3 tasks wait in the queue"},
		{"nothing tells", nightly("a", "22 02:00", "23 02:00", 4), later, 0, report.Unknown, "nothing tells whether it ran"},
		{"a query tells", nightly("a", "22 02:00", "23 02:00", 4), func(s *scheduled) {
			later(s)
			s.runs.entries = map[string]time.Time{"a": night("23 02:03")}
			s.table.Entries[0].AfterTables = night("24 02:00")
		}, 0, report.OK, "(by celery.evidence)"},
		{"two entries of one task: the table does not tell which ran", nightly("a", "22 02:00", "23 02:00", 4), func(s *scheduled) {
			both(later, table("23 02:01", "SUCCESS"))(s)
			s.table.Entries = append(s.table.Entries, beat.Entry{Name: "again", Task: "app.tasks.a"})
		}, 0, report.Unknown, "nothing tells"},
		{"its times are not known", beat.Entry{Name: "a", Unknown: "AttributeError"}, both(), 0, report.Unknown, "AttributeError"},
	} {
		sc := scheduler(c.entry)
		c.change(&sc)
		f := withConfig().judgeEntry(sc, sc.table.Entries[0], c.backlog)
		if f.Status != c.status || !strings.Contains(f.Found, c.found) || f.Key != "a" || (f.Status == report.Fault) != (f.Counts["late_ms"] > 0) && f.Status != report.Warning {
			t.Errorf("%s: %+v, want %s: %s", c.name, f, c.status, c.found)
		}
	}
}

func TestEvidenceOf(t *testing.T) {
	var all []report.Finding
	for range 5 {
		all = append(all, found("node", "well"))
	}
	all = append(all, warn("entry", "odd", ""), fault("beat", "frozen", ""))
	want := []string{"fault: verify:tasks: beat: frozen", "warning: verify:tasks: entry: odd", "verify:tasks: node: well", "verify:tasks: node: well", "verify:tasks: and 3 more: 3 ok"}
	if diff := cmp.Diff(want, evidenceOf("verify:tasks", all)); diff != "" {
		t.Error(diff)
	}
}
