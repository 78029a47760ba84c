package checklist

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

func TestCheckRepair(t *testing.T) {
	for _, good := range []Options{
		{}, {To: olderID, Backup: "20261123T120000Z-abcdef12"}, {Table: "public.etf_prices", Where: "id = 7"}, {Table: "etf_prices", Where: "true"}, {CSV: "/tmp/reviewed.csv", BringBack: true},
	} {
		if err := checkRepair(good); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
	for says, bad := range map[string]Options{
		`-to="--x" is no id`:          {To: "--x"},
		`-backup="../x" is no id`:     {Backup: "../x"},
		"is no name of a table":       {Table: "etf_prices; DROP TABLE x", Where: "true"},
		`-csv="-rf" is no name`:       {CSV: "-rf"},
		"-where says which rows":      {Where: "true"},
		"-table without -where":       {Table: "etf_prices"},
		"either the rows of -csv, or": {Table: "etf_prices", Where: "true", CSV: "x"},
	} {
		if err := checkRepair(bad); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", bad, err, says)
		}
	}
	if err := checkRepair(Options{To: "-x", CSV: "-y"}); strings.Count(err.Error(), "usage") != 2 {
		t.Errorf("not all at once: %v", err)
	}
}

// of the sandbox's practice release that stores prices unconverted.
var wrongPrices = Inconsistencies{
	Version: 1, Operation: "op", Backup: "20261123T120000Z-abcdef12", Source: "dump /b/database.dump", CSV: "/ops/op.csv", SQL: "/ops/op.sql",
	Wrong: map[string]int64{liveID: 1530},
	Diff: &rowdiff.Diff{NoKey: []string{"public.log"}, Tables: []rowdiff.TableDiff{
		{Table: "public.etf_prices", Added: 7, Changed: 1524, How: "rows written since (xmin)", LeftOut: []string{"source"}},
		{Table: "public.etf_errors", How: "rows written since (xmin)"},
		{Table: "public.etf_updates", Added: 9, Deleted: 2, How: "every row: its age"},
	}},
	Judged: []rowdiff.Tallied{
		{Table: "public.etf_prices", Kind: "changed", Class: "restore", Sure: "certain", Rows: 1500}, {Table: "public.etf_prices", Kind: "changed", Class: "restore", Sure: "likely", Rows: 24},
		{Table: "public.etf_prices", Kind: "added", Class: "quarantine", Sure: "certain", Rows: 6}, {Table: "public.etf_prices", Kind: "added", Class: "keep", Sure: "guess", Rows: 1},
		{Table: "public.etf_updates", Kind: "added", Class: "keep", Rows: 9}, {Table: "public.etf_updates", Kind: "deleted", Class: "missing", Rows: 2},
	},
}

func TestInconsistenciesForPeople(t *testing.T) {
	if got := wrongPrices.summary(); got != "1 542 rows that differ from backup 20261123T120000Z-abcdef12: 1 524 to restore, 6 to quarantine, 10 right, 2 deleted since; listed in /ops/op.csv" {
		t.Error(got)
	}
	want := []string{
		"public.etf_prices: 1 524 to restore, 6 to quarantine, 1 right, 0 deleted since; compared without source",
		"public.etf_updates: 0 to restore, 0 to quarantine, 9 right, 2 deleted since",
	}
	if diff := cmp.Diff(want, wrongPrices.tableLines()); diff != "" {
		t.Error(diff)
	}
	target := filed(t)
	op := target.noted(t, "data:inconsistencies", map[string]any{factInconsistencies: wrongPrices})
	var text, asJSON strings.Builder
	must(t, target.WriteInconsistencies(&text, op, false))
	for _, part := range []string{"public.etf_prices     1 524           6     1        0  rows written since (xmin); without source", "public.log", "it has no primary key", "release " + liveID + " wrote 1 530 of the wrong rows", "read from dump /b/database.dump", "/ops/op.sql"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("it does not say %q:\n%s", part, text.String())
		}
	}
	must(t, target.WriteInconsistencies(&asJSON, op, true))
	var got Inconsistencies
	must(t, json.Unmarshal([]byte(asJSON.String()), &got))
	if diff := cmp.Diff(wrongPrices, got); diff != "" {
		t.Error(diff)
	}
}

// noted is an operation with these facts.
func (t *Target) noted(tt *testing.T, kind string, facts map[string]any) *step.Operation {
	tt.Helper()
	id, err := t.newID(kind)(tt.Context())
	must(tt, err)
	options, err := json.Marshal(Options{Reason: "a|b"})
	must(tt, err)
	j, err := journal.Create(tt.Context(), t.Host, t.journalDir(), journal.Header{ID: id, Kind: kind, By: "eve@laptop", Options: options}, t.Now)
	must(tt, err)
	op := step.NewOperation(j, report.NewPrinter(&strings.Builder{}), t.Now)
	for key, value := range facts {
		must(tt, op.Note(tt.Context(), key, value))
	}
	return op
}

// A second gradual rollback after one that has gone back and was left does the
// same again: it does not leave the release that the first one went to.
func TestBeginsAnew(t *testing.T) {
	for name, c := range map[string]struct {
		to        release.Release
		o         Options
		overtaken bool
		want      string // release that is left
	}{
		"it had gone back":           {release.Release{ID: liveID}, Options{}, false, "20261123T000000Z-cccccccc"},
		"asked for by name":          {release.Release{ID: liveID}, Options{To: liveID}, false, "20261123T000000Z-cccccccc"},
		"it had not":                 {release.Release{ID: olderID}, Options{}, false, ""},
		"another one is asked for":   {release.Release{ID: liveID}, Options{To: olderID}, false, ""},
		"the code stays":             {release.Release{ID: liveID}, Options{KeepRelease: true}, false, ""},
		"a deployment has overtaken": {release.Release{ID: liveID}, Options{}, true, ""},
	} {
		target := filed(t)
		left := target.noted(t, gradualKind, map[string]any{factRelease: c.to, factPrevious: "20261123T000000Z-cccccccc", factBackupChosen: "backup-1"})
		must(t, left.End(t.Context(), journal.Left, "the server is gone"))
		if c.overtaken {
			must(t, target.noted(t, "deploy", nil).End(t.Context(), journal.Succeeded, ""))
		}
		target.noted(t, gradualKind, nil) // the second one
		p := &RollbackPlan{Live: release.Release{ID: liveID}, To: release.Release{ID: olderID}}
		must(t, target.beginAnew(t.Context(), p, &c.o))
		if p.leaves != c.want || (p.To.ID == liveID) != (c.want != "") || (c.o.Backup == "backup-1") != (c.want != "") {
			t.Errorf("%s: leaves %q, goes to %s by %q; want it to leave %q", name, p.leaves, p.To.ID, c.o.Backup, c.want)
		}
	}
}

func TestGradualNotes(t *testing.T) {
	target := filed(t)
	target.Config.Environment = "test"
	rel, err := target.Releases.Find(t.Context(), olderID)
	must(t, err)
	op := target.noted(t, gradualKind, map[string]any{
		factInconsistencies: wrongPrices, factPrevious: liveID, factRelease: rel, factRestored: rowdiff.Applied{Restored: 1523, Quarantined: 6, Left: 1},
	})
	for _, r := range []journal.Record{rec(journal.Start, "updates:wait"), {Type: journal.Done, Step: "updates:wait", Text: "at rest\nafter 2 s"}} {
		must(t, op.Journal().Append(t.Context(), r))
	}
	must(t, op.Do(t.Context(), []step.Step{gradualNotes{inputs{target}}}))
	text, err := os.ReadFile(target.NotesFile(op.ID()))
	must(t, err)
	for _, part := range []string{
		"# Gradual rollback", "| reason | a\\|b |", "| release | " + liveID + " → " + olderID + " |", "| backup | 20261123T120000Z-abcdef12, read from dump /b/database.dump |",
		"| done | 1 523 rows restored, 6 quarantined, 0 brought back, 1 left as they are",
		"| public.etf_prices | 1 524 | 6 | 1 | 0 |\n| public.etf_updates | 0 | 0 | 9 | 2 |\n\n## Steps", "| updates:wait | done | 0 ms | at rest after 2 s |",
	} {
		if !strings.Contains(string(text), part) {
			t.Errorf("it does not say %q:\n%s", part, text)
		}
	}
	if strings.Contains(string(text), "etf_errors") {
		t.Errorf("a table in which nothing differs:\n%s", text)
	}
}

// The backup that rows are compared with is proven: the one from before the
// live release wrote anything, before any other.
func TestBackupToCompare(t *testing.T) {
	target := filed(t)
	if _, err := target.backupToCompare(t.Context(), ""); !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "backup:list") {
		t.Errorf("without any: %v", err)
	}
	const oldest, before, newest, unproven = "20261121T120000Z-abcdef11", "20261122T120000Z-abcdef11", "20261123T120000Z-abcdef12", "20261123T130000Z-abcdef12"
	for id, proven := range map[string]bool{oldest: true, before: true, newest: true, unproven: false} {
		target.backup(t, id, proven)
	}
	wants := func(id, want string) {
		t.Helper()
		if m, err := target.backupToCompare(t.Context(), id); err != nil || m.ID != want {
			t.Errorf("%q: %+v, %v, want %s", id, m, err, want)
		}
	}
	wants("", newest) // of the live release none is recorded
	live, err := target.Releases.Find(t.Context(), liveID)
	must(t, err)
	live.Backup = before
	must(t, target.Releases.Put(t.Context(), live))
	wants("", before)
	wants(oldest, oldest)
	if _, err := target.backupToCompare(t.Context(), unproven); !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "backup:verify -id="+unproven) {
		t.Errorf("one that is not proven: %v", err)
	}
	must(t, os.RemoveAll(filepath.Dir(target.backupDir(before))+"/"+before))
	wants("", newest)
}

// Of a side database to which rows may have been written since, nobody can be
// sure.
func TestUntouched(t *testing.T) {
	target := filed(t)
	const op = "20261123T120000Z-rollback-immediate-aaaaaa"
	k := postgres.KeptDatabase{Name: "goldfinch_side", Side: true, Operation: op}
	if target.untouched(t.Context(), k) {
		t.Error("its operation has no journal")
	}
	if !target.untouched(t.Context(), postgres.KeptDatabase{Name: "goldfinch_proof", Side: true}) {
		t.Error("one that proves a backup")
	}
	target.journaled(t, op, rollbackKind, gone(t), done("rollback:prepare")...)
	if !target.untouched(t.Context(), k) {
		t.Error("it was only prepared")
	}
	target.journaled(t, op[:len(op)-1]+"b", rollbackKind, gone(t), append(done("rollback:prepare"), rec(journal.Start, "rollback:written"))...)
	if k.Operation = op[:len(op)-1] + "b"; target.untouched(t.Context(), k) {
		t.Error("rows may have been carried over")
	}
}

func TestFindingsSayWhatWasBefore(t *testing.T) {
	now := []report.Finding{{Looked: "price-range", Status: report.Fault, Found: "5 of 20 000"}, {Looked: "orphan-prices", Status: report.OK, Found: "0 of 20 000"}}
	compareFindings(now, []report.Finding{{Looked: "price-range", Found: "1 005 of 20 000"}, {Looked: "orphan-prices", Found: "3 of 20 000"}})
	if now[0].Found != "5 of 20 000; before the restoration: 1 005 of 20 000" || now[1].Found != "0 of 20 000" || rulesText(now) != "1 of 2 data rules do not hold" || rulesText(now[1:]) != "all 1 data rules hold" {
		t.Errorf("%+v", now)
	}
}
