package release_test

import (
	"context"
	"errors"
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

var (
	ctx   = context.Background()
	local = host.Local{}
	noon  = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
)

// id is the i-th release's.
func id(i int) string { return fmt.Sprintf("20261123T1200%02dZ-abcdef12", i) }

func store(t *testing.T) (*release.Store, string) {
	t.Helper()
	root := t.TempDir()
	return release.NewStore(local, root), root
}

// install records a release and makes its folder.
func install(t *testing.T, s *release.Store, i int, state release.State) release.Release {
	t.Helper()
	r := release.Release{ID: id(i), Commit: "abcdef1234", State: state, Head: "0001", Built: noon}
	if err := s.Put(ctx, r); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(s.Dir(r.ID), "below"), 0o700); err != nil {
		t.Fatal(err)
	}
	return r
}

func all(t *testing.T, s *release.Store) []release.Release {
	t.Helper()
	got, err := s.All(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// wantError demands an error that says each part.
func wantError(t *testing.T, what string, err error, says ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: no error", what)
		return
	}
	for _, part := range says {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: the error does not say %q: %v", what, part, err)
		}
	}
}

func TestNewID(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 0, 1, 0, time.FixedZone("", 7200))
	if got, want := release.NewID("abcdef1234567890", now), id(1); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestPut(t *testing.T) {
	s, root := store(t)
	if got := all(t, s); len(got) > 0 {
		t.Errorf("before the first: %+v", got)
	}
	a, b := install(t, s, 1, release.Building), install(t, s, 2, release.Installed)
	a.State, a.Backup, a.Activated = release.Verified, "backup", &noon
	if err := s.Put(ctx, a); err != nil {
		t.Fatal(err)
	}
	// Read by another.
	if diff := cmp.Diff([]release.Release{a, b}, all(t, release.NewStore(local, root))); diff != "" {
		t.Error(diff)
	}
	if got, err := s.Find(ctx, b.ID); err != nil || got != b {
		t.Errorf("got %+v, %v", got, err)
	}
	_, err := s.Find(ctx, id(9))
	wantError(t, "Find", err, id(9), "releases.json")
	if st, err := os.Stat(filepath.Join(root, "ops", "releases.json")); err != nil || st.Mode() != 0o600 {
		t.Errorf("got mode %v, %v", st.Mode(), err)
	}
}

func TestDamagedFile(t *testing.T) {
	for name, test := range map[string]struct{ content, says string }{
		"rubbish":                 {"rubbish", "damaged"},
		"empty":                   {"", "damaged"},
		"cut off":                 {`{"v":1,"releases":[{"id":"`, "damaged"},
		"null":                    {"null", "damaged"},
		"another kind of file":    {`{"releases":[]}`, "damaged"},
		"another kind of value":   {`{"v":1,"releases":{}}`, "damaged"},
		"a newer format":          {`{"v":2,"releases":[]}`, "format 2"},
		"a newer format, changed": {`{"v":2,"releases":{}}`, "format 2"},
	} {
		t.Run(name, func(t *testing.T) {
			s, root := store(t)
			install(t, s, 1, release.Verified)
			file := filepath.Join(root, "ops", "releases.json")
			if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := s.All(ctx)
			wantError(t, "All", err, file, test.says)
			wantError(t, "Put", s.Put(ctx, release.Release{ID: id(2)}), file)
			wantError(t, "Remove", s.Remove(ctx, id(1)), file)
			if err := s.SetCurrent(ctx, id(1)); err != nil {
				t.Error(err)
			}
			_, err = s.Current(ctx)
			wantError(t, "Current", err, file)
			if b, err := os.ReadFile(file); err != nil || string(b) != test.content {
				t.Errorf("it was written over: %q, %v", b, err)
			}
			if _, err := os.Stat(s.Dir(id(1))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCurrent(t *testing.T) {
	s, root := store(t)
	if live, err := s.Current(ctx); live != nil || err != nil {
		t.Errorf("before the first: %+v, %v", live, err)
	}
	if err := s.ClearCurrent(ctx); err != nil {
		t.Error(err)
	}
	for i := 1; i <= 2; i++ {
		r := install(t, s, i, release.Live)
		if err := s.SetCurrent(ctx, r.ID); err != nil {
			t.Fatal(err)
		}
		if live, err := s.Current(ctx); err != nil || *live != r {
			t.Errorf("got %+v, %v", live, err)
		}
	}
	if target, err := os.Readlink(s.CurrentLink()); err != nil || target != "releases/"+id(2) {
		t.Errorf("the link names %s, %v; want a relative path", target, err)
	}
	if _, err := os.Stat(filepath.Join(root, "current", "below")); err != nil {
		t.Error(err)
	}
	for _, bad := range []string{id(9), "", "..", "../ops", "below", id(1) + "/below"} {
		wantError(t, "SetCurrent", s.SetCurrent(ctx, bad), bad)
	}
	if live, err := s.Current(ctx); err != nil || live.ID != id(2) {
		t.Errorf("a refused switch changed it: %+v, %v", live, err)
	}
	// By a person's hand, with the whole path.
	if err := local.Symlink(ctx, s.Dir(id(1)), s.CurrentLink()); err != nil {
		t.Fatal(err)
	}
	if live, err := s.Current(ctx); err != nil || live.ID != id(1) {
		t.Errorf("an absolute link: %+v, %v", live, err)
	}
	if err := s.ClearCurrent(ctx); err != nil {
		t.Error(err)
	}
	if live, err := s.Current(ctx); live != nil || err != nil {
		t.Errorf("after it was cleared: %+v, %v", live, err)
	}
	if _, err := os.Stat(filepath.Join(s.Dir(id(2)), "below")); err != nil {
		t.Error(err)
	}
}

func TestCurrentToNowhere(t *testing.T) {
	s, root := store(t)
	install(t, s, 1, release.Verified)
	elsewhere := filepath.Join(t.TempDir(), id(1))
	unrecorded := id(3)
	for _, dir := range []string{elsewhere, s.Dir(unrecorded)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for target, says := range map[string]string{
		"releases/" + id(2):        "is no release that is there",
		"nowhere":                  "is no release that is there",
		elsewhere:                  "is no release that is there",
		"releases/" + unrecorded:   "not recorded",
		"releases":                 "is no release that is there",
		"releases/../" + "current": "is no release that is there",
	} {
		if err := local.Symlink(ctx, target, s.CurrentLink()); err != nil {
			t.Fatal(err)
		}
		live, err := s.Current(ctx)
		if live != nil {
			t.Errorf("%s: got %+v", target, live)
		}
		wantError(t, target, err, "looking for the live release", says)
		wantError(t, target, s.Remove(ctx, id(1)), "looking for the live release") // it may be the live one
	}
	// A folder where the link should be is somebody's.
	if err := os.Remove(s.CurrentLink()); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "current", "precious"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := s.Current(ctx)
	wantError(t, "a folder", err, s.CurrentLink())
	wantError(t, "ClearCurrent", s.ClearCurrent(ctx), s.CurrentLink())
	wantError(t, "SetCurrent", s.SetCurrent(ctx, id(1)), s.CurrentLink())
	if _, err := os.Stat(filepath.Join(root, "current", "precious")); err != nil {
		t.Error(err)
	}
}

func TestRemove(t *testing.T) {
	s, _ := store(t)
	a, b := install(t, s, 1, release.Verified), install(t, s, 2, release.Live)
	if err := s.SetCurrent(ctx, b.ID); err != nil {
		t.Fatal(err)
	}
	wantError(t, "the live one", s.Remove(ctx, b.ID), "it is live")
	for _, bad := range []string{"", ".", "..", "../ops", "x", a.ID + "/below", a.ID + "\n"} {
		wantError(t, "Remove", s.Remove(ctx, bad), "no release id")
	}
	if got := all(t, s); len(got) != 2 {
		t.Fatalf("got %+v", got)
	}
	if err := s.Remove(ctx, a.ID); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]release.Release{b}, all(t, s)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(s.Dir(a.ID)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("its folder: %v", err)
	}
	if _, err := os.Stat(s.Dir(b.ID)); err != nil {
		t.Error(err)
	}
	if err := s.Remove(ctx, a.ID); err != nil { // interrupted before, perhaps
		t.Error(err)
	}
}

// dying cannot remove: the process dies in the middle of it.
type dying struct{ host.Local }

var errDied = errors.New("killed")

func (dying) Remove(context.Context, string) error { return errDied }

// Half a folder must not count as a release that a rollback may choose.
func TestRemoveInterrupted(t *testing.T) {
	s, root := store(t)
	a := install(t, s, 1, release.Verified)
	if err := release.NewStore(dying{}, root).Remove(ctx, a.ID); !errors.Is(err, errDied) {
		t.Fatalf("got error %v", err)
	}
	if got, err := s.Find(ctx, a.ID); err != nil || got.State != release.Building {
		t.Errorf("got %+v, %v; want it to count as half-built", got, err)
	}
	if err := s.Remove(ctx, a.ID); err != nil || len(all(t, s)) > 0 {
		t.Errorf("got %v, %+v", err, all(t, s))
	}
}

func TestExpired(t *testing.T) {
	const (
		building, fetched, installed = release.Building, release.Fetched, release.Installed
		live, verified               = release.Live, release.Verified
		failed, rolledBack           = release.Failed, release.RolledBack
	)
	for name, test := range map[string]struct {
		states  []release.State // oldest first; the number of each is its place
		current int
		keep    int
		want    []int // newest first
	}{
		"nothing":                         {nil, -1, 3, nil},
		"fewer than are kept":             {[]release.State{verified, verified, verified}, 2, 3, nil},
		"more than are kept":              {[]release.State{verified, verified, verified, verified, verified}, 4, 2, []int{1, 0}},
		"the live one counts on top":      {[]release.State{verified, verified, live}, 2, 1, []int{0}},
		"never the live one":              {[]release.State{live, verified, verified}, 0, 1, []int{1}},
		"never the last good one":         {[]release.State{verified, verified, failed, live}, 3, 0, []int{2, 0}},
		"failed and half-built ones":      {[]release.State{verified, failed, building, rolledBack, live}, 4, 3, []int{3, 2, 1}},
		"fetched for the next deployment": {[]release.State{installed, fetched, verified, installed, fetched}, -1, 2, []int{1, 0}},
		"fetched, behind the live one":    {[]release.State{verified, installed, verified}, 2, 2, nil},
		"live once, never verified":       {[]release.State{verified, live, live}, 2, 3, []int{1}},
		"none live":                       {[]release.State{verified, verified}, -1, 1, []int{0}},
		"failed ones before verified":     {[]release.State{failed, verified, rolledBack, verified, verified, live}, 5, 1, []int{2, 0, 3, 1}},
		"the last that was live":          {[]release.State{live, live, failed, live}, 3, 3, []int{2, 0}},
		"rolled back to an older one":     {[]release.State{verified, verified, verified, rolledBack}, 1, 1, []int{3, 0}},
		"nothing verified, none live":     {[]release.State{building, failed, installed}, -1, 3, []int{1, 0}},
	} {
		var all []release.Release
		current := ""
		for i, state := range test.states {
			all = append(all, release.Release{ID: id(i), State: state})
			if i == test.current {
				current = id(i)
			}
		}
		var want, got []string
		if n := len(test.states); n > 0 {
			everything := make([]string, n)
			for i := range n {
				everything[i] = id(i)
			}
			if left := release.Expired(all, current, test.keep, everything...); len(left) > 0 {
				t.Errorf("%s: removes what is needed: %v", name, left)
			}
		}
		for _, i := range test.want {
			want = append(want, id(i))
		}
		for _, r := range release.Expired(all, current, test.keep) {
			got = append(got, r.ID)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: want (-) and got (+) differ:\n%s", name, diff)
		}
	}
}

// What an interrupted operation needs does not take the place of a good one.
func TestExpiredSparesWhatIsNeeded(t *testing.T) {
	var all []release.Release
	for i, state := range []release.State{release.Verified, release.Verified, release.Failed, release.Building, release.Verified, release.Verified} {
		all = append(all, release.Release{ID: id(i), State: state})
	}
	var got []string
	for _, r := range release.Expired(all, id(5), 1, id(0), id(3)) {
		got = append(got, r.ID)
	}
	if diff := cmp.Diff([]string{id(2), id(1)}, got); diff != "" {
		t.Error(diff)
	}
}
