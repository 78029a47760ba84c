package checklist

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

func TestFates(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	old, fresh := now.Add(-40*24*time.Hour), now.Add(-2*time.Hour)
	for name, test := range map[string]struct {
		database postgres.KeptDatabase
		want     string
	}{
		"kept for long":            {postgres.KeptDatabase{Name: "etf_kept_1", When: old}, "goes with the next deployment"},
		"restored, and left":       {postgres.KeptDatabase{Name: "etf_left_1", When: old}, "goes with the next deployment"},
		"kept since today":         {postgres.KeptDatabase{Name: "etf_kept_1", When: fresh}, "goes after 2026-12-23"},
		"kept, since nobody knows": {postgres.KeptDatabase{Name: "etf_kept_1"}, "stays: its comment does not say since when it is there"},
		"in use":                   {postgres.KeptDatabase{Name: "etf_kept_1", When: old, InUse: true}, "stays: sessions are open in it"},
		"needed":                   {postgres.KeptDatabase{Name: "etf_kept_needed", When: old}, "stays: an unfinished operation needs it"},
		"side, needed":             {postgres.KeptDatabase{Name: "etf_side_needed", When: old, Side: true, Complete: true}, "stays: an unfinished operation needs it"},
		"side, complete":           {postgres.KeptDatabase{Name: "etf_side_1", When: fresh, Side: true, Complete: true}, "goes with the next deployment"},
		"side, half done, today":   {postgres.KeptDatabase{Name: "etf_side_1", When: fresh, Side: true}, "goes after 2026-11-24"},
		"side, half done, old":     {postgres.KeptDatabase{Name: "etf_proof", When: old, Side: true}, "goes with the next deployment"},
		"another environment's":    {postgres.KeptDatabase{Name: "etf_staging_side_1", When: old, Side: true, Complete: true}, "stays: it does not belong to etf"},
		"a stranger's":             {postgres.KeptDatabase{Name: "other_kept_1", When: old}, "stays: it does not belong to etf"},
	} {
		got := fates([]postgres.KeptDatabase{test.database}, "etf", 30*24*time.Hour, []string{"etf_kept_needed", "etf_side_needed"})
		if len(got) != 1 || got[0].fate(now) != test.want {
			t.Errorf("%s: %q, not %q", name, got[0].fate(now), test.want)
		}
	}
}

// The end of a deployment drops the databases whose time has come, and no other.
func TestCleanDropsKeptDatabases(t *testing.T) {
	target, admin := onPostgres(t)
	target.Config.Retention.Kept = 48 * time.Hour
	var shown strings.Builder
	target.Observer = report.NewPrinter(&shown)
	const kept, side = "etf-deploy kept database: replaced %s by op-1: a test", "etf-deploy side database: complete since %s, of database.dump (sha256 0123456789abcdef), by op-1"
	old, fresh := time.Now().Add(-72*time.Hour).Format(time.RFC3339), time.Now().Add(-time.Hour).Format(time.RFC3339)
	for name, comment := range map[string]string{
		"goldfinch_kept_old":           fmt.Sprintf(kept, old),
		"goldfinch_kept_fresh":         fmt.Sprintf(kept, fresh),
		"goldfinch_kept_used":          fmt.Sprintf(kept, old),
		"goldfinch_kept_by_hand":       "from somebody",
		"goldfinch_kept_needed":        fmt.Sprintf(kept, old),
		"goldfinch_side_complete":      fmt.Sprintf(side, fresh),
		"goldfinch_staging_side_other": fmt.Sprintf(side, old),
	} {
		for _, sql := range []string{"CREATE DATABASE " + name, "COMMENT ON DATABASE " + name + " IS '" + comment + "'"} {
			_, err := admin.Exec(t.Context(), sql)
			must(t, err)
		}
	}
	u, err := target.databaseURL()
	must(t, err)
	user, err := postgres.Connect(t.Context(), host.Local{}, u.WithDatabase("goldfinch_kept_used"), "somebody")
	must(t, err)
	defer user.Close(t.Context())
	names, err := json.Marshal(restoreNames{Side: "goldfinch_side_none", Kept: "goldfinch_kept_needed"})
	must(t, err)
	target.journaled(t, operation, "deploy", gone(t), journal.Record{Type: journal.Note, Key: factRestore, Value: names})
	j, err := journal.Create(t.Context(), target.Host, target.journalDir(), journal.Header{ID: "20261123T130000Z-deploy-bbbbbb", Kind: "deploy"}, time.Now)
	must(t, err)
	must(t, target.Host.Mkdir(t.Context(), target.backupDir(""), 0o700))
	run := &step.Run{Operation: step.NewOperation(j, target.Observer, time.Now)}
	must(t, cleanStep{inputs{target}}.Run(t.Context(), run))
	rows, _ := admin.Query(t.Context(), "SELECT datname FROM pg_database WHERE datname LIKE 'goldfinch%' ORDER BY 1")
	left, err := pgx.CollectRows(rows, pgx.RowTo[string])
	must(t, err)
	want := []string{"goldfinch", "goldfinch_kept_by_hand", "goldfinch_kept_fresh", "goldfinch_kept_needed", "goldfinch_kept_used", "goldfinch_staging_side_other"}
	if !slices.Equal(left, want) || !strings.Contains(shown.String(), "dropped goldfinch_kept_old: a test") {
		t.Errorf("left: %q\n%s", left, shown.String())
	}
	// Who cannot read what is needed drops nothing.
	target.journaled(t, "20261123T140000Z-deploy-cccccc", "deploy", gone(t), journal.Record{Type: journal.Note, Key: factRestore, Value: json.RawMessage("7")})
	must(t, user.Close(t.Context()))
	if n := target.dropSpent(t.Context(), run); n != 0 {
		t.Errorf("%d databases were dropped", n)
	}
}
