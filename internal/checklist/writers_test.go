package checklist

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// Who wrote from when on is told by the journals and, where those are silent,
// by the records of the releases.
func TestWriters(t *testing.T) {
	target := filed(t)
	clock := noon.Add(-24 * time.Hour)
	target.Now = func() time.Time { clock = clock.Add(time.Hour); return clock }
	note := func(release string, xid string) journal.Record {
		return journal.Record{Type: journal.Note, Key: factWriter, Value: []byte(`{"release":"` + release + `","xid":` + xid + `}`)}
	}
	target.journaled(t, "20261122T120000Z-deploy-aaaaaa", "deploy", gone(t), note("long-ago", "1"))
	target.journaled(t, "20261122T180000Z-deploy-aaaaaa", "deploy", gone(t), note(olderID, "7"))
	target.journaled(t, "20261122T200000Z-backup-create-aaaaaa", "backup:create", gone(t)) // who wrote then is in the one before
	since := clock.Add(time.Minute)
	// One that is taken back starts the release before again.
	target.journaled(t, "20261122T230000Z-deploy-bbbbbb", "deploy", gone(t), note("bad", "18446744073709551000"), note(olderID, "0"))
	target.journaled(t, "20261123T010000Z-backup-create-cccccc", "backup:create", gone(t))
	all, err := target.writers(t.Context(), since)
	must(t, err)
	var got []string
	for _, w := range all {
		got = append(got, fmt.Sprintf("%s %s %d", w.Release, w.Operation, w.FromXID))
	}
	want := []string{
		olderID + " 20261122T180000Z-deploy-aaaaaa 7",
		"bad 20261122T230000Z-deploy-bbbbbb 18446744073709551000",
		olderID + " 20261122T230000Z-deploy-bbbbbb 0",
	}
	// The records, whose operation noted nothing, stand where they belong in time.
	records := map[string]bool{olderID + " 20261123T120000Z-deploy-aaaaaa 0": true, liveID + " 20261123T120000Z-deploy-aaaaaa 0": true}
	var noted []string
	for _, g := range got {
		if !records[g] {
			noted = append(noted, g)
		}
	}
	if diff := cmp.Diff(want, noted); diff != "" || len(got) != len(want)+2 {
		t.Errorf("%q: %s", got, diff)
	}
	for i := 1; i < len(all); i++ {
		if all[i].From.Before(all[i-1].From) {
			t.Errorf("not in order of time: %+v", all)
		}
	}
	if last := all[len(all)-1]; last != (etfdata.Writer{Release: liveID, Operation: "20261123T120000Z-deploy-aaaaaa", From: noon}) {
		t.Errorf("the last: %+v", last)
	}
}
