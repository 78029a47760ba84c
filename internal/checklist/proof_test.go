package checklist

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// onPostgres is a target with a database on a server of its own, and a
// superuser's session at that server.
func onPostgres(t *testing.T) (*Target, *pgx.Conn) {
	t.Helper()
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) { // PostgreSQL runs as a user of its own
		must(t, os.Chmod(d, 0o755))
	}
	server, err := testserver.StartPostgres(dir)
	must(t, err)
	t.Cleanup(server.Stop)
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL = server.URL("goldfinch")
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "CREATE DATABASE goldfinch")
	must(t, err)
	return target, conn
}

// realBackup makes one of the target's database.
func (t *Target) realBackup(tt *testing.T, id string) {
	tt.Helper()
	u, err := t.databaseURL()
	must(tt, err)
	must(tt, os.MkdirAll(t.backupDir(id), 0o755))
	m := &Manifest{V: ManifestVersion, ID: id, Created: t.Now(), Env: EnvCopy{File: ".env", Bytes: 4}}
	must(tt, os.WriteFile(filepath.Join(t.backupDir(id), ".env"), []byte("A=b\n"), 0o600))
	m.Database, err = postgres.Dump(tt.Context(), t.Host, postgres.DumpOptions{URL: u, File: filepath.Join(t.backupDir(id), dumpFile), ApplicationName: "test"})
	must(tt, err)
	must(tt, t.writeManifest(tt.Context(), t.backupDir(id), m))
}

// A fullHost has no room on any disk.
type fullHost struct{ host.Local }

func (fullHost) FreeBytes(context.Context, string) (int64, error) { return 1 << 20, nil }

func TestVerifyBackupByRestoring(t *testing.T) {
	target, admin := onPostgres(t)
	var shown strings.Builder
	target.Observer = report.NewPrinter(&shown)
	live, err := target.connect(t.Context(), "test")
	must(t, err)
	defer live.Close(t.Context())
	_, err = live.Exec(t.Context(), "CREATE TABLE etfs AS SELECT i AS id FROM generate_series(1, 1000) i")
	must(t, err)
	const id = "20261123T120000Z-abcdef12"
	target.realBackup(t, id)
	proven := func(restored bool) {
		t.Helper()
		m, err := target.Manifest(t.Context(), id)
		must(t, err)
		if m.Proof.Contents == nil || (m.Proof.Restored != nil) != restored {
			t.Errorf("proof: %+v", m.Proof)
		}
		var databases int
		must(t, admin.QueryRow(t.Context(), "SELECT count(*) FROM pg_database WHERE datname LIKE 'goldfinch%'").Scan(&databases))
		if databases != 1 {
			t.Errorf("%d databases are there", databases)
		}
	}
	_, err = target.VerifyBackup(t.Context(), "", BackupCheck{})
	must(t, err)
	proven(false)
	var text strings.Builder
	must(t, target.WriteVerifiedBackup(t.Context(), &text, "", true, false))
	proven(true)
	if !strings.Contains(text.String(), id+" is good") || !strings.Contains(shown.String(), "proven: contents 20") || !strings.Contains(shown.String(), ", restored 20") {
		t.Errorf("text %s\nshown %s", text.String(), shown.String())
	}
	target.Host = fullHost{}
	_, err = target.VerifyBackup(t.Context(), id, BackupCheck{Restore: true})
	if !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "no room for a second database") {
		t.Errorf("without room: %v", err)
	}
	proven(true) // that the disk is full is no fault of the backup
	target.Host = host.Local{}
	m, err := target.Manifest(t.Context(), id)
	must(t, err)
	m.Database.Schema = strings.Repeat("0", 64)
	must(t, target.writeManifest(t.Context(), target.backupDir(id), m))
	_, err = target.VerifyBackup(t.Context(), id, BackupCheck{Restore: true})
	if !errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), "schema") {
		t.Errorf("with another schema than the manifest says: %v", err)
	}
	proven(false)
	must(t, os.Truncate(filepath.Join(target.backupDir(id), dumpFile), 100))
	if err := target.WriteVerifiedBackup(t.Context(), &text, id, false, false); !errors.Is(err, step.ErrFault) {
		t.Errorf("truncated: %v", err)
	}
	if m, _ := target.Manifest(t.Context(), id); m.Proof != (Proof{}) {
		t.Errorf("a truncated backup is proven: %+v", m.Proof)
	}
}

// The list shows how far each backup was proven, and names those that do not
// count.
func TestListOfBackups(t *testing.T) {
	target, _ := onPostgres(t)
	now := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	target.Now = func() time.Time { return now }
	target.backup(t, "20261123T120000Z-aaaaaaaa", true)
	target.backup(t, "20261122T120000Z-bbbbbbbb", false)
	target.backup(t, "20261121T120000Z-cccccccc", true)
	restored := now.Add(-time.Hour)
	_, err := target.writeProof(t.Context(), "20261123T120000Z-aaaaaaaa", Proof{Contents: &now, Restored: &restored})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(target.backupDir("20261121T120000Z-cccccccc"), "manifest.json"), []byte("{"), 0o600))
	must(t, os.Mkdir(target.backupDir("20261120T120000Z-dddddddd"), 0o755))
	var text strings.Builder
	err = target.WriteBackups(t.Context(), &text, false)
	for _, want := range []string{"20261121T120000Z-cccccccc/manifest.json: damaged", "20261120T120000Z-dddddddd has no manifest.json"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if ExitCode(err) != 1 {
		t.Errorf("exit code %d", ExitCode(err))
	}
	for _, want := range []string{"2 h 00 min", "contents 2026-11-23T15:00:00Z, restored 2026-11-23T14:00:00Z", "20261122T120000Z-bbbbbbbb"} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("the list does not say %q:\n%s", want, text.String())
		}
	}
}
