package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// recorded is a log of an operation of this kind: "start services:stop" and
// so on; a fact is "note key=value".
func recorded(kind string, lines ...string) journal.Log {
	log := journal.Log{Records: []journal.Record{{Type: journal.Begin, Header: &journal.Header{ID: "op", Kind: kind, By: "me@here"}}}}
	for _, line := range lines {
		what, about, _ := strings.Cut(line, " ")
		r := journal.Record{Type: journal.Type(what), Step: about}
		if key, value, ok := strings.Cut(about, "="); ok {
			r.Step, r.Key, r.Value = "", key, json.RawMessage(value)
		}
		log.Records = append(log.Records, r)
	}
	return log
}

// What an operation has left, and which way it goes.
func TestStepsLeft(t *testing.T) {
	target := &Target{Config: &config.Config{}}
	done := func(names ...string) (lines []string) {
		for _, n := range names {
			lines = append(lines, "start "+n, "done "+n)
		}
		return lines
	}
	stop := done("services:stop")
	for _, c := range []struct {
		name     string
		log      journal.Log
		back     bool
		achieved bool
		left     []string // its beginning
	}{
		{"stopped", recorded("stages", append(stop, "park services:stop")...), false, false, []string{"services:start"}},
		{"stopped, the backup interrupted", recorded("stages", append(stop, "start backup:create")...), false, false, []string{"backup:create", "services:start"}},
		{"a release chosen", recorded("stages", append(stop, done("release:select", "lease:fence")...)...), false, false,
			[]string{"backup:create", "cache:clear", "release:migrate", "release:activate", "services:start", "verify:api"}},
		{"a stage failed", recorded("stages", append(stop, "start backup:create", "failed backup:create")...), true, false, []string{"backup:create", "services:stop"}},
		{"taking back was interrupted", recorded("stages", append(stop, "start backup:create", "failed backup:create", "undo backup:create", "undone backup:create", "undo services:stop")...),
			true, false, []string{"services:stop"}},
		{"only the papers are missing", recorded("deploy", done("verify:criteria")...), false, true, nil},
		{"papers alone", recorded("docs:notes"), false, true, []string{"docs:changelog", "docs:notes"}},
	} {
		agenda, err := target.agendaOf(c.log)
		if err != nil {
			t.Fatal(err)
		}
		if got := goesBack(c.log, agenda); got != c.back {
			t.Errorf("%s: goes back %t, want %t", c.name, got, c.back)
		}
		if got := achieved(c.log, agenda); got != c.achieved {
			t.Errorf("%s: achieved %t, want %t", c.name, got, c.achieved)
		}
		left := stepsLeft(c.log, agenda)
		if diff := cmp.Diff(c.left, left[:min(len(c.left), len(left))]); diff != "" && c.left != nil {
			t.Errorf("%s: want (-) and got (+) left differ:\n%s", c.name, diff)
		}
	}
}

func TestWhoMayJoinAnInterruptedStage(t *testing.T) {
	target := &Target{Config: &config.Config{}}
	for _, c := range []struct {
		kind string
		log  journal.Log
		want bool
	}{
		{"backup:create", recorded("stages", "start services:stop", "done services:stop", "park services:stop"), true},
		{"backup:create", recorded("stages", "start backup:create"), true},
		{"services:start", recorded("stages", "start backup:create"), false},
		{"services:start", recorded("stages", "start release:activate"), false},
		{"backup:create", recorded("stages", "start backup:create", "failed backup:create"), false},
		{"services:stop", recorded("stages", "start services:stop", "undo services:stop"), false},
	} {
		if got := onlyInterruptedIn(c.log, target.stageSteps(c.kind, Options{})); got != c.want {
			t.Errorf("%s over %v: %t, want %t", c.kind, c.log.Steps(), got, c.want)
		}
	}
}

// A stage joins what it may build on, and nothing else.
func TestMayJoin(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	target := &Target{Config: &config.Config{Operation: config.Operation{Parked: time.Hour}}, Now: func() time.Time { return now }}
	stopped := []string{"start services:stop", "done services:stop"}
	migrated := append(slices.Clone(stopped), `note migrations={"pending":[{}]}`, "start release:migrate", "done release:migrate")
	activated := append(slices.Clone(migrated), "start release:activate", "done release:activate")
	started := append(slices.Clone(activated), "start services:start", "done services:start")
	for _, c := range []struct {
		name string
		kind string
		log  []string
		age  time.Duration
		want error
		says string
	}{
		{"the next one", "backup:create", stopped, time.Minute, nil, ""},
		{"the start of what was stopped", "services:start", stopped, time.Minute, nil, ""},
		{"too late", "backup:create", stopped, 61 * time.Minute, ErrInterruptedBefore, "resume"},
		{"old code over a new schema", "services:start", migrated, time.Minute, ErrUsage, "release:activate"},
		{"in order", "services:start", activated, time.Minute, nil, ""},
		{"a second round", "services:stop", started, time.Minute, ErrUsage, "verify:criteria"},
		{"the end", "verify:criteria", started, time.Minute, nil, ""},
		{"on its way back", "services:start", append(slices.Clone(started), "failed verify:api"), time.Minute, ErrInterruptedBefore, "taking the service back"},
	} {
		log := recorded(stagesKind, c.log...)
		for i := range log.Records {
			log.Records[i].Time = now.Add(-c.age)
		}
		err := target.mayJoin(t.Context(), log, c.kind, Options{})
		if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// An operation whose completed steps were done from another configuration or
// another .env is not gone on with, and it is said what has changed.
func TestInputsThatChanged(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	target := &Target{Host: host.Local{}, Observer: report.NewPrinter(&strings.Builder{}), Now: time.Now,
		Config: &config.Config{File: "deploy.yaml", Root: dir, Env: config.Env{File: dir + "/.env"}, Celery: config.Celery{Queue: "celery", Drain: time.Minute}}}
	write := func(text string) {
		if err := (host.Local{}).WriteFile(ctx, dir+"/.env", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("A=1\n")
	j, err := journal.Create(ctx, host.Local{}, dir, journal.Header{ID: journal.NewID("deploy", time.Now()), Kind: "deploy"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	op := step.NewOperation(j, target.Observer, time.Now)
	keys, err := target.configKeys()
	if err != nil {
		t.Fatal(err)
	}
	if err := op.Note(ctx, factConfig, keys); err != nil {
		t.Fatal(err)
	}
	install := installStep{inputs{target}}
	d, err := install.Digest(ctx, &step.Run{Operation: op})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range []journal.Record{{Type: journal.Start, Step: install.String(), Digest: d}, {Type: journal.Done, Step: install.String()}} {
		if err := j.Append(ctx, r); err != nil {
			t.Fatal(err)
		}
	}
	agenda := Agenda{Steps: []step.Step{install}}
	if err := target.sameInputs(ctx, op, agenda); err != nil {
		t.Errorf("nothing has changed: %v", err)
	}
	wants := func(what string) {
		t.Helper()
		err := target.sameInputs(ctx, op, agenda)
		if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "release:install") || !strings.Contains(err.Error(), what) {
			t.Errorf("got %v, want it to name %s", err, what)
		}
	}
	write("A=2\n")
	wants(dir + "/.env")
	write("A=1\n")
	target.Config.Celery.Drain = time.Hour
	wants("celery.drain in deploy.yaml")
	target.Config.Celery.Drain = time.Minute
	if err := op.Note(ctx, factRelease, map[string]string{"id": "20261123T000000Z-00000000"}); err != nil {
		t.Fatal(err)
	}
	if err := target.sameInputs(ctx, op, agenda); err != nil {
		t.Errorf("what was noted after the step is no input of it: %v", err)
	}
}

// An operation sorts behind all others, also when the clock was set back.
func TestNamesSortWhateverTheClockSays(t *testing.T) {
	ctx := t.Context()
	target := filed(t)
	id := func(now time.Time) string {
		target.Now = func() time.Time { return now }
		id, err := target.newID("deploy")(ctx)
		must(t, err)
		_, err = journal.Create(ctx, target.Host, target.journalDir(), journal.Header{ID: id, Kind: "deploy"}, target.Now)
		must(t, err)
		return id
	}
	noon := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	last := ""
	for _, now := range []time.Time{noon, noon, noon.Add(time.Minute), noon.Add(-time.Hour), noon.Add(-time.Hour)} {
		next := id(now)
		if next <= last {
			t.Errorf("%s comes behind %s", next, last)
		}
		last = next
	}
}

// The environment of a release that is or was live is never made anew: its
// processes may run in it.
func TestInstallLeavesALiveRelease(t *testing.T) {
	target := filed(t)
	target.Observer = report.NewPrinter(&strings.Builder{})
	target.Config.Env.File = target.Releases.Dir(liveID) + "/.env"
	target.Config.Python.Interpreter = "/no/such/python"
	must(t, target.Host.WriteFile(t.Context(), target.Config.Env.File, []byte("A=1\n"), 0o600))
	j, err := journal.Create(t.Context(), target.Host, target.journalDir(), journal.Header{ID: "20261123T130000Z-release-install-bbbbbb", Kind: "release:install"}, time.Now)
	must(t, err)
	op := step.NewOperation(j, target.Observer, time.Now)
	for _, state := range []release.State{release.Live, release.Verified} {
		r, err := target.Releases.Find(t.Context(), liveID)
		must(t, err)
		r.State = state
		must(t, target.Releases.Put(t.Context(), r))
		must(t, op.Note(t.Context(), factRelease, r))
		must(t, installStep{inputs{target}}.Run(t.Context(), &step.Run{Operation: op}))
		must(t, fetchStep{inputs{target}, "main", true}.Undo(t.Context(), &step.Run{Operation: op}))
		if after, err := target.Releases.Find(t.Context(), liveID); err != nil || after.State != state {
			t.Errorf("it is %s now (%v)", after.State, err)
		}
	}
}

// A backup beside an operation that has one does not become the one to go back
// to; nor does the first one join where the migration relies on an older one.
func TestWhatStandsAside(t *testing.T) {
	for _, c := range []struct {
		kind string
		log  journal.Log
		want bool
	}{
		{"backup:create", recorded(stagesKind, "start services:stop", "done services:stop"), false},
		{"backup:create", recorded(stagesKind, `note backup="b-1"`), true},
		{"backup:create", recorded(stagesKind, "start backup:create", `note backup="b-1"`), false},
		{"release:install", recorded(stagesKind, "start services:stop"), true},
		{"services:start", recorded(stagesKind, `note backup="b-1"`), false},
	} {
		if got := standsAside(c.log, c.kind); got != c.want {
			t.Errorf("%s: %t, want %t", c.kind, got, c.want)
		}
	}
}

// What is resumed is the operation that the lease is parked for, whatever was
// begun beside it since; what somebody else keeps is refused.
func TestResumesWhatIsParked(t *testing.T) {
	target := filed(t)
	target.Config.Operation.Expiry = time.Minute
	if id, err := target.parkedForUs(t.Context()); id != "" || err != nil {
		t.Errorf("without a lease: %q, %v", id, err)
	}
	for _, c := range []struct {
		by   string
		want string
		err  error
	}{{Whoami(), "op", nil}, {"eve@laptop", "", lease.ErrHeld}} {
		l, _, err := lease.Take(t.Context(), target.Host, target.opsDir(), lease.Request{Operation: "op", Purpose: "services:stop", By: c.by, Run: runURL()})
		must(t, err)
		if c.err != nil {
			t.Setenv("ETF_RUN_URL", "https://ci/other")
		}
		must(t, l.Park(t.Context(), time.Now().Add(time.Hour)))
		if id, err := target.parkedForUs(t.Context()); id != c.want || !errors.Is(err, c.err) {
			t.Errorf("parked by %s: %q, %v", c.by, id, err)
		}
	}
}

// A machine that was restarted in the midst of a rollback has started the
// service, which writes: until the database is another one that is stopped, and
// its rows are looked for, again.
func TestStopsAgain(t *testing.T) {
	steps := []string{"start services:stop", "done services:stop", "start rollback:written", "done rollback:written"}
	both := []string{"services:stop", "rollback:written"}
	for name, c := range map[string]struct {
		log  journal.Log
		want []string
	}{
		"before the swap":       {recorded(rollbackKind, steps...), both},
		"in it":                 {recorded(rollbackKind, append(steps, "start rollback:database")...), both},
		"behind it":             {recorded(rollbackKind, append(steps, "start rollback:database", "done rollback:database")...), nil},
		"the database stays":    {recorded(rollbackKind, append(steps, "skipped rollback:database")...), nil},
		"it was no rollback":    {recorded("deploy", steps...), nil},
		"nor does it roll back": {recorded(gradualKind), nil},
	} {
		if diff := cmp.Diff(c.want, stoppedAgain(c.log)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
