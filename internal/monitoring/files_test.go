package monitoring

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func file(path, content string) File { return File{Path: path, Content: []byte(content)} }

// below reads every file below a folder.
func below(t *testing.T, folder string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		name, _ := filepath.Rel(folder, path)
		found[name] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func TestWriteNamesWhatHasChanged(t *testing.T) {
	dir := t.TempDir()
	first, err := Write(dir, []File{file("a/one", "1\n"), file("two", "2\n")})
	if err != nil || !slices.Equal(first, []string{"a/one", "two"}) {
		t.Fatalf("changed %v, error %v", first, err)
	}
	second, err := Write(dir, []File{file("a/one", "1\n"), file("two", "3\n")})
	if err != nil || !slices.Equal(second, []string{"two"}) {
		t.Fatalf("the second time: changed %v, error %v", second, err)
	}
	if diff := cmp.Diff(map[string]string{"a/one": "1\n", "two": "3\n"}, below(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(dir, "two")); err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
}

// A mode or a link that somebody has given a file is theirs.
func TestWriteLeavesModesAndLinks(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "elsewhere"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "elsewhere/file"), []byte("1\n"), 0o664))
	must(t, os.Chmod(filepath.Join(dir, "elsewhere/file"), 0o664))
	must(t, os.Symlink("elsewhere/file", filepath.Join(dir, "link")))
	if changed, err := Write(dir, []File{file("link", "1\n")}); err != nil || changed != nil {
		t.Errorf("the same content: changed %v, error %v", changed, err)
	}
	if changed, err := Write(dir, []File{file("link", "2\n")}); err != nil || !slices.Equal(changed, []string{"link"}) {
		t.Errorf("changed %v, error %v", changed, err)
	}
	if to, err := os.Readlink(filepath.Join(dir, "link")); err != nil || to != "elsewhere/file" {
		t.Errorf("the link is %q, %v", to, err)
	}
	info, err := os.Stat(filepath.Join(dir, "elsewhere/file"))
	if err != nil || info.Mode().Perm() != 0o664 || below(t, dir)["elsewhere/file"] != "2\n" {
		t.Errorf("%v, %v, %q", info.Mode(), err, below(t, dir))
	}
}

// Whatever cannot be written, nothing is: neither what came before it in the
// list, nor a temporary file.
func TestWriteAllOrNone(t *testing.T) {
	files := []File{file("old", "changed\n"), file("new", "new\n"), file("in/the-way", "x\n"), file("last", "changed\n")}
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"a folder has the name of a file": func(t *testing.T, dir string) {
			must(t, os.MkdirAll(filepath.Join(dir, "in/the-way/really"), 0o755))
		},
		"a file has the name of a folder": func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, "in"), []byte("a file"), 0o644))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			must(t, os.WriteFile(filepath.Join(dir, "old"), []byte("as it was\n"), 0o600))
			must(t, os.WriteFile(filepath.Join(dir, "last"), []byte("as it was\n"), 0o644))
			spoil(t, dir)
			before := below(t, dir)
			changed, err := Write(dir, files)
			if err == nil || changed != nil || !strings.Contains(err.Error(), "in/the-way") {
				t.Errorf("changed %v, error %v", changed, err)
			}
			if diff := cmp.Diff(before, below(t, dir)); diff != "" {
				t.Errorf("something was written (-before +after):\n%s", diff)
			}
		})
	}
}

// A file that cannot be put into its place takes those back that were: here
// one whose name became a folder's while the others were prepared.
func TestWriteTakesBackWhatItHasPlaced(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "old"), []byte("as it was\n"), 0o600))
	before := below(t, dir)
	_, err := Write(dir, []File{file("old", "changed\n"), file("new", "new\n"), file("late", "x\n"), file("late/file", "x\n")})
	if err == nil || !strings.Contains(err.Error(), "writing: "+filepath.Join(dir, "late")) {
		t.Errorf("error %v", err)
	}
	if diff := cmp.Diff(before, below(t, dir)); diff != "" {
		t.Errorf("not taken back (-before +after):\n%s", diff)
	}
	if info, err := os.Stat(filepath.Join(dir, "old")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
}

// What a kill between two files leaves is drift, and writing again mends it.
func TestAKillWhileWritingIsDrift(t *testing.T) {
	dir := t.TempDir()
	old, files := []File{file("one", "1\n"), file("two", "2\n")}, []File{file("one", "new\n"), file("two", "new\n")}
	if _, err := Write(dir, old); err != nil {
		t.Fatal(err)
	}
	var left []*replacement
	for _, f := range files {
		r, err := prepare(dir, f)
		must(t, err)
		left = append(left, r)
	}
	must(t, os.Rename(left[0].temp, left[0].path))
	if text, err := Check(dir, files); !errors.Is(err, ErrDrift) || !strings.Contains(err.Error(), "two") || strings.Contains(text, "/one") {
		t.Errorf("error %v, diff\n%s", err, text)
	}
	if _, err := Write(dir, files); err != nil {
		t.Fatal(err)
	}
	if text, err := Check(dir, files); err != nil {
		t.Errorf("written again: %v\n%s", err, text)
	}
}

func TestWriteStaysInItsFolder(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{"../outside", "/etc/outside"} {
		if _, err := Write(dir, []File{file("inside", "x\n"), file(path, "x\n")}); err == nil {
			t.Errorf("%s was accepted", path)
		}
	}
	if all := below(t, dir); len(all) > 0 {
		t.Errorf("written: %v", slices.Collect(maps.Keys(all)))
	}
}

func TestCheckShowsADiffAndWritesNothing(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "same"), []byte("a\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "other"), []byte("a\nb\nc\n"), 0o644))
	before := below(t, dir)
	text, err := Check(dir, []File{file("same", "a\n"), file("other", "a\nB\nc\n"), file("missing", "m\n")})
	if !errors.Is(err, ErrDrift) {
		t.Fatalf("error %v, want ErrDrift", err)
	}
	for _, line := range []string{"\n-b\n", "\n+B\n", "\n+m\n", "--- " + dir + "/other\n", "--- /dev/null\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("the diff lacks %q:\n%s", line, text)
		}
	}
	if strings.Contains(err.Error(), "same") || strings.Contains(text, "same") {
		t.Errorf("a file that is as generated is named: %v\n%s", err, text)
	}
	if diff := cmp.Diff(before, below(t, dir)); diff != "" {
		t.Errorf("something was written (-before +after):\n%s", diff)
	}
	if text, err := Check(dir, []File{file("same", "a\n")}); text != "" || err != nil {
		t.Errorf("without drift: %q, %v", text, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
