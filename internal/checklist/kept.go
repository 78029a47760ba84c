package checklist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// listKept asks over another database of the server: a swap that was cut off
// leaves the live one closed, and then they are wanted most.
func (t *Target) listKept(ctx context.Context) ([]postgres.KeptDatabase, error) {
	u, err := t.databaseURL()
	if err != nil {
		return nil, err
	}
	conn, err := postgres.Connect(ctx, t.Host, u.WithDatabase("postgres"), "etf-deploy")
	if errors.Is(err, postgres.ErrNoDatabase) || errors.Is(err, postgres.ErrNotAccepting) || errors.Is(err, postgres.ErrLogin) {
		conn, err = postgres.Connect(ctx, t.Host, u, "etf-deploy")
	}
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return postgres.Kept(ctx, conn)
}

// A KeptDatabase is one with what becomes of it.
type KeptDatabase struct {
	postgres.KeptDatabase
	Goes  *time.Time `json:"goes,omitempty"`  // release:clean drops it from then on; none: it does not
	Stays string     `json:"stays,omitempty"` // why it does not
}

// sideAge is after what time an incomplete side database is no longer anybody's
// work in progress.
const sideAge = 24 * time.Hour

// fates says what becomes of the databases beside live: those that were
// replaced stay for as long as the configuration says, side databases until
// they are complete or a day old, and those that an unfinished operation needs
// or somebody uses stay anyway.
func fates(all []postgres.KeptDatabase, live string, keep time.Duration, needed []string) []KeptDatabase {
	var fates []KeptDatabase
	for _, k := range all {
		f := KeptDatabase{KeptDatabase: k}
		age := keep
		if k.Side {
			age = sideAge
		}
		if k.Complete {
			age = 0
		}
		switch {
		case !beside(live, k.Name):
			f.Stays = "it does not belong to " + live
		case slices.Contains(needed, k.Name):
			f.Stays = "an unfinished operation needs it"
		case k.InUse:
			f.Stays = "sessions are open in it"
		case k.When.IsZero():
			f.Stays = "its comment does not say since when it is there"
		default:
			goes := k.When.Add(age)
			f.Goes = &goes
		}
		fates = append(fates, f)
	}
	return fates
}

// beside reports whether a database was made beside live: another environment
// may have its own on the same server.
func beside(live, name string) bool {
	rest, ok := strings.CutPrefix(name, live+"_")
	kind, _, _ := strings.Cut(rest, "_")
	return ok && slices.Contains([]string{"kept", "left", "side", "proof"}, kind)
}

// KeptDatabases lists the databases that were kept or left beside the live
// one, with what becomes of them.
func (t *Target) KeptDatabases(ctx context.Context) ([]KeptDatabase, error) {
	all, err := t.listKept(ctx)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	u, err := t.databaseURL()
	if err != nil {
		return nil, err
	}
	open, err := t.unfinished(ctx)
	var needed retained
	if err == nil {
		needed, err = neededBy(open)
	}
	kept := fates(all, u.Database, t.Config.Retention.Kept, needed.Databases)
	for i := range kept {
		if err != nil { // then release:clean drops none
			kept[i].Goes, kept[i].Stays = nil, "the journals cannot be read"
		}
	}
	return kept, nil
}

// dropSpent drops the databases whose time has come, and says how many. One
// that cannot be dropped is left for the next time.
func (t *Target) dropSpent(ctx context.Context, r *step.Run) (dropped int) {
	all, err := t.KeptDatabases(ctx)
	if err != nil {
		r.Log("kept databases were not looked at: %v", err)
		return 0
	}
	u, err := t.databaseURL()
	for _, k := range all {
		if err != nil || k.Goes == nil || k.Goes.After(t.Now()) {
			continue
		}
		if err := postgres.DropKept(ctx, t.Host, u, k.Name, r.ApplicationName()); err != nil {
			r.Log("left alone: %v", err)
			continue
		}
		r.Log("dropped %s: %s", k.Name, k.Reason)
		dropped++
	}
	return dropped
}

func keptTable(all []KeptDatabase, now time.Time) *report.Table {
	table := report.NewTable("database", "what", "since", "size", "by", "why", "what becomes of it")
	for _, k := range all {
		what, when, size := "kept", "", report.Bytes(k.Bytes)
		if k.Side {
			what = "side, left over"
		}
		if k.Side && k.InUse {
			what = "side, in use"
		}
		if !k.When.IsZero() {
			when = k.When.Format(time.RFC3339)
		}
		if k.Bytes == 0 {
			size = "not seen"
		}
		table.Row(k.Name, what, when, size, k.Operation, k.Reason, k.fate(now))
	}
	return table
}

// fate is when it goes, or why it stays, for people.
func (k KeptDatabase) fate(now time.Time) string {
	switch {
	case k.Goes == nil:
		return "stays: " + k.Stays
	case !k.Goes.After(now):
		return "goes with the next deployment"
	}
	return "goes after " + k.Goes.UTC().Format(time.DateOnly)
}
