package checklist

import (
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// calmStatus is that of a service that runs as it should.
func calmStatus() *Status {
	return &Status{
		Live: &release.Release{ID: liveID, Head: "0003"}, Database: "0003", LeaseState: lease.Free,
		Processes: []ProcessStatus{{"api:api_00", "RUNNING", 7, liveID}},
		Operation: &HistoryEntry{ID: "op-1", Kind: "deploy", Outcome: journal.Succeeded, By: "eve@laptop"},
	}
}

// Each line makes the status worse; the first command named is the last one's.
var worse = []struct {
	name string
	do   func(s *Status)
	want string // what next begins with
	says string // and holds
}{
	{"calm", func(s *Status) {}, "nothing: all processes run the live release", ""},
	{"an alert", func(s *Status) { s.Alerts = []Alert{{Name: "UpdateStuck"}} }, "nothing: ", "1 alert fires"},
	{"a stranger", func(s *Status) { s.Disagreements = []string{"a folder"} }, "nothing: ", "records want mending"},
	{"no alerts seen", func(s *Status) { s.Unseen = []string{"alerts: no answer"} }, "pre:connections: all processes run", ""},
	{"paused", func(s *Status) { s.Pause = &cache.Pause{Raw: "1"} }, "updates:resume: when its reason is gone: updates are paused set by hand", "1 alert fires"},
	{"a process stopped", func(s *Status) { s.Processes[0].State = "STOPPED" }, "services:start: api:api_00 is STOPPED", ""},
	{"another schema", func(s *Status) { s.Database = "0002" }, "deploy: the database is at 0002", "0003"},
	{"no database seen", func(s *Status) { s.Unseen = append(s.Unseen, "database: not reachable") }, "pre:connections: what status could not look at", ""},
	{"parked", func(s *Status) {
		s.LeaseState, s.Operation.Outcome, s.Operation.Left = lease.Parked, parked, []string{"release:migrate", "release:activate"}
	}, "release:migrate: the next stage of op-1, left are release:migrate, release:activate; `resume`", ""},
	{"running", func(s *Status) {
		s.Operation.Outcome, s.Operation.OpenSteps = "running", []string{"backup:create"}
	}, "nothing now: wait until op-1 of eve@laptop has ended, it is at backup:create", ""},
	{"stuck", func(s *Status) {
		s.Operation.Outcome, s.Operation.Text, s.Operation.Left = journal.Stuck, "server gone", []string{"services:stop"}
	}, "resume -undo: tries the undo of op-1 again", "(server gone); to take back: services:stop; then `contacts`; before that, what could not be looked at has to answer"},
	{"interrupted", func(s *Status) {
		s.Operation.Outcome, s.Operation.Touched, s.Operation.Left = "interrupted", true, []string{"a", "b"}
	}, "resume: goes on with op-1; left are a, b; or `resume -undo`: back to the release that was live", ""},
	{"a broken link", func(s *Status) { s.blocked = []string{"current points to nowhere"} }, "mend this, then `status` again: current points to nowhere", ""},
	{"a damaged journal", func(s *Status) { s.Damaged = []string{"line 3"} }, "mend this, then `status` again (and 1 more above): line 3", ""},
}

func TestNext(t *testing.T) {
	s := calmStatus()
	for _, w := range worse {
		w.do(s)
		if got := s.next(); !strings.HasPrefix(got, w.want) || !strings.Contains(got, w.says) {
			t.Errorf("%s: %s\nwant %q, %q", w.name, got, w.want, w.says)
		}
	}
	s = calmStatus()
	if s.Live = nil; s.next() != "deploy: no release is live" {
		t.Errorf("without a release: %s", s.next())
	}
	s = calmStatus()
	s.Processes[0].Release = olderID
	if got := s.next(); !strings.Contains(got, "api:api_00 is RUNNING on release "+olderID) {
		t.Errorf("a process on another release: %s", got)
	}
	s = calmStatus()
	s.LeaseState, s.Lease = lease.Held, &lease.Holder{By: "bob@laptop", Purpose: "deploy", Since: time.Now()}
	if got := s.next(); !strings.HasPrefix(got, "nothing now: bob@laptop holds it") {
		t.Errorf("held before the journal is there: %s", got)
	}
	s = calmStatus()
	s.Pause = &cache.Pause{Operation: "op-5", Since: time.Now()}
	if got := s.next(); !strings.Contains(got, " in op-5") {
		t.Errorf("paused by an operation: %s", got)
	}
}

func TestNextOfAnInterruptedOperation(t *testing.T) {
	for want, e := range map[string]HistoryEntry{
		"resume: only the papers of op are missing: docs:notes":                                       {Achieved: true, Touched: true, Left: []string{"docs:notes"}},
		"resume: finishes taking back op; left are services:stop":                                     {Undoing: true, Touched: true, Left: []string{"services:stop"}},
		"resume: goes on with op; left are a, b, c, d, e, f; or `resume -undo`: back to":              {Touched: true, Left: strings.Split("abcdef", "")},
		"resume: goes on with op; left are a, b, c, d, e and 2 more; or `resume -undo`":               {Touched: true, Left: strings.Split("abcdefg", "")},
		"resume: goes on with op, which has not touched the service; left are window; or `resume -un": {Left: []string{"window"}},
	} {
		e.ID, e.Outcome = "op", "interrupted"
		if got := e.next(); !strings.HasPrefix(got, want) {
			t.Errorf("got %s\nwant %s", got, want)
		}
	}
}

func TestCommandInNext(t *testing.T) {
	for next, want := range map[string]string{
		"services:start: api:api_00 is STOPPED": "services:start", "resume -undo: tries": "resume -undo", "resume: goes on": "resume", "deploy: no": "deploy",
		"nothing: all well": "", "nothing now: wait": "", "nothing, but updates are paused: delete": "", "mend this, then `status` again: x": "", "the next stage: y": "",
	} {
		if got := commandIn(next); got != want {
			t.Errorf("%s: got %q, want %q", next, got, want)
		}
	}
}
