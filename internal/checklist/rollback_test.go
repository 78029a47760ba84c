package checklist

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/alembic"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// hour is a time of the evening and night in which releases were deployed.
func hour(n int) *time.Time {
	at := time.Date(2026, 11, 22, n, 0, 0, 0, time.UTC)
	return &at
}

// put records a release under a name of one letter.
func (t *Target) put(tt *testing.T, letter string, state release.State, activated *time.Time, head string) release.Release {
	tt.Helper()
	r := release.Release{
		ID: "20261122T000000Z-" + strings.Repeat(letter, 8), Commit: strings.Repeat(letter, 40), State: state, Activated: activated, Head: head,
	}
	must(tt, t.Releases.Put(tt.Context(), r))
	must(tt, os.MkdirAll(t.Releases.Dir(r.ID), 0o755))
	return r
}

func TestChooseRelease(t *testing.T) {
	target := filed(t)
	target.Observer = quiet{}
	must(t, target.Releases.Remove(t.Context(), olderID))
	target.put(t, "a", release.Verified, hour(10), "0001")
	target.put(t, "b", release.Verified, hour(22), "0002") // the last before midnight
	target.put(t, "c", release.RolledBack, hour(23), "0003")
	target.put(t, "d", release.Failed, hour(24), "0003")
	target.put(t, "e", release.Installed, nil, "0003")
	gone := target.put(t, "f", release.Verified, hour(25), "0003")
	must(t, os.RemoveAll(target.Releases.Dir(gone.ID)))
	for _, c := range []struct{ to, want, says string }{
		{to: "", want: "bbbbbbbb"},
		{to: "aaaaaaaa", want: "aaaaaaaa"},
		{to: "20261122T000000Z-aaaaaaaa", want: "aaaaaaaa"},
		{to: "cccccccc", says: "is rolled-back: only verified ones"},
		{to: "dddddddd", says: "is failed: only verified ones"},
		{to: "eeeeeeee", says: "is installed: only verified ones"},
		{to: "aaaa", says: `there is no release "aaaa"`},
		{to: "", want: "bbbbbbbb"},
		{to: liveID, says: "is the live one"},
		{to: liveID[17:], says: "is the live one"},
	} {
		p := &RollbackPlan{}
		err := target.chooseRelease(t.Context(), p, c.to)
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%q: %v", c.to, err)
		case c.says == "" && !strings.HasSuffix(p.To.ID, c.want):
			t.Errorf("%q: chose %s, want %s", c.to, p.To.ID, c.want)
		case c.says != "" && (!errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %v, want usage, %q", c.to, err, c.says)
		}
		if len(p.Candidates) != 2 || p.Candidates[0].Commit[0] != 'b' {
			t.Errorf("candidates: %+v", p.Candidates)
		}
	}
}

func TestNoCandidate(t *testing.T) {
	target := filed(t)
	target.Observer = quiet{}
	must(t, target.Releases.Remove(t.Context(), olderID))
	err := target.chooseRelease(t.Context(), &RollbackPlan{}, "")
	if !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "no verified release besides the live one") {
		t.Error(err)
	}
	must(t, target.Releases.ClearCurrent(t.Context()))
	if err := target.chooseRelease(t.Context(), &RollbackPlan{}, ""); !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "no release is live") {
		t.Error(err)
	}
}

// The backup to go back to is the newest that was taken while the release was
// live: later ones hold what the newer release has written.
func TestBackupFor(t *testing.T) {
	target := filed(t)
	to := target.put(t, "b", release.Verified, hour(22), "0002")
	write := func(id, of, head string, good bool) {
		t.Helper()
		m := &Manifest{V: ManifestVersion, ID: id, Release: of, Database: postgres.DumpInfo{AlembicHeads: []string{head}}}
		if good {
			m.Proof.Contents = hour(1)
		}
		must(t, os.MkdirAll(target.backupDir(id), 0o755))
		must(t, target.writeManifest(t.Context(), target.backupDir(id), m))
	}
	if m, err := target.backupFor(t.Context(), to, ""); m != nil || err != nil {
		t.Errorf("without any: %v, %v", m, err)
	}
	write("20261122T230000Z-bbbbbbbb", to.ID, "0002", true)
	write("20261122T235959Z-bbbbbbbb", to.ID, "0002", true) // when the next one was deployed, before midnight
	write("20261123T001000Z-bbbbbbbb", to.ID, "0002", false)
	write("20261123T002000Z-bbbbbbbb", to.ID, "0003", true)  // its database was at another head
	write("20261123T003000Z-abcdef12", liveID, "0002", true) // with what the newer release wrote
	if m, err := target.backupFor(t.Context(), to, ""); err != nil || m.ID != "20261122T235959Z-bbbbbbbb" {
		t.Errorf("%+v, %v", m, err)
	}
	if m, err := target.backupFor(t.Context(), to, "20261122T230000Z-bbbbbbbb"); err != nil || m.ID != "20261122T230000Z-bbbbbbbb" {
		t.Errorf("%+v, %v", m, err)
	}
	for id, want := range map[string]error{"20261123T001000Z-bbbbbbbb": step.ErrFault, "20261123T111111Z-bbbbbbbb": ErrUsage, "nonsense": ErrUsage} {
		if _, err := target.backupFor(t.Context(), to, id); !errors.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
}

func TestCheckRollback(t *testing.T) {
	if err := CheckRollback(Options{To: "abcdef12", Path: WayCode, Backup: "20261122T230000Z-bbbbbbbb", Carry: CarryAll}); err != nil {
		t.Error(err)
	}
	err := CheckRollback(Options{To: "-rf", Path: "back", Backup: "../x", Carry: "some"})
	for _, want := range []string{`-to="-rf"`, `-path="back"`, `-backup="../x"`, `-carry="some"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	if !errors.Is(err, ErrUsage) {
		t.Error(err)
	}
}

func TestAgainstRestore(t *testing.T) {
	target := filed(t)
	target.Config.Database.Name = "goldfinch"
	good := func() *RollbackPlan {
		m := &Manifest{ID: "20261122T230000Z-bbbbbbbb", Database: postgres.DumpInfo{AlembicHeads: []string{"0002"}, Database: "goldfinch"}}
		return &RollbackPlan{To: release.Release{ID: "x", Head: "0002"}, Backup: m}
	}
	must(t, os.MkdirAll(target.backupDir("20261122T230000Z-bbbbbbbb"), 0o755))
	must(t, os.WriteFile(target.dumpOf(good().Backup), nil, 0o600))
	for want, spoil := range map[string]func(*RollbackPlan){
		"there is no proven backup":    func(p *RollbackPlan) { p.Backup = nil },
		"is at 0001, release x wants":  func(p *RollbackPlan) { p.Backup.Database.AlembicHeads = []string{"0001"} },
		"is of database other, not of": func(p *RollbackPlan) { p.Backup.Database.Database = "other" },
		"is not there":                 func(p *RollbackPlan) { p.Backup.ID = "20261122T230001Z-bbbbbbbb" },
	} {
		p := good()
		spoil(p)
		why, err := target.against(t.Context(), p, WayRestore)
		if err != nil || !strings.Contains(why, want) {
			t.Errorf("%q, %v, want %q", why, err, want)
		}
	}
}

// What a column holds besides its default would be lost with it.
func TestHoldsData(t *testing.T) {
	dir, err := os.MkdirTemp("", "rollback")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	server, err := testserver.StartPostgres(dir)
	must(t, err)
	t.Cleanup(server.Stop)
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	defer conn.Close(t.Context())
	_, err = conn.PgConn().Exec(t.Context(), `CREATE TABLE public.t (id int, empty text, full_one text, source text NOT NULL DEFAULT 'yfinance',
		other text NOT NULL DEFAULT 'yfinance', adjusted bool NOT NULL DEFAULT false, made timestamptz DEFAULT now(),
		twice int GENERATED ALWAYS AS (id * 2) STORED, nothing int DEFAULT 7,
		notes json NOT NULL DEFAULT '{}', tags json NOT NULL DEFAULT '[]', cost numeric(8,2) NOT NULL DEFAULT 0);
		INSERT INTO t (id, full_one, other, nothing) VALUES (1, NULL, 'yfinance', 7), (2, 'x', 'manual', NULL); UPDATE t SET tags = '["a"]' WHERE id = 2;
		CREATE TABLE "Has Case" ("A b" int); CREATE TABLE filled AS SELECT 1 AS x`).ReadAll()
	must(t, err)
	for d, want := range map[alembic.Drop]bool{
		{Table: "t", Column: "empty"}:           false,
		{Table: "public.t", Column: "full_one"}: true,
		{Table: "t", Column: "source"}:          false,
		{Table: "t", Column: "other"}:           true,
		{Table: "t", Column: "adjusted"}:        false,
		{Table: "t", Column: "made"}:            true, // whenever it was
		{Table: "t", Column: "twice"}:           false,
		{Table: "t", Column: "nothing"}:         true, // NULL is not its default
		{Table: "t", Column: "notes"}:           false,
		{Table: "t", Column: "tags"}:            true,
		{Table: "t", Column: "cost"}:            false,
		{Table: "t", Column: "never_was"}:       false,
		{Table: "never_was"}:                    false,
		{Table: "Has Case"}:                     false,
		{Table: "Has Case", Column: "A b"}:      false,
		{Table: "filled"}:                       true,
	} {
		if got, err := holdsData(t.Context(), conn, d); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", d, got, err, want)
		}
	}
}

// A rollback that cannot end well does not begin.
func TestServersAnswer(t *testing.T) {
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	warned := func(context.Context, *Target) report.Finding { return warn("broker", "slow", "") }
	must(t, target.serversAnswer(t.Context(), warned))
	err := target.serversAnswer(t.Context(), warned, lookRedis)
	if !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "nothing was stopped: Redis: ") || strings.Contains(err.Error(), "slow") || strings.Contains(err.Error(), "pw-2") {
		t.Error(err)
	}
}

// Who goes on with a rollback writes into the database that somebody else has
// restored, whose fence has the token of that lease.
func TestFenceOfTheSideDatabase(t *testing.T) {
	target, admin := onPostgres(t)
	_, err := admin.Exec(t.Context(), "CREATE DATABASE goldfinch_side_1")
	must(t, err)
	u, err := target.databaseURL()
	must(t, err)
	side, err := postgres.Connect(t.Context(), target.Host, u.WithDatabase("goldfinch_side_1"), "test")
	must(t, err)
	defer side.Close(t.Context())
	must(t, postgres.EnsureOps(t.Context(), side))
	must(t, postgres.TakeFence(t.Context(), side, 6, "op-1"))
	op := target.noted(t, rollbackKind, nil)
	must(t, op.Journal().Append(t.Context(), journal.Record{Type: journal.HandOver, Token: 7}))
	names := restoreNames{Side: "goldfinch_side_1"}
	must(t, target.fenceSide(t.Context(), &step.Run{Operation: op}, names))
	must(t, postgres.WithFence(t.Context(), side, 7, func(pgx.Tx) error { return nil }))
	if err := postgres.WithFence(t.Context(), side, 6, func(pgx.Tx) error { return nil }); !errors.Is(err, postgres.ErrFenced) {
		t.Errorf("who was taken over may go on writing: %v", err)
	}
}

// quiet observes nothing.
type quiet struct{}

func (quiet) Started(string)                                  {}
func (quiet) Progress(string, int64, int64, string)           {}
func (quiet) Finished(_, _ string, _ time.Duration, _ string) {}
func (quiet) Log(string, string)                              {}
