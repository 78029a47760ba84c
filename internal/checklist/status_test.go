package checklist

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// serversAt lets every server of a target be at these addresses.
func (t *Target) serversAt(address, socket string) {
	c := t.Config
	c.Environment = "test"
	c.Database.URL, c.Database.Name = "postgresql://etf_owner:pw-1@"+address+"/goldfinch", "goldfinch"
	c.Cache.URL, c.Cache.PauseKey = "redis://:pw-2@"+address+"/0", "etf_updates_paused"
	c.Services.Socket, c.Services.API, c.Services.Worker, c.Services.Beat = socket, "etf_api", "celery_worker", "celery_beat"
	c.Monitoring.Alertmanager = "http://" + address
	c.Timeouts.Connect, c.Thresholds.Latency = 5*time.Second, 5*time.Second
}

// backup writes the manifest of one.
func (t *Target) backup(tt *testing.T, id string, proven bool) {
	tt.Helper()
	m := &Manifest{V: ManifestVersion, ID: id, Created: t.Now().Add(-2 * time.Hour)}
	if proven {
		m.Proof.Contents = &m.Created
	}
	must(tt, os.MkdirAll(t.backupDir(id), 0o755))
	must(tt, t.writeManifest(tt.Context(), t.backupDir(id), m))
}

// Whatever does not answer, in whatever way, is named, and the rest is there
// after a second.
func TestStatusOfServersThatDoNotAnswer(t *testing.T) {
	closed, err := testserver.Port()
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	socket := filepath.Join(t.TempDir(), "silent.sock")
	mute, err := net.Listen("unix", socket)
	must(t, err)
	defer mute.Close()
	for name, at := range map[string][2]string{
		"closed": {fmt.Sprint("127.0.0.1:", closed), filepath.Join(t.TempDir(), "none.sock")},
		"silent": {silent.Addr().String(), socket},
	} {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			target.serversAt(at[0], at[1])
			target.journaled(t, "20261123T120000Z-deploy-aaaaaa", "deploy", gone(t), journal.Record{Type: journal.End, Outcome: journal.Succeeded})
			target.backup(t, "20261123T120000Z-abcdef12", true)
			began := time.Now()
			s := target.Status(t.Context())
			if d := time.Since(began); d > 1200*time.Millisecond {
				t.Errorf("it took %v", d)
			}
			var unseen []string
			for _, u := range s.Unseen {
				name, _, _ := strings.Cut(u, ":")
				unseen = append(unseen, name)
			}
			if !slices.Equal(unseen, []string{"alerts", "database", "kept databases", "pause flag", "processes"}) {
				t.Errorf("not seen: %q", s.Unseen)
			}
			if s.Live == nil || s.Live.ID != liveID || s.Activated.By != "eve@laptop" || s.Operation == nil || s.GoodBackup == nil || s.LeaseState != lease.Free || s.Database != unknownHead {
				t.Errorf("the rest: %+v", s)
			}
			text := asText(t, s)
			for _, part := range []string{"by eve@laptop", "0003 in the code, not seen in the database", "updates      not seen", "alerts       not seen", "pre:connections", "2 h 00 min old"} {
				if !strings.Contains(text, part) {
					t.Errorf("the text does not say %q:\n%s", part, text)
				}
			}
			if b, _ := json.Marshal(s); strings.Contains(string(b)+text, "pw-1") || strings.Contains(string(b)+text, "pw-2") {
				t.Error("a password is shown")
			}
		})
	}
}

// asText is the status for people, no line of which is broken by a window of
// a hundred columns.
func asText(t *testing.T, s *Status) string {
	t.Helper()
	var b strings.Builder
	must(t, s.Text(&b, s.At))
	for line := range strings.Lines(b.String()) {
		if words := strings.Fields(line); len([]rune(line)) > 101 && len(words) > 2 {
			t.Errorf("a line of %d columns: %s", len([]rune(line)), line)
		}
	}
	return b.String()
}

// deaf is a machine one of whose folders never answers, also not at the end of
// the context, as a file system of a server that is gone.
type deaf struct {
	host.Local
	folder string
	until  chan struct{}
}

func (d deaf) List(ctx context.Context, folder string) ([]string, error) {
	if folder == d.folder {
		<-d.until
	}
	return d.Local.List(ctx, folder)
}

func TestStatusDoesNotWaitForAFileSystem(t *testing.T) {
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	until := make(chan struct{})
	defer close(until)
	target.Host = deaf{folder: filepath.Join(target.Config.Root, "backups"), until: until}
	began := time.Now()
	s := target.Status(t.Context())
	if d := time.Since(began); d > 1200*time.Millisecond || !slices.Contains(s.Unseen, "backups: no answer within a second") {
		t.Errorf("after %v: %q", d, s.Unseen)
	}
	if text := asText(t, s); !strings.Contains(text, "good backup  not seen") {
		t.Error(text)
	}
}

func TestStatusOfDamagedFiles(t *testing.T) {
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.backup(t, "20261123T120000Z-abcdef12", false)
	target.backup(t, "20261122T120000Z-abcdef12", true)
	target.backup(t, "20261121T120000Z-abcdef12", true)
	s := target.Status(t.Context())
	if s.Backup.ID != "20261123T120000Z-abcdef12" || s.GoodBackup == nil || s.GoodBackup.ID != "20261122T120000Z-abcdef12" || len(s.Damaged) > 0 {
		t.Fatalf("backups: %+v, good %+v, damaged %q", s.Backup, s.GoodBackup, s.Damaged)
	}
	if text := asText(t, s); !strings.Contains(text, "good backup  20261122T120000Z-abcdef12") || !strings.Contains(text, "20261123T120000Z-abcdef12, is not proven") {
		t.Error(text)
	}
	must(t, os.WriteFile(filepath.Join(target.backupDir("20261121T120000Z-abcdef12"), "manifest.json"), []byte("{"), 0o600))
	must(t, os.MkdirAll(target.journalDir(), 0o700))
	damaged := filepath.Join(target.journalDir(), "20261123T110000Z-deploy-cccccc.jsonl")
	must(t, os.WriteFile(damaged, []byte("rubbish\nmore\n"), 0o600))
	target.journaled(t, operation, "deploy", gone(t), rec(journal.Start, "release:fetch"))
	wrongs["dangling current"].do(t, target)
	before := contents(t, target.Config.Root)
	s = target.Status(t.Context())
	if len(s.Damaged) != 2 || len(s.blocked) != 1 || !strings.Contains(strings.Join(s.Damaged, "\n"), damaged) {
		t.Errorf("damaged: %q, blocked: %q", s.Damaged, s.blocked)
	}
	if !strings.HasPrefix(s.Next, "mend this, then `status` again (and 2 more above)") || s.Operation == nil || s.Operation.Outcome != "interrupted" {
		t.Errorf("next: %s, operation %+v", s.Next, s.Operation)
	}
	for _, u := range s.Unseen {
		if strings.HasPrefix(u, "releases") {
			t.Errorf("said twice: %s", u)
		}
	}
	if text := asText(t, s); !strings.Contains(text, "releases/"+liveID+", of which the records say nothing") || !strings.Contains(text, "damaged      reading the journal") {
		t.Error(text)
	}
	if after := contents(t, target.Config.Root); len(after) != len(before) {
		t.Error("something was changed")
	}
}

func TestStatusAsksTheServers(t *testing.T) {
	redis, err := testserver.StartRedis(t.TempDir())
	must(t, err)
	defer redis.Stop()
	target, conn := onPostgres(t)
	target.Config.Cache.URL = redis.URL(0)
	target.Config.Retention.Kept = 30 * 24 * time.Hour
	target.Now = func() time.Time { return time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC) }
	for _, sql := range []string{"CREATE DATABASE goldfinch_kept", "COMMENT ON DATABASE goldfinch_kept IS 'etf-deploy kept database: replaced 2026-11-23T01:02:03Z by op-7: a test'"} {
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	c, err := target.cache()
	must(t, err)
	defer c.Close()
	_, _, err = c.SetPause(t.Context(), "etf_updates_paused", cache.Pause{Since: time.Now().Add(-time.Hour), By: "eve@laptop", Reason: "wrong prices"})
	must(t, err)
	s := target.Status(t.Context())
	if s.Database != "" || s.Pause == nil || s.Pause.By != "eve@laptop" || len(s.Kept) != 1 || s.Kept[0].Operation != "op-7" {
		t.Fatalf("got %+v", s)
	}
	text := asText(t, s)
	for _, part := range []string{"PAUSED since ", "by eve@laptop: wrong prices", "1 database, ", "goldfinch_kept (goes after 2026-12-23); backup:list says why", "0003 in the code, none in the database"} {
		if !strings.Contains(text, part) {
			t.Errorf("the text does not say %q:\n%s", part, text)
		}
	}
	keptAreListed(t, target)
	// A swap that was cut off has closed the live database.
	_, err = conn.Exec(t.Context(), "ALTER DATABASE goldfinch ALLOW_CONNECTIONS false")
	must(t, err)
	if s := target.Status(t.Context()); len(s.Kept) != 1 || s.Database != unknownHead {
		t.Errorf("with the live database closed: %+v", s)
	}
}

func keptAreListed(t *testing.T, target *Target) {
	t.Helper()
	var text, asJSON strings.Builder
	must(t, target.WriteBackups(t.Context(), &text, false))
	must(t, target.WriteBackups(t.Context(), &asJSON, true))
	var got struct {
		Version       int
		Backups, Kept []json.RawMessage
	}
	must(t, json.Unmarshal([]byte(asJSON.String()), &got))
	if got.Version != 1 || len(got.Kept) != 1 || !strings.Contains(text.String(), "goldfinch_kept") || !strings.Contains(text.String(), "a test") {
		t.Errorf("backup:list:\n%s%s", text.String(), asJSON.String())
	}
}

func TestWrapped(t *testing.T) {
	got := wrapped("run `resume -undo` then\nlook (3"+string(noBreak)+"min)", 14)
	if want := []string{"run", "`resume -undo`", "then look", "(3 min)"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
