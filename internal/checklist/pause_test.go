package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// serverDir is a folder that PostgreSQL, a user of its own, can look into.
func serverDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		must(t, os.Chmod(d, 0o755))
	}
	return dir
}

// withRedis is a target whose cache is a server of the test's.
func withRedis(t *testing.T) (*Target, *cache.Client) {
	t.Helper()
	redis, err := testserver.StartRedis(serverDir(t))
	must(t, err)
	t.Cleanup(redis.Stop)
	target := filed(t)
	target.Observer = report.NewPrinter(&strings.Builder{})
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Cache.URL = redis.URL(0)
	c, err := target.cache()
	must(t, err)
	t.Cleanup(func() { c.Close() })
	return target, c
}

// ran runs one step in an operation of its own and returns what it says.
func (t *Target) ran(tt *testing.T, kind string, s step.Step, o Options) (id, says string, err error) {
	tt.Helper()
	id, err = t.newID(kind)(tt.Context())
	must(tt, err)
	j, err := journal.Create(tt.Context(), t.Host, t.journalDir(), journal.Header{ID: id, Kind: kind}, t.Now)
	must(tt, err)
	op := step.NewOperation(j, t.Observer, t.Now)
	err = op.Do(tt.Context(), []step.Step{s})
	state, _ := op.Journal().Log().Step(s.String())
	return id, state.Text, err
}

const pauseKey = "etf_updates_paused"

func TestPauseAndResume(t *testing.T) {
	target, c := withRedis(t)
	in := inputs{target}
	paused := func() *cache.Pause {
		t.Helper()
		p, err := c.Paused(t.Context(), pauseKey)
		must(t, err)
		return p
	}
	first, says, err := target.ran(t, "updates:pause", pauseStep{in, "wrong\nprices"}, Options{})
	p := paused()
	if err != nil || p == nil || p.By != Whoami() || p.Reason != "wrong prices" || p.Operation != first || time.Since(p.Since) > time.Minute || !strings.Contains(says, "no update starts") {
		t.Fatalf("%+v, %q, %v", p, says, err)
	}
	if _, says, err = target.ran(t, "updates:pause", pauseStep{in, "another"}, Options{}); err != nil || !strings.Contains(says, "paused already since") || !strings.Contains(says, first+": wrong prices") {
		t.Errorf("a second time: %q, %v", says, err)
	}
	if now := paused(); !cmp.Equal(now, p) {
		t.Errorf("it was changed: %+v", now)
	}
	// A rollback by the same person takes it over, keeps since when, and says
	// why updates are still paused.
	gradual, says, err := target.ran(t, gradualKind, pauseStep{in, "repair"}, Options{})
	if now := paused(); err != nil || now.Operation != gradual || now.Reason != "repair" || !now.Since.Equal(p.Since) || !strings.HasSuffix(says, "taken over") {
		t.Errorf("taken over: %+v, %q, %v", now, says, err)
	}
	must(t, target.explainPause(t.Context(), gradual, "it failed:\n  twice"))
	if now := paused(); now.Reason != "it failed: twice" || now.Operation != gradual || now.By != Whoami() {
		t.Errorf("explained: %+v", now)
	}
	must(t, target.explainPause(t.Context(), "another-operation", "no"))
	if now := paused(); now.Reason != "it failed: twice" {
		t.Errorf("another operation's: %+v", now)
	}
	// A later try of the rollback takes it over as well, and ends it.
	second, _, err := target.ran(t, gradualKind, pauseStep{in, "repair again"}, Options{})
	if now := paused(); err != nil || now.Operation != second {
		t.Errorf("by a later try: %+v, %v", now, err)
	}
	if _, says, err = target.ran(t, "updates:resume", unpauseStep{in, true}, Options{}); err != nil || paused() != nil || !strings.Contains(says, "had been paused since") || !strings.Contains(says, "repair again") {
		t.Errorf("resumed: %q, %v", says, err)
	}
	if _, says, err = target.ran(t, "updates:resume", unpauseStep{in, true}, Options{}); err != nil || says != "updates were not paused" {
		t.Errorf("resumed again: %q, %v", says, err)
	}
}

// Somebody else's pause has a reason of its own: a rollback works under it, and
// leaves it.
func TestPauseOfSomebodyElse(t *testing.T) {
	target, c := withRedis(t)
	in := inputs{target}
	for name, p := range map[string]cache.Pause{
		"eve":  {Since: time.Now().Add(-time.Hour), By: "eve@laptop", Reason: "the source moves", Operation: "20261123T110000Z-updates-pause-aaaaaa"},
		"hand": {Raw: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.ClearPause(t.Context(), pauseKey)
			must(t, err)
			if p.Raw == "" {
				_, _, err = c.SetPause(t.Context(), pauseKey, p)
			} else {
				err = target.setByHand(t, pauseKey, p.Raw)
			}
			must(t, err)
			if _, says, err := target.ran(t, gradualKind, pauseStep{in, "repair"}, Options{}); err != nil || !strings.HasSuffix(says, "that stays") {
				t.Errorf("paused: %q, %v", says, err)
			}
			if _, says, err := target.ran(t, gradualKind, unpauseStep{in, true}, Options{}); err != nil || !strings.HasPrefix(says, "updates stay paused, not by this rollback: ") || !strings.HasSuffix(says, "`updates:resume` clears that") {
				t.Errorf("resumed: %q, %v", says, err)
			}
			if now, err := c.Paused(t.Context(), pauseKey); err != nil || now == nil || now.Reason != p.Reason || now.Raw != p.Raw {
				t.Errorf("it was changed: %+v, %v", now, err)
			}
			if _, _, err := target.ran(t, "updates:resume", unpauseStep{in, true}, Options{}); err != nil {
				t.Error(err)
			}
			if now, err := c.Paused(t.Context(), pauseKey); err != nil || now != nil {
				t.Errorf("a person's updates:resume clears any: %+v, %v", now, err)
			}
		})
	}
}

// setByHand sets a key as redis-cli does.
func (t *Target) setByHand(tt *testing.T, key, value string) error {
	conn, err := t.Host.Dial(tt.Context(), "tcp", strings.TrimSuffix(strings.SplitN(t.Config.Cache.URL, "@", 2)[1], "/0"))
	if err != nil {
		return err
	}
	defer conn.Close()
	password := strings.TrimPrefix(strings.SplitN(t.Config.Cache.URL, "@", 2)[0], "redis://:")
	if _, err := fmt.Fprintf(conn, "AUTH %s\r\nSET %s %s\r\n", password, key, value); err != nil {
		return err
	}
	answer := make([]byte, 10) // +OK\r\n, twice
	_, err = conn.Read(answer)
	return err
}

// Updates are not started again over a rollback that failed, unless by force.
func TestResumeIsRefused(t *testing.T) {
	target, c := withRedis(t)
	_, _, err := c.SetPause(t.Context(), pauseKey, cache.Pause{Since: time.Now(), By: "eve@laptop"})
	must(t, err)
	target.journaled(t, "20261123T130000Z-rollback-gradual-aaaaaa", gradualKind, gone(t), append(done("updates:pause"), rec(journal.Start, "data:restore"), journal.Record{Type: journal.Failed, Step: "data:restore", Text: "gone"},
		journal.Record{Type: journal.End, Outcome: journal.Left})...)
	_, _, err = target.ran(t, "updates:resume", unpauseStep{inputs{target}, false}, Options{})
	if ExitCode(err) != 3 || !strings.Contains(err.Error(), "updates stay paused: 20261123T130000Z-rollback-gradual-aaaaaa is not finished, at data:restore (failed): gone: `resume` goes on with it; `updates:resume -force` starts them all the same") {
		t.Errorf("exit %d: %v", ExitCode(err), err)
	}
	if p, err := c.Paused(t.Context(), pauseKey); p == nil || err != nil {
		t.Errorf("the flag is gone: %v", err)
	}
	if _, _, err = target.ran(t, "updates:resume", unpauseStep{inputs{target}, true}, Options{}); err != nil {
		t.Error(err)
	}
	if p, err := c.Paused(t.Context(), pauseKey); p != nil || err != nil {
		t.Errorf("by force: %+v, %v", p, err)
	}
}

func TestLooksAtRowsGaugeAndTransactions(t *testing.T) {
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	defer server.Stop()
	target := filed(t)
	target.Observer = report.NewPrinter(&strings.Builder{})
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL, target.Config.Database.Name = server.URL("postgres"), "postgres"
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	defer conn.Close(context.Background())
	exec := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	if _, err := target.processingRows(t.Context()); err == nil || !strings.Contains(err.Error(), "etf_updates") {
		t.Errorf("without the table: %v", err)
	}
	exec(`CREATE TABLE etf_updates (id serial PRIMARY KEY, etf_id text, status text, created_at timestamp)`)
	exec(`INSERT INTO etf_updates (etf_id, status, created_at) VALUES ('A', 'completed', '2026-11-23 09:00'), ('B', 'processing', '2026-11-23 10:00:00.5'), ('C', 'processing', NULL), ('D', 'pending', now()), ('E', 'processing', '2026-11-23 08:00')`)
	rows, err := target.processingRows(t.Context())
	want := []processingRow{{"etf_updates", "5", "E", noon.Add(-4 * time.Hour)}, {"etf_updates", "2", "B", noon.Add(-2*time.Hour + 500*time.Millisecond)}, {"etf_updates", "3", "C", time.Time{}}}
	if diff := cmp.Diff(want, rows); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
	}
	exec(`CREATE TABLE exchange_rate_updates (id int, status text); INSERT INTO exchange_rate_updates VALUES (7, 'processing')`)
	if rows, err := target.processingRows(t.Context()); err != nil || len(rows) != 4 || rows[3].name() != "exchange_rate_updates 7" {
		t.Errorf("%+v, %v", rows, err)
	}

	// Rows that are written from now on bear this number or a higher one.
	before, err := target.nextXID(t.Context(), "test")
	must(t, err)
	exec("CREATE TABLE t (x int)")
	exec("INSERT INTO t VALUES (1)")
	var xmin uint64
	must(t, conn.QueryRow(t.Context(), "SELECT xmin::text::bigint FROM t").Scan(&xmin))
	if after, err := target.nextXID(t.Context(), "test"); err != nil || xmin < before || after <= xmin {
		t.Errorf("before %d, row %d, after %d, %v", before, xmin, after, err)
	}
	comparisonOf(t, target, exec)
}

// comparisonOf reads what a comparison says of itself.
func comparisonOf(t *testing.T, target *Target, exec func(string)) {
	t.Helper()
	if _, err := target.comparisonNow(t.Context()); ExitCode(orNoComparison(err)) != 3 || !strings.Contains(orNoComparison(err).Error(), "data:inconsistencies") {
		t.Errorf("without one: %v", err)
	}
	exec("CREATE SCHEMA etf_ops; CREATE TABLE etf_ops.work_comparison (operation text, backup text, at timestamptz, snapshot pg_snapshot)")
	if _, err := target.comparisonNow(t.Context()); ExitCode(orNoComparison(err)) != 3 {
		t.Errorf("with none in the table: %v", err)
	}
	exec("INSERT INTO etf_ops.work_comparison VALUES ('op-1', '20261123T120000Z-abcdef12', '2026-11-23T12:00:00Z', pg_current_snapshot())")
	c, err := target.comparisonNow(t.Context())
	if err != nil || c.Operation != "op-1" || c.Backup != "20261123T120000Z-abcdef12" || !c.At.Equal(noon) {
		t.Errorf("%+v, %v", c, err)
	}
	// Its backup is gone.
	if _, _, err := target.ran(t, "data:restore", restoreDataStep{inputs{target}, Options{}}, Options{}); !errors.Is(err, errUntouched) || ExitCode(err) != 3 || !strings.Contains(err.Error(), c.Backup) {
		t.Errorf("of a backup that is gone: exit %d, %v", ExitCode(err), err)
	}
}

func TestActiveUpdates(t *testing.T) {
	body, code := "", http.StatusOK
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code); fmt.Fprint(w, body) }))
	defer api.Close()
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.API.URL, target.Config.API.Metrics = api.URL, "/metrics"
	for _, c := range []struct {
		body  string
		code  int
		n     float64
		blind string
	}{
		{"# TYPE etf_active_updates gauge\netf_active_updates{pid=\"1\"} 2\netf_active_updates{pid=\"2\"} 1\n", 200, 3, ""},
		{"etf_active_updates 4\n", 200, 4, ""},
		{"# TYPE etf_active_updates gauge\netf_active_updates 0\n", 200, 0, ""},
		{"up 1\n", 200, 0, "etf_active_updates is not among the metrics at /metrics"},
		{"nothing", 404, 0, "/metrics answers 404 Not Found"},
	} {
		body, code = c.body, c.code
		if n, blind := target.activeUpdates(t.Context()); n != c.n || blind != c.blind {
			t.Errorf("%q: %v, %q", c.body, n, blind)
		}
	}
	target.Config.API.Metrics = ""
	if _, blind := target.activeUpdates(t.Context()); !strings.Contains(blind, "api.metrics is empty") {
		t.Error(blind)
	}
}

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
	since := clock
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
