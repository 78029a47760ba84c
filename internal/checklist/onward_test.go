package checklist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// acts is a step of a test; those that change the service are changes.
type acts struct {
	name string
	run  func() error
}

func (s acts) String() string                           { return s.name }
func (s acts) Run(_ context.Context, _ *step.Run) error { return s.run() }

type changes struct{ acts }

func (changes) ChangesService() {}

// A rollback whose step failed is left as it is, told of, and gone on with from
// that step; what is to be looked at again is.
func TestOnward(t *testing.T) {
	target := filed(t)
	var out strings.Builder
	target.Observer = report.NewPrinter(&out)
	target.Config.Operation.Expiry = time.Minute
	var ran, told []string
	broken := true
	does := func(name string) acts {
		return acts{name, func() error {
			ran = append(ran, name)
			if name == "data:restore" && broken {
				return errors.New("the server is gone")
			}
			return nil
		}}
	}
	agenda := Agenda{
		Steps: []step.Step{does("rollback:choose"), changes{does("updates:pause")}, does("updates:wait"), does("data:restore"), does("updates:resume")}, Keep: true,
		Onward: &onward{state: "updates stay paused", ways: "`rollback:gradual` begins anew", resumes: true, again: []string{"updates:pause", "updates:wait"},
			told: func(_ context.Context, _ *step.Operation, why string) { told = append(told, why) }},
	}
	begin := func() (*heldLease, *step.Operation) {
		held, err := target.takeLease(t.Context(), lease.Request{Name: target.newID(gradualKind), Purpose: gradualKind})
		must(t, err)
		op, err := held.create(held.ctx, held.Holder().Operation, gradualKind, Options{})
		must(t, err)
		return held, op
	}
	held, op := begin()
	err := held.perform(op, agenda)
	held.release()
	if ExitCode(err) != 4 || op.Journal().Log().Outcome() != journal.Left {
		t.Fatalf("exit %d, outcome %s: %v", ExitCode(err), op.Journal().Log().Outcome(), err)
	}
	for _, part := range []string{"data:restore: the server is gone", "updates stay paused", "`resume` goes on with data:restore, updates:resume", "`rollback:gradual` begins anew"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("it does not say %q: %v", part, err)
		}
	}
	if len(told) != 1 || !strings.Contains(told[0], "the server is gone") {
		t.Errorf("told: %q", told)
	}
	again := func(undo bool) (*step.Operation, error) {
		t.Helper()
		open, err := target.unfinished(t.Context())
		must(t, err)
		if len(open) != 1 {
			t.Fatalf("%d operations are open", len(open))
		}
		held, err := target.takeLease(t.Context(), lease.Request{Operation: open[0].Header().ID, Purpose: "resume"})
		must(t, err)
		defer held.release()
		return held.goOn(held.ctx, open[0], agenda, undo)
	}
	if op, err = again(true); ExitCode(err) != 4 || op.Journal().Log().Outcome() != journal.Left || len(told) != 2 || !strings.Contains(err.Error(), "updates stay paused") {
		t.Errorf("-undo: exit %d, %v", ExitCode(err), err)
	}
	ran, broken = nil, false
	if op, err = again(false); err != nil || op.Journal().Log().Outcome() != journal.Succeeded {
		t.Errorf("resumed: %v", err)
	}
	if diff := cmp.Diff([]string{"updates:pause", "updates:wait", "data:restore", "updates:resume"}, ran); diff != "" {
		t.Errorf("steps that ran: %s", diff)
	}
	if open, err := target.unfinished(t.Context()); len(open) > 0 || err != nil {
		t.Errorf("still open: %v, %v", open, err)
	}
	// What fails before anything was touched is no one's concern.
	agenda.Steps = []step.Step{acts{"rollback:choose", func() error { return step.ErrFault }}, changes{does("updates:pause")}}
	held, op = begin()
	err = held.perform(op, agenda)
	held.release()
	if ExitCode(err) != 3 || op.Journal().Log().Outcome() != journal.Unchanged || len(told) != 2 {
		t.Errorf("before it began: exit %d, %s, %v", ExitCode(err), op.Journal().Log().Outcome(), err)
	}
}

// Of a step that did not come to change anything, nothing is left behind.
func TestStepThatChangedNothing(t *testing.T) {
	target := filed(t)
	target.Observer = report.NewPrinter(&strings.Builder{})
	target.Config.Operation.Expiry = time.Minute
	fails := func(err error) Agenda {
		return Agenda{Steps: []step.Step{changes{acts{"data:restore", func() error { return err }}}}, Keep: true, Onward: target.restoringData(Options{}).Onward}
	}
	for _, c := range []struct {
		err     error
		code    int
		outcome string
	}{
		{errors.Join(errUntouched, step.ErrFault), 3, journal.Unchanged},
		{step.ErrFault, 4, journal.Left},
	} {
		held, err := target.takeLease(t.Context(), lease.Request{Name: target.newID("data:restore"), Purpose: "data:restore"})
		must(t, err)
		op, err := held.create(held.ctx, held.Holder().Operation, "data:restore", Options{})
		must(t, err)
		err = held.perform(op, fails(c.err))
		held.release()
		if ExitCode(err) != c.code || op.Journal().Log().Outcome() != c.outcome {
			t.Errorf("%v: exit %d, %s", c.err, ExitCode(err), op.Journal().Log().Outcome())
		}
	}
}

func ended(log journal.Log, outcome string) journal.Log {
	log.Records = append(slices.Clone(log.Records), journal.Record{Type: journal.End, Outcome: outcome, Text: "data:restore: the server is gone"})
	return log
}

// headed is a log with another header.
func headed(log journal.Log, change func(*journal.Header)) journal.Log {
	header := *log.Records[0].Header
	change(&header)
	log.Records = slices.Clone(log.Records)
	log.Records[0].Header = &header
	return log
}

func named(log journal.Log, id string) journal.Log {
	log.Path = id
	return headed(log, func(h *journal.Header) { h.ID = id })
}

func TestStillOpen(t *testing.T) {
	left := named(ended(recorded(gradualKind, "start updates:pause", "done updates:pause", "start data:restore", "failed data:restore"), journal.Left), "left")
	older := named(left, "older")
	for _, c := range []struct {
		name  string
		newer []journal.Log
		want  []string
	}{
		{"the newest", nil, []string{"left"}},
		{"papers since", []journal.Log{named(ended(recorded("docs:notes"), journal.Succeeded), "n")}, []string{"left"}},
		{"rows restored by hand since", []journal.Log{named(ended(recorded("data:restore"), journal.Succeeded), "n")}, []string{"left"}},
		{"a deployment that was taken back", []journal.Log{named(ended(recorded("deploy"), journal.TakenBack), "n")}, []string{"left"}},
		{"an interrupted deployment", []journal.Log{named(recorded("deploy", "start services:stop"), "n")}, []string{"n", "left"}},
		{"a deployment", []journal.Log{named(ended(recorded("deploy"), journal.Succeeded), "n")}, nil},
		{"an immediate rollback", []journal.Log{named(ended(recorded("rollback:immediate"), journal.Succeeded), "n")}, nil},
		{"one that needs a person", []journal.Log{named(ended(recorded("rollback:immediate"), journal.Left), "n")}, nil},
		{"updates started by force", []journal.Log{named(ended(recorded("updates:resume"), journal.Succeeded), "n")}, nil},
		{"a second one that found nothing to go back to", []journal.Log{named(ended(recorded(gradualKind), journal.Unchanged), "n")}, []string{"left"}},
		{"a second one", []journal.Log{named(left, "second")}, []string{"second"}},
		{"a second one that succeeded", []journal.Log{named(ended(recorded(gradualKind), journal.Succeeded), "n")}, nil},
		{"stages that stopped and started", []journal.Log{named(ended(recorded(stagesKind, "start services:stop"), journal.Succeeded), "n")}, []string{"left"}},
		{"stages that activated", []journal.Log{named(ended(recorded(stagesKind, "start release:activate"), journal.Succeeded), "n")}, nil},
		{"a start that failed", []journal.Log{named(ended(recorded("services:start", "start services:start"), journal.Left), "n")}, []string{"left"}},
	} {
		var got []string
		for _, log := range stillOpen(append(slices.Clone(c.newer), left, older)) {
			got = append(got, log.Header().ID)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
	}
}

// What somebody reads at night who finds a gradual rollback half-way.
func TestDescribesAGradualRollback(t *testing.T) {
	target := filed(t)
	log := recorded(gradualKind, "start rollback:choose", "done rollback:choose", "start lease:fence", "done lease:fence", "start updates:pause", "done updates:pause", "start updates:wait")
	agenda, err := target.agendaOf(log)
	must(t, err)
	if goesBack(log, agenda) || !serviceTouched(log, agenda) {
		t.Error("it goes back, or has touched nothing")
	}
	text := describeUnfinished(log, agenda)
	for _, part := range []string{"op of me@here", "at updates:wait (start)", "`resume` goes on with updates:wait, data:verify, data:inconsistencies, rollback:code, data:restore, data:verifyRestoration, updates:resume, rollback:notes",
		"`resume -undo` leaves it as it is: updates stay paused"} {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q: %s", part, text)
		}
	}
	failed := ended(log, journal.Left)
	e := target.historyEntry(t.Context(), failed, true)
	if next := e.next(); !e.unfinished() || next != "resume: goes on with op, which failed (data:restore: the server is gone); updates stay paused; left are updates:wait, data:verify, data:inconsistencies, rollback:code, data:restore and 3 more" {
		t.Error(next)
	}
	if e := target.historyEntry(t.Context(), failed, false); e.unfinished() {
		t.Error("one that was overtaken is not finished")
	}
	e = target.historyEntry(t.Context(), log, false)
	if next := e.next(); !strings.HasPrefix(next, "resume: goes on with op; updates stay paused; left are updates:wait") || !strings.HasSuffix(next, "or `resume -undo`: leaves it as it is") {
		t.Error(next)
	}
	s := calmStatus()
	s.Operation = &e
	if s.next() != e.next() || commandIn(s.next()) != "resume" {
		t.Errorf("status says %s", s.next())
	}
}

// Updates stay paused for as long as there is a reason.
func TestWhyPaused(t *testing.T) {
	live := &release.Release{ID: liveID}
	options := func(log journal.Log, json string) journal.Log {
		return headed(log, func(h *journal.Header) { h.Options = []byte(json) })
	}
	failed := named(ended(recorded(gradualKind, "start updates:pause", "done updates:pause", "start data:restore", "failed data:restore"), journal.Left), "g-1")
	failed.Records[4].Text = "data:restore: the server is gone"
	wrote := named(ended(recorded("data:inconsistencies", `note wrong={"`+liveID+`":12}`), journal.Succeeded), "i-1")
	fine := named(ended(recorded("data:inconsistencies", `note wrong={"`+olderID+`":12}`), journal.Succeeded), "i-2")
	own := named(recorded(gradualKind, `note wrong={"`+liveID+`":12}`), "self")
	for _, c := range []struct {
		name string
		logs []journal.Log
		want string
	}{
		{"nothing", nil, ""},
		{"a rollback that failed", []journal.Log{failed}, "g-1 is not finished, at data:restore (failed): data:restore: the server is gone: `resume` goes on with it"},
		{"one that is interrupted", []journal.Log{named(recorded(gradualKind, "start updates:pause", "done updates:pause", "start updates:wait"), "g-2")}, "g-2 is not finished, at updates:wait (start)"},
		{"one that a deployment has overtaken", []journal.Log{named(ended(recorded("deploy"), journal.Succeeded), "d"), failed}, ""},
		{"wrong rows of the live release", []journal.Log{fine, wrote}, "release " + liveID + " is live, which wrote 12 wrong rows, as i-1 has found: `rollback:gradual`"},
		{"wrong rows of another one", []journal.Log{fine}, ""},
		{"itself", []journal.Log{named(recorded(gradualKind, "start updates:pause"), "self")}, ""},
		{"itself, and the code was not changed", []journal.Log{own}, "release " + liveID + " is live, which wrote 12 wrong rows, as self has found"},
		{"itself, and the code could not be changed", []journal.Log{named(recorded(gradualKind, `note rollback.code.stays="release x cannot go on"`), "self")}, "release x cannot go on"},
		{"itself, and the code is not to blame", []journal.Log{options(own, `{"keep_release":true}`)}, ""},
		{"an earlier one blames the code, this one does not", []journal.Log{options(named(recorded(gradualKind, "start updates:pause"), "self"), `{"keep_release":true}`), wrote}, ""},
		{"an earlier one, by whom the code is not to blame", []journal.Log{options(named(ended(own, journal.Succeeded), "g-0"), `{"keep_release":true}`)}, ""},
	} {
		got, err := whyPaused(c.logs, "self", live)
		if err != nil || !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%s: %q, %v\nwant %q", c.name, got, err, c.want)
		}
	}
}

// The order is the plan's, with what it forgot: whoever changes it should have
// to say so here. Nothing is touched before the pause.
func TestOrderOfAGradualRollback(t *testing.T) {
	agenda := filed(t).gradual(Options{})
	var names []string
	for _, s := range agenda.Steps {
		if _, touches := s.(step.Changer); touches && !slices.Contains(names, "updates:pause") && s.String() != "updates:pause" {
			t.Errorf("%s touches the service before the updates are paused", s)
		}
		names = append(names, s.String())
	}
	want := []string{"rollback:choose", "lease:fence", "updates:pause", "updates:wait", "data:verify", "data:inconsistencies", "rollback:code", "data:restore", "data:verifyRestoration", "updates:resume"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}
