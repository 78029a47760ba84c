package checklist

import (
	"slices"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// retained are the releases, backups and databases that unfinished operations
// need: those to go on to and back to, whatever retention says.
type retained struct{ Releases, Backups, Databases []string }

// neededBy reads that from the journals of unfinished operations, the present
// one among them. What cannot be read is an error: then nothing is removed.
func neededBy(logs []journal.Log) (retained, error) {
	var n retained
	for _, log := range logs {
		var toCome release.Release
		var before, built, backup, chosen string
		var restore restoreNames
		for key, v := range map[string]any{
			factRelease: &toCome, factPrevious: &before, factBuilt: &built, factBackup: &backup, factBackupChosen: &chosen, factRestore: &restore,
		} {
			if _, err := log.Fact(key, v); err != nil {
				return n, err
			}
		}
		var back rollbackFacts
		if _, err := log.Fact(factRollback, &back); err != nil {
			return n, err
		}
		n.Releases = append(n.Releases, toCome.ID, before, built, back.Knows)
		n.Backups = append(n.Backups, backup, chosen)
		n.Databases = append(n.Databases, restore.Side, restore.Kept)
	}
	blank := func(id string) bool { return id == "" }
	for _, ids := range []*[]string{&n.Releases, &n.Backups, &n.Databases} {
		*ids = slices.DeleteFunc(*ids, blank)
	}
	return n, nil
}

// spentBackups lists the backups that retention lets go, the oldest first, of
// all that there are, newest first: beyond the newest keep good ones, and
// never the last good one, nor one that a remaining release needs to go back
// by, nor one in needed. One that was never proven does not take the place of
// a good one; it goes once a good one is newer.
func spentBackups(all []*Manifest, remaining []release.Release, keep int, needed []string) []string {
	good := 0
	var spent []string
	for _, m := range all {
		proven := m.Proof.Contents != nil
		if proven {
			good++
		}
		wanted := m.Keep || slices.Contains(needed, m.ID) || slices.ContainsFunc(remaining, func(r release.Release) bool { return r.Backup == m.ID })
		if !wanted && (proven && good > max(keep, 1) || !proven && good > 0) {
			spent = append(spent, m.ID)
		}
	}
	slices.Reverse(spent)
	return spent
}
