package beat

import (
	"strings"
	"testing"
	"time"
)

func at(clock string) time.Time {
	t, err := time.Parse("02 15:04", clock)
	if err != nil {
		panic(err)
	}
	return t
}

// Entries that are due at 02:00 each day, looked at in the night to the 11th.
func TestJudge(t *testing.T) {
	const tolerance = 5 * time.Minute
	sent := func(last, due string) Entry { return Entry{InFile: true, Runs: 7, Last: at(last), AfterLast: at(due)} }
	fresh := func(known, due string) Entry { return Entry{InFile: true, Last: at(known), AfterLast: at(due)} }
	started, long := at("11 02:30"), at("01 00:00")
	for _, c := range []struct {
		name         string
		now, written string
		started      time.Time
		entry        Entry
		ran          string // by tables
		tables       bool
		want         State
		due          string
	}{
		{"it ran on time", "11 02:10", "11 02:08", long, sent("11 02:00", "12 02:00"), "", false, Ran, "12 02:00"},
		{"never due since it is known", "10 15:00", "10 14:59", long, fresh("10 14:00", "11 02:00"), "", true, NotDueYet, "11 02:00"},
		{"due a moment ago", "11 02:04", "11 02:03", long, sent("10 02:00", "11 02:00"), "", false, Waiting, "11 02:00"},
		{"due, and beat has not written since", "11 02:07", "11 02:04", long, sent("10 02:00", "11 02:00"), "", false, Waiting, "11 02:00"},
		{"due, and beat has written since without it", "11 02:09", "11 02:06", long, sent("10 02:00", "11 02:00"), "", false, Late, "11 02:00"},
		{"never ran although it was due", "11 03:00", "11 02:59", long, fresh("10 14:00", "11 02:00"), "", true, Late, "11 02:00"},
		{"the tables know more than the file", "11 02:09", "11 02:06", long, sent("10 02:00", "11 02:00"), "11 02:01", true, Ran, "12 02:00"},
		{"the file knows more than the tables", "11 02:09", "11 02:06", long, sent("11 02:00", "12 02:00"), "10 02:00", true, Ran, "12 02:00"},
		{"beat stood still at 02:00 and was just started", "11 02:31", "11 02:30", started, sent("10 02:00", "11 02:00"), "", false, Waiting, "11 02:00"},
		{"beat stood still at 02:00 and has not made up for it", "11 02:40", "11 02:38", started, sent("10 02:00", "11 02:00"), "", false, Late, "11 02:00"},
		{"no file, the table has it", "11 02:30", "", long, Entry{AfterSince: at("02 02:00")}, "11 02:01", true, Ran, "12 02:00"},
		{"no file, the table has none since it was due", "11 02:30", "", long, Entry{AfterSince: at("02 02:00")}, "09 02:01", true, Late, "10 02:00"},
		{"no file, the table has none yet", "10 15:00", "", long, Entry{AfterSince: at("11 02:00")}, "", true, NotDueYet, "11 02:00"},
		{"no file, the table never had one", "11 15:00", "", long, Entry{AfterSince: at("11 02:00")}, "", true, Late, "11 02:00"},
		{"no file and no table", "11 15:00", "", long, Entry{AfterSince: at("11 02:00")}, "", false, NotSeen, "11 02:00"},
		{"no file and no table, and it was not due", "10 15:00", "", long, Entry{AfterSince: at("11 02:00")}, "", false, NotDueYet, "11 02:00"},
		{"a file of the beat before, not due since", "10 15:00", "old 10 14:00", long, sent("10 02:00", "11 02:00"), "", false, Ran, "11 02:00"},
		{"a file of the beat before, due since", "11 15:00", "old 10 14:00", long, sent("10 02:00", "11 02:00"), "", false, NotSeen, "11 02:00"},
		{"a file of the beat before, and the table has no run since", "11 15:00", "old 10 14:00", long, sent("10 02:00", "11 02:00"), "10 02:01", true, Late, "11 02:00"},
		{"a kind of timetable that is not known", "11 15:00", "11 14:59", long, Entry{InFile: true}, "", true, NotSeen, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := Timetable{Now: at(c.now), File: "f"}
			ev := Evidence{Started: c.started, Tables: c.tables, Tolerance: tolerance}
			if c.written != "" {
				written, old := strings.CutPrefix(c.written, "old ")
				table.Written, table.Live = at(written), !old
			}
			if c.ran != "" {
				ev.Ran = at(c.ran)
				c.entry.AfterTables = ev.Ran.Truncate(24 * time.Hour).Add(26 * time.Hour)
			}
			got := table.Judge(c.entry, ev)
			if got.State != c.want || c.due != "" && !got.Due.Equal(at(c.due)) {
				t.Errorf("%+v, want %s at %s", got, c.want, c.due)
			}
		})
	}
	passed := Entry{InFile: true, Runs: 1, Last: at("10 02:00"), AfterLast: at("11 02:00"), PassedOver: true, Next: at("12 02:00")}
	if got := (Timetable{Now: at("11 04:00"), Written: at("11 03:58"), Live: true, File: "f"}).Judge(passed, Evidence{Started: at("11 03:30"), Tolerance: tolerance}); got.State != PassedOver || !got.Due.Equal(at("12 02:00")) {
		t.Errorf("passed over: %+v", got)
	}
}

func TestUnexecutedAndHangs(t *testing.T) {
	table := Timetable{Now: at("11 03:00"), Written: at("11 02:50"), Live: true, File: "f", MostSleep: 8 * time.Minute}
	e := Entry{InFile: true, Runs: 3, Last: at("11 02:00")}
	ev := Evidence{Tables: true, Ran: at("10 02:00"), Tolerance: 5 * time.Minute}
	if !table.Unexecuted(e, ev, at("11 02:30")) {
		t.Error("sent an hour ago, not begun, and other tasks were")
	}
	if table.Unexecuted(e, ev, at("11 01:30")) {
		t.Error("nothing at all was recorded since: that says nothing of this entry")
	}
	if ev.Ran = at("11 02:00"); table.Unexecuted(e, ev, at("11 02:30")) {
		t.Error("it was begun")
	}
	if table.Hangs(5 * time.Minute) {
		t.Error("beat wrote ten minutes ago, which it may")
	}
	if !table.Hangs(time.Minute) {
		t.Error("beat wrote ten minutes ago, and sleeps for eight at most")
	}
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		argv []string
		want *Process
	}{
		{[]string{"/r/.venv/bin/python", "-m", "celery", "-A", "app.core.celery_app", "beat", "--pidfile=", "--schedule", "/l/celerybeat-schedule"},
			&Process{App: "app.core.celery_app", File: "/l/celerybeat-schedule"}},
		{[]string{"/r/.venv/bin/python3", "/r/.venv/bin/celery", "--app=x", "beat", "-sstate", "-S", "redbeat.RedBeatScheduler"},
			&Process{App: "x", File: "state", Scheduler: "redbeat.RedBeatScheduler"}},
		{[]string{"python3", "/usr/bin/celery", "-A", "x", "worker", "-B", "--schedule-filename=w"}, &Process{App: "x", File: "w"}},
		{[]string{"[celery beat] -A x --scheduler=y.Z"}, &Process{App: "x", Scheduler: "y.Z"}},
		{[]string{"sudo", "-u", "etf", "celery", "-A", "x", "beat"}, nil},
		{[]string{"sh", "-c", "celery -A x beat"}, nil},
		{[]string{"python3", "-m", "celery", "-A", "x", "worker", "-n", "beat@h"}, nil},
		{[]string{"grep", "celery", "beat"}, nil},
		{[]string{""}, nil},
	} {
		got, is := parse(c.argv)
		if is != (c.want != nil) || is && (got.App != c.want.App || got.File != c.want.File || got.Scheduler != c.want.Scheduler) {
			t.Errorf("%q: %+v, %v", c.argv, got, is)
		}
	}
}
