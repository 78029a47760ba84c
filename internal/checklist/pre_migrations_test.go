package checklist

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// migrated is a target with real migrations in its releases, on a real server.
func migrated(t *testing.T) (*Target, *pgx.Conn) {
	t.Helper()
	target, _ := onPostgres(t)
	python, err := testserver.Venv(t.TempDir(), "alembic>=1.14,<2", "SQLAlchemy>=2,<3", "psycopg[binary]>=3,<4")
	must(t, err)
	for _, id := range []string{olderID, liveID} {
		must(t, os.CopyFS(target.backend(id), os.DirFS("../alembic/testdata/project")))
		must(t, os.Symlink(filepath.Dir(filepath.Dir(python)), filepath.Join(target.Releases.Dir(id), ".venv")))
	}
	conn, err := target.connect(t.Context(), "test")
	must(t, err)
	t.Cleanup(func() { conn.Close(t.Context()) })
	target.Config.Thresholds.LargeTable, target.Config.Timeouts.Check = 100_000, time.Minute
	return target, conn
}

// migration adds one to the live release; an empty text takes it away.
func (t *Target) migration(tt *testing.T, name, revision, down, body string) {
	tt.Helper()
	file := filepath.Join(t.backend(liveID), "migrations/versions", name)
	must(tt, os.WriteFile(file, fmt.Appendf(nil, "\"\"\"title of %s\"\"\"\nfrom alembic import op\nrevision = %q\ndown_revision = %s\n%s\n", revision, revision, down, body), 0o600))
}

func byKey(findings []report.Finding) map[string]report.Finding {
	m := map[string]report.Finding{}
	for _, f := range findings {
		m[f.Key] = f
	}
	return m
}

func (t *Target) looksAt(tt *testing.T, c Check, s Subject) map[string]report.Finding {
	tt.Helper()
	return byKey(c.Run(tt.Context(), t, s))
}

// says fails unless the finding has the status and says all of these.
func says(t *testing.T, f report.Finding, status report.Status, parts ...string) {
	t.Helper()
	text := f.Looked + ": " + f.Found + " – " + f.Do
	if f.Status != status || f.Key == "" {
		t.Errorf("%s (key %q), want %s: %s", f.Status, f.Key, status, text)
	}
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("it does not say %q: %s", part, text)
		}
	}
}

func TestPreMigrations(t *testing.T) {
	target, conn := migrated(t)
	exec := func(sql string) {
		t.Helper()
		_, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
		must(t, err)
	}
	live, err := target.Releases.Current(t.Context())
	must(t, err)
	coming := Subject{Release: live}
	look := func(s Subject) map[string]report.Finding { t.Helper(); return target.looksAt(t, checkMigrations, s) }

	says(t, look(Subject{})["revision"], report.Warning, "the database is at none")
	f := look(coming)
	says(t, f["revision"], report.OK, "3 pending, none → 0003", "with the API stopped", "0002 a note for each")
	if f["revision"].Counts["pending"] != 3 || len(f) != 4 {
		t.Errorf("%+v", f)
	}
	exec("CREATE TABLE etfs (id varchar PRIMARY KEY, note varchar); CREATE TABLE prices (id int, note varchar(9)); INSERT INTO prices SELECT i, '' FROM generate_series(1, 9999) i; ANALYZE")
	says(t, look(coming)["revision"], report.Fault, "it is not there", "2 tables", "alembic stamp")
	exec("CREATE SCHEMA aside; CREATE TABLE aside.alembic_version (version_num varchar(32))")
	says(t, look(coming)["revision"], report.Fault, "schema aside", "search_path")
	exec("DROP SCHEMA aside CASCADE; CREATE TABLE alembic_version (version_num varchar(32))")
	says(t, look(Subject{})["revision"], report.Fault, "it is empty")
	exec("INSERT INTO alembic_version VALUES ('0003')")
	says(t, look(coming)["revision"], report.OK, "none pending, the database is at 0003")

	target.migration(t, "a.py", "0004", `"0003"`, "def upgrade():\n    op.execute('ALTER TABLE prices ALTER note TYPE text')\n    op.execute('CREATE INDEX i ON etfs (note)')\ndef downgrade(): op.execute('DROP INDEX i')")
	target.migration(t, "b.py", "0005", `"0004"`, "def upgrade(): op.execute('ALTER TABLE prices ALTER id TYPE bigint')\ndef downgrade(): pass")
	target.migration(t, "c.py", "0006", `"0005"`, "def upgrade(): op.get_bind().execute('SELECT 1').scalar()\ndef downgrade(): raise NotImplementedError()")
	f = look(coming)
	says(t, f["revision"], report.OK, "3 pending, 0003 → 0006")
	says(t, f["0004"], report.OK, "title of 0004", "can be taken back", "index on etfs", "nobody writes")
	says(t, f["0005"], report.Warning, "its downgrade does nothing", "large: rewrite on prices (", "nobody reads or writes", "instead of: ALTER TABLE prices ALTER id TYPE bigint")
	says(t, f["0006"], report.Warning, "cannot be taken back: its downgrade refuses", "could not be judged: offline mode ends with", "AttributeError")
	if c := f["0005"].Counts; c["large"] != 1 || c["locks"] != 1 || c["reversible"] != 0 || c["bytes"] < 300_000 || len(f["0005"].Samples) != 1 || f["0006"].Counts["judged"] != 0 {
		t.Errorf("%+v", f)
	}
	says(t, look(Subject{Release: live, Live: live})["revision"], report.Warning, "older schema than its own")
	var shown strings.Builder
	withSQL := byKey(Checks{checkMigrations}.WithSQL(&shown)[0].Run(t.Context(), target, coming))
	if !strings.Contains(withSQL["0005"].SQL, "TYPE bigint") || !strings.Contains(shown.String(), "-- Migration 0004 title of 0004") || !strings.Contains(shown.String(), "-- cannot be written beforehand: AttributeError") {
		t.Errorf("%+v\n%s", withSQL, shown.String())
	}
	branches(t, target, exec, look, coming)
	unknownRevision(t, target, exec, look, coming)
}

func branches(t *testing.T, target *Target, exec func(string), look func(Subject) map[string]report.Finding, coming Subject) {
	t.Helper()
	target.migration(t, "d.py", "0004b", `"0003"`, "def upgrade(): pass\ndef downgrade(): pass")
	says(t, look(coming)["heads"], report.Fault, "2 heads: 0004b, 0006", "alembic merge")
	target.migration(t, "e.py", "0007", `("0006", "0004b")`, "def upgrade(): pass\ndef downgrade(): pass")
	exec("UPDATE alembic_version SET version_num = '0006'; INSERT INTO alembic_version VALUES ('0004b')")
	says(t, look(coming)["revision"], report.Warning, "2 revisions at once: 0004b, 0006", "0007 title of 0007")
	says(t, look(Subject{Release: coming.Release, Live: coming.Release})["revision"], report.Fault, "2 revisions at once")
	exec("INSERT INTO alembic_version VALUES ('0001')") // which the others build upon
	if f := look(coming)["revision"]; f.Status == report.OK {
		t.Errorf("%+v", f)
	}
	exec("DELETE FROM alembic_version")
}

func unknownRevision(t *testing.T, target *Target, run func(string), look func(Subject) map[string]report.Finding, coming Subject) {
	t.Helper()
	run("INSERT INTO alembic_version VALUES ('0042')")
	says(t, look(coming)["revision"], report.Fault, "the database is at 0042, which this release does not know", "could not be searched")
	work := t.TempDir()
	git := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("git", append([]string{"-C", work, "-c", "user.name=a", "-c", "user.email=a@b"}, args...)...)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("init", "-q", "-b", "main")
	git("commit", "-q", "--allow-empty", "-m", "nothing yet")
	git("clone", "-q", "--bare", work, target.mirrorDir())
	older, err := target.Releases.Find(t.Context(), olderID)
	must(t, err)
	live := *coming.Release
	older.Commit, live.Commit = git("rev-parse", "HEAD"), git("rev-parse", "HEAD")
	must(t, target.Releases.Put(t.Context(), older))
	must(t, target.Releases.Put(t.Context(), live))
	says(t, look(coming)["revision"], report.Fault, "no installed release and no commit of the origin knows it")

	must(t, os.WriteFile(filepath.Join(work, "x.py"), []byte("\"\"\"x\"\"\"\nrevision: str = '0042'\n"), 0o600))
	git("add", ".")
	git("commit", "-q", "-m", "The forty-second")
	commit := git("rev-parse", "HEAD")
	git("push", "-q", target.mirrorDir(), "main")
	says(t, look(coming)["revision"], report.Fault, "no installed release knows it", "“The forty-second”", "deploy -ref="+commit)
	older.Commit = commit
	must(t, target.Releases.Put(t.Context(), older))
	says(t, look(coming)["revision"], report.Fault, "release "+olderID, "knows it: x.py", "deploy -ref="+commit)
	older.Head, older.State = "0042", release.RolledBack
	must(t, target.Releases.Put(t.Context(), older))
	says(t, look(coming)["revision"], report.Fault, "release "+olderID, "(rolled-back) is at it")
}
