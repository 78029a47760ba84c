package etfservice

import (
	"errors"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMigrationsFormOneLine(t *testing.T) {
	dir := newOrigin(t)
	release(t, dir, "feature")
	release(t, dir, "feature")
	for _, test := range []struct {
		kind, head string
		chain      []string // revision, from the newest on
	}{
		{"feature", "0006", []string{"0006", "0005", "0004", "0003", "0002", "0001"}},
		{"broken-migration", "0008b", []string{"0008b", "0007b", "0006", "0005", "0004", "0003", "0002", "0001"}},
		{"slow", "0006", []string{"0006", "0005", "0004", "0003", "0002", "0001"}},
	} {
		commit := release(t, dir, test.kind)
		down := map[string]string{}
		for _, path := range strings.Fields(out(t, dir, "ls-tree", "--name-only", commit.Hash, backend+"alembic/versions/")) {
			text := out(t, dir, "show", commit.Hash+":"+path)
			down[assigned(text, "revision")] = assigned(text, "down_revision")
			if !strings.HasPrefix(filepath.Base(path), assigned(text, "revision")+"_") {
				t.Errorf("%s holds revision %s", path, assigned(text, "revision"))
			}
		}
		var chain []string
		for at := test.head; at != ""; at = down[at] {
			chain = append(chain, at)
		}
		if diff := cmp.Diff(test.chain, chain); diff != "" || len(down) != len(chain) {
			t.Errorf("%s: revisions %v (-want +got):\n%s", test.kind, down, diff)
		}
	}
}

// assigned returns the string that a name is set to in a migration; "" for None.
func assigned(text, name string) string {
	found := regexp.MustCompile(`(?m)^` + name + ` = "?(\w+)"?$`).FindStringSubmatch(text)
	if found == nil || found[1] == "None" {
		return ""
	}
	return found[1]
}

func TestCompatibilityIsDeclared(t *testing.T) {
	dir := newOrigin(t)
	feature := release(t, dir, "feature").Hash
	broken := release(t, dir, "broken-migration").Hash
	for object, want := range map[string]bool{
		feature + ":src/backend/alembic/versions/0002_price_source.py":       false,
		feature + ":src/backend/alembic/versions/0003_updates_by_status.py":  true,
		feature + ":src/backend/alembic/versions/0004_replication_method.py": true,
		broken + ":src/backend/alembic/versions/0005b_tracking_error.py":     false,
		broken + ":src/backend/alembic/versions/0006b_spread.py":             false,
	} {
		text := out(t, dir, "show", object)
		if got := regexp.MustCompile(`(?m)^# compatibility: expand$`).MatchString(text); got != want {
			t.Errorf("%s: declared expand %v, want %v", object[41:], got, want)
		}
	}
}

func TestKindsBuildOnTheLastGoodRelease(t *testing.T) {
	dir := newOrigin(t)
	good := out(t, dir, "rev-parse", "v1.2")
	for _, test := range []struct {
		kind, version string
		good          bool
		changed       string // files, below src/backend
	}{
		{"crashing", "1.2-crashing", false, "app/__init__.py app/main.py"},
		{"corrupting", "1.2-corrupting", false, "app/__init__.py app/services/conversion.py"},
		{"feature", "1.3", true, "alembic/versions/0004_replication_method.py app/__init__.py app/api/etfs.py app/models/etf.py"},
		{"slow", "1.3-slow", false, "app/__init__.py app/services/updater.py"},
		{"broken-migration", "1.3-broken-migration", false, "alembic/versions/0005b_tracking_error.py alembic/versions/0006b_spread.py app/__init__.py app/models/etf.py app/models/prices.py"},
		{"feature", "1.4", true, "alembic/versions/0005_fund_provider.py app/__init__.py app/api/etfs.py app/models/etf.py"},
		{"crashing", "1.4-crashing", false, "app/__init__.py app/main.py"},
	} {
		commit := release(t, dir, test.kind)
		if commit.Version != test.version || commit.Kind != test.kind {
			t.Errorf("%s: %+v, want version %s", test.kind, commit, test.version)
		}
		if parent := out(t, dir, "rev-parse", commit.Hash+"^"); parent != good {
			t.Errorf("%s is built on %s, want the last good one, %s", test.kind, parent, good)
		}
		if head := out(t, dir, "rev-parse", "main"); head != commit.Hash {
			t.Errorf("%s: main is %s, want %s", test.kind, head, commit.Hash)
		}
		changed := out(t, dir, "diff", "--name-only", "--relative=src/backend", good, commit.Hash)
		if diff := cmp.Diff(strings.Fields(test.changed), strings.Fields(changed)); diff != "" {
			t.Errorf("%s: files changed (-want +got):\n%s", test.kind, diff)
		}
		if test.good {
			good = commit.Hash
			if tagged := out(t, dir, "rev-parse", "v"+test.version); tagged != good {
				t.Errorf("tag v%s is %s, want %s", test.version, tagged, good)
			}
		}
	}
	if log := out(t, dir, "log", "--format=%s", goodRef); !strings.HasPrefix(log, "Answer the fund provider of ETFs\nAnswer the replication method of ETFs\n") {
		t.Errorf("good releases:\n%s", log)
	}
}

func TestManyFeatures(t *testing.T) {
	dir := newOrigin(t)
	var last Commit
	for range len(attributes) + 2 {
		last = release(t, dir, "feature")
	}
	if last.Version != "1.12" || last.Subject != "Answer the attribute 10 of ETFs" {
		t.Errorf("the tenth feature is %+v", last)
	}
	text := out(t, dir, "show", "main:src/backend/alembic/versions/0013_attribute_10.py")
	if assigned(text, "down_revision") != "0012" || !strings.Contains(text, `sa.Column("attribute_10", sa.String(), nullable=True)`) {
		t.Errorf("its migration:\n%s", text)
	}
}

func TestReleaseRefuses(t *testing.T) {
	dir := newOrigin(t)
	_, err := Release(t.Context(), dir, "perfect", now)
	if !errors.Is(err, ErrUnknownKind) || !strings.Contains(err.Error(), "feature, broken-migration, corrupting, crashing, slow") {
		t.Errorf("unknown kind: %v", err)
	}
	if _, err := Release(t.Context(), filepath.Join(t.TempDir(), "none.git"), "feature", now); err == nil || !strings.Contains(err.Error(), "make the origin first") {
		t.Errorf("no origin: %v", err)
	}
	if head, tag := out(t, dir, "rev-parse", "main"), out(t, dir, "rev-parse", "v1.2"); head != tag {
		t.Errorf("main has moved to %s", head)
	}
}
