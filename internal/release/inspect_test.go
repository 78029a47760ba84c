package release_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
)

// tree is everything below a folder: contents of files, targets of links.
func tree(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		content := "folder"
		if d.Type()&fs.ModeSymlink != 0 {
			content, err = os.Readlink(name)
		} else if !d.IsDir() {
			var b []byte
			b, err = os.ReadFile(name)
			content = string(b)
		}
		all[name] = content
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// A scene is a target whose files a test puts wrong.
type scene struct {
	*testing.T
	*release.Store
	root string
}

func (s scene) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

func (s scene) add(i int, state release.State, folder bool) release.Release {
	s.Helper()
	at := noon.Add(time.Duration(i) * time.Hour)
	r := release.Release{ID: id(i), Commit: "abcdef1234", State: state, Head: "0001", Built: noon, Activated: &at, ActivatedBy: fmt.Sprint("op-", i)}
	s.must(s.Put(ctx, r))
	if folder {
		s.must(os.MkdirAll(s.Dir(r.ID), 0o700))
	}
	return r
}

func (s scene) link(target string) { s.must(local.Symlink(ctx, target, s.CurrentLink())) }

func (s scene) write(content string) {
	s.must(os.WriteFile(filepath.Join(s.root, "ops", "releases.json"), []byte(content), 0o600))
}

func TestInspect(t *testing.T) {
	for name, test := range map[string]struct {
		// set makes a target of which the first release is verified and live.
		set    func(s scene)
		blocks bool
		says   []string // in one text; none: nothing is wrong
	}{
		"all in order": {func(s scene) {
			s.add(2, release.Building, false)
			s.add(3, release.RolledBack, true)
			s.add(4, release.Failed, true)
		}, false, nil},
		"live once, overtaken before it was verified": {func(s scene) { s.add(0, release.Live, true) }, false, nil},
		"an absolute link":                            {func(s scene) { s.link(s.Dir(id(1))) }, false, nil},

		"rubbish":          {func(s scene) { s.write("rubbish") }, true, []string{"releases.json is damaged", "can be trusted", "mend it", "no operation begins"}},
		"empty":            {func(s scene) { s.write("") }, true, []string{"releases.json is damaged"}},
		"a newer format":   {func(s scene) { s.write(`{"v":2,"releases":{}}`) }, true, []string{"format 2", "use the newer program", "can be trusted"}},
		"no folder":        {func(s scene) { s.add(2, release.Installed, false) }, false, []string{id(2), "recorded as installed", "is not there", "`deploy` builds"}},
		"no folder, good":  {func(s scene) { s.add(0, release.Verified, false) }, true, []string{id(0), "verified", "is not there", "Put the folder back"}},
		"no folder, live":  {func(s scene) { s.must(os.RemoveAll(s.Dir(id(1)))) }, true, []string{"current points to release " + id(1), "whose folder is not there", "ln -sfn"}},
		"unknown folder":   {func(s scene) { s.must(os.MkdirAll(s.Dir(id(7)), 0o700)) }, false, []string{id(7), "recorded nowhere", "Remove it"}},
		"unknown file":     {func(s scene) { s.must(os.WriteFile(s.Dir("notes.txt"), nil, 0o600)) }, false, []string{"notes.txt", "recorded nowhere"}},
		"to nowhere":       {func(s scene) { s.link("releases/" + id(9)) }, true, []string{"current points to release " + id(9), "is not there", id(1) + " (verified)"}},
		"to elsewhere":     {func(s scene) { s.link("/opt/other/releases/" + id(1)) }, true, []string{"/opt/other", "no release of this target", id(1) + " (verified)"}},
		"to no release":    {func(s scene) { s.link("releases") }, true, []string{"no release of this target"}},
		"to an unrecorded": {func(s scene) { s.must(os.MkdirAll(s.Dir(id(7)), 0o700)); s.link("releases/" + id(7)) }, true, []string{id(7), "is not recorded in", "journal of the operation"}},
		"to a half-built":  {func(s scene) { s.add(2, release.Building, true); s.link("releases/" + id(2)) }, true, []string{id(2), "recorded as building", "cannot be started"}},
		"to a fetched":     {func(s scene) { s.add(2, release.Fetched, true); s.link("releases/" + id(2)) }, true, []string{id(2), "recorded as fetched"}},
		"to a failed":      {func(s scene) { s.add(2, release.Failed, true); s.link("releases/" + id(2)) }, false, []string{id(2), "recorded as failed", "`deploy` of a good commit"}},
		"to a folder": {func(s scene) {
			s.must(os.Remove(s.CurrentLink()))
			s.must(os.MkdirAll(s.CurrentLink(), 0o700))
		}, true, []string{"current is no link", "Move it away"}},
		"no link":          {func(s scene) { s.must(os.Remove(s.CurrentLink())) }, true, []string{"current is not there", id(1) + " was verified", "ln -s releases/" + id(1)}},
		"two records":      {func(s scene) { s.double() }, true, []string{id(1) + " has 2 records", "journal"}},
		"another state":    {func(s scene) { s.add(2, "perfect", true) }, false, []string{id(2), `"perfect"`, "never rolled back to"}},
		"no id":            {func(s scene) { r := s.add(2, release.Failed, true); r.ID = "../ops"; s.must(s.Put(ctx, r)) }, true, []string{`"../ops"`, "no release id"}},
		"a younger one":    {func(s scene) { s.add(2, release.Live, true) }, false, []string{id(2), "activated at 2026-11-23T14:00:00Z by op-2", "after the current one, " + id(1), "`resume`", "rolled-back"}},
		"no activation":    {func(s scene) { r := s.add(1, release.Live, true); r.Activated = nil; s.must(s.Put(ctx, r)) }, true, []string{id(1), "without the time of its activation"}},
		"no commit":        {func(s scene) { r := s.add(1, release.Live, true); r.Commit = ""; s.must(s.Put(ctx, r)) }, true, []string{id(1), "without its commit"}},
		"damaged, nowhere": {func(s scene) { s.write("rubbish"); s.link("releases/" + id(9)) }, true, []string{"current points to release " + id(9)}},
	} {
		t.Run(name, func(t *testing.T) {
			st, root := store(t)
			s := scene{t, st, root}
			s.add(1, release.Verified, true)
			s.link("releases/" + id(1))
			test.set(s)
			before := tree(t, root)
			found, err := st.Inspect(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(before, tree(t, root)); diff != "" {
				t.Errorf("looking changed something:\n%s", diff)
			}
			if test.says == nil {
				if len(found) > 0 {
					t.Errorf("nothing is wrong, got %+v", found)
				}
				return
			}
			if !says(found, test.says, test.blocks) {
				t.Errorf("no text that blocks=%v says all of %q:\n%+v", test.blocks, test.says, found)
			}
			if texts, err := st.Disagreements(ctx); err != nil || len(texts) != len(found) {
				t.Errorf("Disagreements: %q, %v", texts, err)
			}
		})
	}
}

func says(found []release.Disagreement, parts []string, blocks bool) bool {
	for _, d := range found {
		all := d.Blocks == blocks
		for _, p := range parts {
			all = all && strings.Contains(d.Text, p)
		}
		if all {
			return true
		}
	}
	return false
}

// double records the first release once more, with another state.
func (s scene) double() {
	file := filepath.Join(s.root, "ops", "releases.json")
	b, err := os.ReadFile(file)
	s.must(err)
	one := string(b[strings.IndexByte(string(b), '[')+1 : strings.LastIndexByte(string(b), ']')])
	s.write(strings.Replace(string(b), one, one+","+strings.Replace(one, "verified", "failed", 1), 1))
}

func TestInspectBeforeTheFirstRelease(t *testing.T) {
	s, root := store(t)
	if found, err := s.Inspect(ctx); len(found) > 0 || err != nil {
		t.Errorf("got %+v, %v", found, err)
	}
	if got := tree(t, root); len(got) != 1 {
		t.Errorf("looking made something: %v", got)
	}
}

// An operation between two files is no disagreement.
func TestInspectBesideAnOperation(t *testing.T) {
	st, root := store(t)
	s := scene{t, st, root}
	s.add(1, release.Verified, true)
	s.link("releases/" + id(1))
	s.add(2, release.Installed, false)
	h := &completing{dir: st.Dir(id(2))}
	if found, err := release.NewStore(h, root).Inspect(ctx); len(found) > 0 || err != nil {
		t.Errorf("got %+v, %v", found, err)
	}
	if h.looks != 2 {
		t.Errorf("it looked %d times", h.looks)
	}
}

// completing makes a folder after the first look at the others.
type completing struct {
	host.Local
	dir   string
	looks int
}

func (c *completing) List(ctx context.Context, dir string) ([]string, error) {
	names, err := c.Local.List(ctx, dir)
	if c.looks++; err == nil {
		err = os.MkdirAll(c.dir, 0o700)
	}
	return names, err
}
