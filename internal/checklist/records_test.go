package checklist

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

const liveID, olderID = "20261123T120001Z-abcdef12", "20261122T120001Z-abcdef11"

// filed is a target of real files: an older release, and the live one.
func filed(t *testing.T) *Target {
	t.Helper()
	root := t.TempDir()
	target := &Target{Host: host.Local{}, Now: time.Now, Config: &config.Config{Root: root}, Releases: release.NewStore(host.Local{}, root)}
	for i, id := range []string{olderID, liveID} {
		at := time.Date(2026, 11, 22+i, 12, 0, 0, 0, time.UTC)
		r := release.Release{ID: id, Commit: strings.Repeat(id[17:], 5), State: release.Verified, Head: "0003", Ref: "main", Activated: &at, ActivatedBy: "20261123T120000Z-deploy-aaaaaa"}
		must(t, target.Releases.Put(t.Context(), r))
		must(t, os.MkdirAll(target.Releases.Dir(id), 0o755))
	}
	must(t, target.Releases.SetCurrent(t.Context(), liveID))
	return target
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *Target) recordsFile() string { return filepath.Join(t.opsDir(), "releases.json") }

// contents is every file and link below a folder.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSymlink != 0 {
			all[name], err = os.Readlink(name)
		} else if !d.IsDir() {
			b, readErr := os.ReadFile(name)
			all[name], err = string(b), readErr
		}
		return err
	}))
	return all
}

// wrongs are the ways in which the records of a target may be wrong.
var wrongs = map[string]struct {
	do      func(t *testing.T, target *Target)
	refused string // part of the error; empty: not refused
	warned  string // part of a warning
}{
	"sound": {func(*testing.T, *Target) {}, "", ""},
	"damaged": {func(t *testing.T, target *Target) {
		must(t, os.WriteFile(target.recordsFile(), []byte(`{"v":1,"rel`), 0o600))
	}, "releases.json is damaged", ""},
	"newer": {func(t *testing.T, target *Target) {
		must(t, os.WriteFile(target.recordsFile(), []byte(`{"v":9}`), 0o600))
	}, "use the newer program", ""},
	"dangling current": {func(t *testing.T, target *Target) {
		must(t, os.RemoveAll(target.Releases.Dir(liveID)))
	}, "whose folder is not there", ""},
	"foreign current": {func(t *testing.T, target *Target) {
		must(t, target.Host.Symlink(t.Context(), "/opt/elsewhere", target.Releases.CurrentLink()))
	}, "/opt/elsewhere, which is no release", ""},
	"a verified one without folder": {func(t *testing.T, target *Target) {
		must(t, os.RemoveAll(target.Releases.Dir(olderID)))
	}, olderID + " is recorded as verified", ""},
	"a stranger": {func(t *testing.T, target *Target) {
		must(t, os.MkdirAll(target.Releases.Dir("copy-of-mine"), 0o755))
	}, "", "copy-of-mine is recorded nowhere"},
}

func TestSoundRecords(t *testing.T) {
	for name, test := range wrongs {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			test.do(t, target)
			before := contents(t, target.Config.Root)
			warnings, err := target.soundRecords(t.Context())
			if diff := cmp.Diff(before, contents(t, target.Config.Root)); diff != "" {
				t.Errorf("something was changed: %s", diff)
			}
			if test.refused == "" && err != nil || test.refused != "" && (!errors.Is(err, step.ErrFault) || !strings.Contains(err.Error(), test.refused) || !strings.Contains(err.Error(), "nothing was changed")) {
				t.Errorf("got error %v, want %q", err, test.refused)
			}
			if test.warned == "" && len(warnings) > 0 || test.warned != "" && !strings.Contains(strings.Join(warnings, "\n"), test.warned) {
				t.Errorf("got warnings %q, want %q", warnings, test.warned)
			}
		})
	}
}

func TestSoundRecordsNamesAllFaults(t *testing.T) {
	target := filed(t)
	for _, name := range []string{"dangling current", "a verified one without folder", "a stranger"} {
		wrongs[name].do(t, target)
	}
	warnings, err := target.soundRecords(t.Context())
	if err == nil || !strings.Contains(err.Error(), liveID) || !strings.Contains(err.Error(), olderID) || len(warnings) != 1 {
		t.Errorf("got %q, %v", warnings, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := target.soundRecords(ctx); err == nil || errors.Is(err, step.ErrFault) {
		t.Errorf("one that could not look: %v", err)
	}
}

// The list is printed however the records are, and nothing is written.
func TestReleaseListOverWrongRecords(t *testing.T) {
	for name, test := range wrongs {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			test.do(t, target)
			before := contents(t, target.Config.Root)
			var text, asJSON bytes.Buffer
			if err := errors.Join(target.WriteReleases(t.Context(), &text, false), target.WriteReleases(t.Context(), &asJSON, true)); err != nil {
				t.Error(err)
			}
			wrong := test.refused + test.warned
			table, below, found := strings.Cut(text.String(), "disagrees")
			if !strings.Contains(table, olderID) || found != (wrong != "") || !strings.Contains(strings.Join(strings.Fields(below), " "), wrong) {
				t.Errorf("want the releases, then %q:\n%s", wrong, text.String())
			}
			if name == "sound" && !strings.Contains(table, "live  "+liveID) {
				t.Errorf("the live one is not marked:\n%s", table)
			}
			if !strings.Contains(asJSON.String(), `"version": 1`) || !strings.Contains(asJSON.String(), wrong) {
				t.Errorf("JSON: %s", asJSON.String())
			}
			if diff := cmp.Diff(before, contents(t, target.Config.Root)); diff != "" {
				t.Errorf("something was changed: %s", diff)
			}
		})
	}
}
