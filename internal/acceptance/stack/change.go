package stack

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Commit puts a branch into the origin that differs from another release in
// one file of the service.
func (s *Stack) Commit(t testing.TB, branch, from, file, content string) {
	t.Helper()
	s.commit(t, branch, from, file, func(string) string { return content })
}

// CommitEdit is Commit with a text of the file replaced, which has to be there.
func (s *Stack) CommitEdit(t testing.TB, branch, from, file, before, after string) {
	t.Helper()
	s.commit(t, branch, from, file, func(content string) string {
		if !strings.Contains(content, before) {
			t.Fatalf("%s has no %q", file, before)
		}
		return strings.Replace(content, before, after, 1)
	})
}

func (s *Stack) commit(t testing.TB, branch, from, file string, edit func(content string) string) {
	t.Helper()
	tree := t.TempDir()
	git := func(args ...string) {
		cmd := exec.Command("git", append([]string{"-C", tree, "-c", "user.name=test", "-c", "user.email=test@localhost"}, args...)...)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	git("clone", "--quiet", s.Env["ETF_ORIGIN"], ".")
	git("checkout", "--quiet", "-b", branch, from)
	file = filepath.Join(tree, "src", "backend", file)
	content, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(edit(string(content))), 0o644); err != nil {
		t.Fatal(err)
	}
	git("add", "-A")
	git("commit", "--quiet", "-m", branch)
	git("push", "--quiet", "origin", branch)
}

// Changed replaces texts of deploy.yaml until the returned function is called.
func (s *Stack) Changed(t testing.TB, pairs ...string) (restore func()) {
	t.Helper()
	file := filepath.Join(s.Dir, "deploy.yaml")
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	bad := string(good)
	for i := 0; i < len(pairs); i += 2 {
		at := strings.LastIndex(bad, pairs[i]) // the sandbox is the last environment
		if at < 0 {
			t.Fatalf("deploy.yaml has no %q", pairs[i])
		}
		bad = bad[:at] + pairs[i+1] + bad[at+len(pairs[i]):]
	}
	if err := os.WriteFile(file, []byte(bad), 0o644); err != nil {
		t.Fatal(err)
	}
	return func() { os.WriteFile(file, good, 0o644) }
}
