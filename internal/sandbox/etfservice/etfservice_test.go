package etfservice

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var now = time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC)

func newOrigin(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "origin.git")
	if err := CreateOrigin(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func out(t *testing.T, dir string, args ...string) string {
	t.Helper()
	text, err := git(t.Context(), dir, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(text))
}

func release(t *testing.T, dir, kind string) Commit {
	t.Helper()
	commit, err := Release(t.Context(), dir, kind, now)
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func TestOriginIsReproducible(t *testing.T) {
	// Nothing of the caller's git may reach the commits.
	t.Setenv("GIT_AUTHOR_NAME", "Somebody Else")
	t.Setenv("GIT_DIR", "/nowhere")
	refs := func(dir string) string { return out(t, dir, "for-each-ref", "--format=%(objectname) %(refname)") }
	first, second := newOrigin(t), newOrigin(t)
	if diff := cmp.Diff(refs(first), refs(second)); diff != "" {
		t.Errorf("two origins differ (-first +second):\n%s", diff)
	}
	if author := out(t, first, "log", "-1", "--format=%an <%ae> %cI", "main"); author != committer+" 2026-06-09T10:45:00+00:00" {
		t.Errorf("author and date: %s", author)
	}
	if subjects := out(t, first, "log", "--format=%s %D", "main"); strings.Count(subjects, "\n") != 2 || !strings.Contains(subjects, "tag: v1.2") {
		t.Errorf("history: %s", subjects)
	}
	if problems := out(t, first, "fsck", "--strict"); problems != "" {
		t.Errorf("fsck: %s", problems)
	}
}

func TestCreateOriginKeepsAGoodOne(t *testing.T) {
	dir := newOrigin(t)
	commit := release(t, dir, "feature")
	if err := CreateOrigin(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if head := out(t, dir, "rev-parse", "main"); head != commit.Hash {
		t.Errorf("main is %s after the second call, want %s", head, commit.Hash)
	}
}

func TestCreateOriginAfterAnInterruptedAttempt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "origin.git")
	for _, folder := range []string{dir, dir + ".new/objects"} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := CreateOrigin(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir + ".new"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder of the attempt is still there: %v", err)
	}
}

func TestCreateOriginLeavesOthersAlone(t *testing.T) {
	damaged := func(t *testing.T) string {
		dir := newOrigin(t)
		out(t, dir, "update-ref", "-d", "refs/tags/v1.1")
		return dir
	}
	foreign := func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("mine"), 0o600); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for name, test := range map[string]struct {
		dir  func(*testing.T) string
		want string
	}{
		"tag missing":     {damaged, "refs/tags/v1.1 is missing"},
		"no repository":   {foreign, "no repository that can be read"},
		"cancelled":       {newOrigin, "context canceled"},
		"cancelled, none": {func(t *testing.T) string { return filepath.Join(t.TempDir(), "o.git") }, "context canceled"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := test.dir(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if strings.HasPrefix(name, "cancelled") {
				cancel()
			}
			err := CreateOrigin(ctx, dir)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestEveryTagHasWhatItNeeds(t *testing.T) {
	dir := newOrigin(t)
	for tag, migrations := range map[string]int{"v1.0": 1, "v1.1": 2, "v1.2": 3} {
		t.Run(tag, func(t *testing.T) {
			tree := out(t, dir, "ls-tree", "-r", "--format=%(objectmode) %(path)", tag)
			for _, line := range []string{
				"100755 src/backend/bin/etf-run", "100644 .gitignore", "100644 README.md",
				"100644 src/backend/.env.example", "100644 src/backend/alembic.ini", "100644 src/backend/alembic/env.py",
				"100644 src/backend/alembic/sql/0001_base.sql", "100644 src/backend/requirements.txt",
				"100644 src/backend/app/main.py", "100644 src/backend/app/core/celery_app.py",
			} {
				if !strings.Contains("\n"+tree+"\n", "\n"+line+"\n") {
					t.Errorf("missing: %s", line)
				}
			}
			if strings.Contains(tree, "__pycache__") || strings.Contains(tree, "/.env\n") {
				t.Errorf("files that belong to no release:\n%s", tree)
			}
			if n := strings.Count(tree, "/versions/"); n != migrations {
				t.Errorf("%d migrations, want %d", n, migrations)
			}
			if text := out(t, dir, "show", tag+":src/backend/app/__init__.py"); !strings.Contains(text, `"`+tag[1:]+`"`) {
				t.Errorf("version: %s", text)
			}
			pinned := regexp.MustCompile(`^[A-Za-z-]+(\[binary\])?==[0-9.]+$`)
			for _, line := range strings.Split(out(t, dir, "show", tag+":src/backend/requirements.txt"), "\n") {
				if !pinned.MatchString(line) {
					t.Errorf("requirements.txt: %q is no exact version", line)
				}
			}
		})
	}
}

// Each Python file must at least be read by the interpreter that the sandbox uses.
func TestPythonCompiles(t *testing.T) {
	dir := newOrigin(t)
	source := filepath.Join(t.TempDir(), "pricesource.py")
	if err := os.WriteFile(source, PriceSource(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, k := range Kinds() {
		commit := release(t, dir, k.Name)
		work := filepath.Join(t.TempDir(), k.Name)
		if err := os.Mkdir(work, 0o700); err != nil {
			t.Fatal(err)
		}
		out(t, dir, "--work-tree="+work, "checkout", "--force", commit.Hash, "--", ".")
		output, err := exec.CommandContext(t.Context(), "/usr/bin/python3", "-m", "compileall", "-q", work, source).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", k.Name, err, output)
		}
	}
}

func TestBaseSchemaIsThatOfTheFirstMigration(t *testing.T) {
	dir := newOrigin(t)
	if inOrigin := out(t, dir, "show", "v1.0:src/backend/alembic/sql/0001_base.sql"); inOrigin != strings.TrimSpace(BaseSchema()) {
		t.Error("the loader's schema is not the one of release 1.0")
	}
	// The migration cuts the file at each semicolon that ends a line, and knows the tables by name.
	migration := out(t, dir, "show", "v1.0:src/backend/alembic/versions/0001_base.py")
	for _, statement := range strings.Split(BaseSchema(), ";\n") {
		if strings.Contains(statement, ";") || strings.Contains(statement, ":") {
			t.Errorf("a statement with a character that Alembic takes for something else:\n%s", statement)
		}
		for _, table := range regexp.MustCompile(`CREATE TABLE (\w+)`).FindAllStringSubmatch(statement, -1) {
			if !strings.Contains(migration, `"`+table[1]+`",`) {
				t.Errorf("downgrading 0001 forgets the table %s", table[1])
			}
		}
	}
}
