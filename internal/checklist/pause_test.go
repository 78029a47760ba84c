package checklist

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
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
