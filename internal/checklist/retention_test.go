package checklist

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

func TestSpentBackups(t *testing.T) {
	for name, test := range map[string]struct {
		backups string // newest first: a letter each, capital when proven
		keep    int
		of      string // backups of the remaining releases
		needed  string // by unfinished operations
		want    string // oldest first
	}{
		"none":                         {"", 2, "", "", ""},
		"fewer":                        {"AB", 2, "", "", ""},
		"more":                         {"ABCD", 2, "", "", "DC"},
		"of a release":                 {"ABCD", 2, "D", "", "C"},
		"of an unfinished operation":   {"ABCD", 2, "", "C", "D"},
		"the last good one":            {"AB", 0, "", "", "B"},
		"the last good one, behind":    {"abC", 1, "", "", ""},
		"an unproven one is no good":   {"aBCD", 2, "", "", "D"},
		"an unproven one behind":       {"AbC", 2, "", "", "b"},
		"an unproven one that is used": {"AbC", 2, "b", "", ""},
		"one that is to be kept":       {"ABKD", 2, "", "", "D"},
	} {
		var all []*Manifest
		for _, id := range strings.Split(test.backups, "") {
			m := &Manifest{ID: id, Keep: id == "K"}
			if now := time.Now(); id == strings.ToUpper(id) {
				m.Proof.Contents = &now
			}
			all = append(all, m)
		}
		var remaining []release.Release
		for _, id := range strings.Split(test.of, "") {
			remaining = append(remaining, release.Release{Backup: id})
		}
		if got := strings.Join(spentBackups(all, remaining, test.keep, strings.Split(test.needed, "")), ""); got != test.want {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
	}
}

func TestNeededByUnfinishedOperations(t *testing.T) {
	target := filed(t)
	note := func(key string, v any) journal.Record {
		b, err := json.Marshal(v)
		must(t, err)
		return journal.Record{Type: journal.Note, Key: key, Value: b}
	}
	target.journaled(t, operation, "deploy", gone(t), note(factPrevious, olderID), note(factBuilt, "built"), note(factRelease, release.Release{ID: liveID}), note(factBackup, "b-1"), note(factRestore, restoreNames{Side: "goldfinch_side_1", Kept: "goldfinch_kept_1"}))
	target.journaled(t, "20261123T130000Z-deploy-bbbbbb", "deploy", gone(t), note(factPrevious, ""))
	target.journaled(t, "20261123T133000Z-rollback-gradual-dddddd", gradualKind, gone(t), note(factBackupChosen, "b-2"))
	logs, err := journal.Newest(t.Context(), target.Host, target.journalDir(), nil)
	must(t, err)
	got, err := neededBy(logs)
	must(t, err)
	slices.Sort(got.Releases)
	if diff := cmp.Diff(retained{Releases: []string{olderID, liveID, "built"}, Backups: []string{"b-2", "b-1"}, Databases: []string{"goldfinch_side_1", "goldfinch_kept_1"}}, got); diff != "" {
		t.Error(diff)
	}
	target.journaled(t, "20261123T140000Z-deploy-cccccc", "deploy", gone(t), note(factBackup, 7))
	logs, err = journal.Newest(t.Context(), target.Host, target.journalDir(), nil)
	must(t, err)
	if _, err := neededBy(logs); err == nil {
		t.Error("a note that cannot be read: no error")
	}
}
