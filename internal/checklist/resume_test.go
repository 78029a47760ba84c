package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
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
		// Parked since, by a stage that touched nothing running.
		{"services:start", recorded("stages", "start release:activate", "start release:fetch", "done release:fetch", "park release:fetch"), false},
		{"release:activate", recorded("stages", "start release:activate", "start release:fetch", "done release:fetch", "park release:fetch"), true},
		{"backup:create", recorded("stages", "start backup:create", "failed backup:create"), false},
		{"services:stop", recorded("stages", "start services:stop", "undo services:stop"), false},
	} {
		if got := onlyInterruptedIn(c.log, target.stageSteps(c.kind, Options{})); got != c.want {
			t.Errorf("%s over %v: %t, want %t", c.kind, c.log.Steps(), got, c.want)
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
