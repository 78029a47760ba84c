package checklist

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// gone is a process that has ended.
func gone(t *testing.T) host.Process {
	t.Helper()
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	p, err := host.Local{}.Process(t.Context(), cmd.Process.Pid)
	must(t, err)
	must(t, cmd.Process.Kill())
	cmd.Wait()
	return p
}

// journaled writes the journal of an operation of a process.
func (t *Target) journaled(tt *testing.T, id, kind string, owner host.Process, records ...journal.Record) {
	tt.Helper()
	j, err := journal.Create(tt.Context(), t.Host, t.journalDir(), journal.Header{ID: id, Kind: kind, By: "eve@laptop", Process: owner, Run: "https://ci/run/7"}, t.Now)
	must(tt, err)
	for _, r := range records {
		must(tt, j.Append(tt.Context(), r))
	}
}

// done are the records of steps that have acted.
func done(steps ...string) []journal.Record {
	var all []journal.Record
	for _, s := range steps {
		all = append(all, journal.Record{Type: journal.Start, Step: s}, journal.Record{Type: journal.Done, Step: s})
	}
	return all
}

func rec(kind journal.Type, step string) journal.Record {
	return journal.Record{Type: kind, Step: step}
}

const operation = "20261123T120000Z-deploy-aaaaaa"

func TestHistoryOfAnUnfinishedOperation(t *testing.T) {
	before := done("release:fetch", "release:compare", "release:install", "pre:migrations", "pre:data", "pre:rates", "pre:config", "pre:connections", "deps:celery", "deps:redis", "window")
	stop := append(append([]journal.Record{}, before...), done("lease:fence", "services:stop", "backup:create", "cache:clear")...)
	all := append(append([]journal.Record{}, stop...), done("release:migrate", "release:activate", "services:start", "verify:api", "verify:tasks", "verify:metrics", "verify:alerts", "verify:backups", "verify:update", "verify:logs", "verify:performance", "verify:criteria")...)
	type facts struct {
		Open, Left                 []string
		Undoing, Touched, Achieved bool
	}
	for name, test := range map[string]struct {
		records []journal.Record
		want    facts
	}{
		"side by side": {append(done("release:fetch", "release:compare", "release:install", "pre:migrations", "pre:data", "pre:rates", "deps:celery", "deps:redis"), rec(journal.Start, "pre:config"), rec(journal.Start, "pre:connections")),
			facts{Open: []string{"pre:config", "pre:connections"}, Left: []string{"pre:config", "pre:connections", "window", "lease:fence", "services:stop", "backup:create", "cache:clear", "release:migrate", "release:activate", "services:start", "verify:api", "verify:tasks", "verify:metrics", "verify:alerts", "verify:backups", "verify:update", "verify:logs", "verify:performance", "verify:criteria", "docs:changelog", "docs:notes", "release:clean"}}},
		"in the migration": {append(stop, rec(journal.Start, "release:migrate")),
			facts{Open: []string{"release:migrate"}, Touched: true, Left: []string{"release:migrate", "release:activate", "services:start", "verify:api", "verify:tasks", "verify:metrics", "verify:alerts", "verify:backups", "verify:update", "verify:logs", "verify:performance", "verify:criteria", "docs:changelog", "docs:notes", "release:clean"}}},
		"a step failed": {append(stop, rec(journal.Start, "release:migrate"), rec(journal.Failed, "release:migrate")),
			facts{Touched: true, Undoing: true, Left: []string{"release:migrate", "backup:create", "services:stop", "release:fetch"}}},
		"in the undo": {append(stop, rec(journal.Start, "release:migrate"), rec(journal.Failed, "release:migrate"), rec(journal.UndoStart, "release:migrate"), rec(journal.Undone, "release:migrate"), rec(journal.UndoStart, "backup:create")),
			facts{Open: []string{"backup:create"}, Touched: true, Undoing: true, Left: []string{"backup:create", "services:stop", "release:fetch"}}},
		"in the papers": {append(all, append(done("docs:changelog"), rec(journal.Start, "docs:notes"), rec(journal.Failed, "docs:notes"))...),
			facts{Touched: true, Achieved: true, Left: []string{"docs:notes", "release:clean"}}},
	} {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			target.journaled(t, operation, "deploy", gone(t), test.records...)
			entries, err := target.History(t.Context())
			if err != nil || len(entries) != 1 || entries[0].Outcome != "interrupted" || entries[0].HeardOf.IsZero() || entries[0].Run == "" {
				t.Fatalf("got %+v, %v", entries, err)
			}
			e := entries[0]
			if diff := cmp.Diff(test.want, facts{e.OpenSteps, e.Left, e.Undoing, e.Touched, e.Achieved}); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestHistoryOfARunningAndAnEndedOperation(t *testing.T) {
	target := filed(t)
	const runs = "20261123T130000Z-deploy-bbbbbb"
	_, _, err := lease.Take(t.Context(), target.Host, target.opsDir(), lease.Request{Operation: runs, Purpose: "deploy"})
	must(t, err)
	self, err := target.Host.Process(t.Context(), os.Getpid())
	must(t, err)
	target.journaled(t, runs, "deploy", self, rec(journal.Start, "release:fetch"))
	target.journaled(t, operation, "deploy", gone(t), append(done("release:fetch"), journal.Record{Type: journal.End, Outcome: journal.Unchanged, Text: "why"})...)
	entries, err := target.History(t.Context())
	if err != nil || len(entries) != 2 {
		t.Fatalf("got %+v, %v", entries, err)
	}
	if e := entries[0]; e.Outcome != "running" || !cmp.Equal(e.OpenSteps, []string{"release:fetch"}) {
		t.Errorf("the running one: %+v", e)
	}
	if e := entries[1]; e.Outcome != journal.Unchanged || e.Text != "why" || e.Left != nil || e.OpenSteps != nil || time.Since(e.Began) > time.Minute {
		t.Errorf("the ended one: %+v", e)
	}
}
