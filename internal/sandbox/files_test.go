package sandbox

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestShellQuoteSurvivesAShell(t *testing.T) {
	for _, value := range []string{"", "plain", "a b", "it's", `$HOME "x" \ ;#&`, "läng\nline"} {
		script := shellFile([]setting{{"VALUE", value}}) + `printf '%s' "$VALUE"`
		out, err := exec.Command("/bin/sh", "-c", script).Output()
		if err != nil || string(out) != value {
			t.Errorf("%q came back as %q (%v)", value, out, err)
		}
	}
}

func TestMergeSettingsKeepsWhatIsNotItsOwn(t *testing.T) {
	old := "# mine\nREDIS_URL=old\nOTHER=1\n LOG_DIR =x\n"
	set := []setting{{"REDIS_URL", "new"}, {"LOG_DIR", "y"}, {"ADDED", "z"}}
	if got, want := mergeSettings(old, set, true), "# mine\nREDIS_URL=new\nOTHER=1\nLOG_DIR=y\nADDED=z\n"; got != want {
		t.Errorf("with add:\n%s", got)
	}
	if got, want := mergeSettings(old, set, false), "# mine\nREDIS_URL=new\nOTHER=1\nLOG_DIR=y\n"; got != want {
		t.Errorf("without add:\n%s", got)
	}
	if got := mergeSettings("", set[:1], true); got != "REDIS_URL=new\n" {
		t.Errorf("from nothing: %q", got)
	}
	if got := mergeSettings("", set, false); got != "" {
		t.Errorf("nothing from nothing: %q", got)
	}
}

func TestPortsAndWhoListens(t *testing.T) {
	ctx := context.Background()
	port, err := freePort(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := who(port, listeners(), nil); got != listenNone {
		t.Errorf("a free port: %v", got)
	}
	l, err := net.Listen("tcp4", loopback(port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if bindable(ctx, port) {
		t.Errorf("port %d counts as free while it is listened on", port)
	}
	self, ok := readProcess(os.Getpid())
	if !ok {
		t.Fatal("this process is not found in /proc")
	}
	if got := who(port, listeners(), []process{self}); got != listenOurs {
		t.Errorf("our own socket: %v", got)
	}
	if got := who(port, listeners(), nil); got != listenForeign {
		t.Errorf("a socket of nobody we know: %v", got)
	}
	wild, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer wild.Close()
	if got := who(wild.Addr().(*net.TCPAddr).Port, listeners(), nil); got != listenForeign {
		t.Errorf("a socket on all addresses: %v", got)
	}
}

func TestAReusedPidIsAnotherProcess(t *testing.T) {
	self, _ := readProcess(os.Getpid())
	if !self.alive() {
		t.Error("this process counts as gone")
	}
	self.Start--
	if self.alive() {
		t.Error("a process with another start time counts as the same")
	}
}

func TestAZombieIsGone(t *testing.T) {
	cmd := exec.Command("/bin/true")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // it is reaped only then
	if !gone(context.Background(), []process{mustRead(t, cmd.Process.Pid)}, 10e9) {
		t.Error("a zombie counts as running")
	}
}

// mustRead reads a process that may have become a zombie already.
func mustRead(t *testing.T, pid int) process {
	t.Helper()
	p, _ := readProcess(pid)
	return p
}

func TestClosedFolder(t *testing.T) {
	base := t.TempDir()
	open, closed := filepath.Join(base, "open"), filepath.Join(base, "closed")
	for dir, mode := range map[string]os.FileMode{open: 0o711, closed: 0o700} {
		if err := os.Mkdir(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	const stranger = 64321
	if got := closedFolder(open, stranger, stranger); got != "" && !strings.HasPrefix(base, got) {
		t.Errorf("open folder: stopped by %s", got)
	}
	if got := closedFolder(closed, stranger, stranger); got == "" {
		t.Error("closed folder: nothing stops a stranger")
	}
	if got := closedFolder(closed, uint32(os.Getuid()), stranger); got != "" {
		t.Errorf("closed folder: its own user is stopped by %s", got)
	}
}

func TestMissingPackages(t *testing.T) {
	if got := MissingPackages("sh", "no-such-program-anywhere"); !slices.Equal(got, []string{"no-such-program-anywhere"}) {
		t.Errorf("missing: %v", got)
	}
	err := error(&MissingPackagesError{Packages: []string{"redis-server", "git"}, Reason: "this is not root"})
	if !strings.Contains(err.Error(), "apt-get install --no-install-recommends redis-server git") {
		t.Errorf("the error does not say what to do: %v", err)
	}
}

func TestNewRefuses(t *testing.T) {
	for _, dir := range []string{"/tmp/it's", "/tmp/a\nb", "/tmp/$x", "/tmp/a;b"} {
		if _, err := New(dir, Options{}); err == nil {
			t.Errorf("%q was accepted", dir)
		}
	}
	if _, err := New(t.TempDir(), Options{ETFs: maxETFs + 1}); err == nil {
		t.Error("too many ETFs were accepted")
	}
}

func TestAFolderWithOtherContentIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "thesis.txt")
	if err := os.WriteFile(mine, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := New(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.makeFolder(); err == nil || !strings.Contains(err.Error(), "thesis.txt") {
		t.Errorf("makeFolder: %v", err)
	}
	if err := s.Down(context.Background(), true); err == nil {
		t.Error("Down with purge: no error")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestLoadStateFaults(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":      "{",
		"newer version": `{"version": 99, "ports": {}, "secrets": {"superuser": "x"}}`,
		"unknown field": `{"version": 1, "colour": "red"}`,
		"no secrets":    `{"version": 1, "ports": {}}`,
		"other user":    `{"version": 1, "uid": 64321, "ports": {}, "secrets": {"superuser": "x"}}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "state.json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := loadState(dir); err == nil || errors.Is(err, errNoSandbox) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := loadState(t.TempDir()); !errors.Is(err, errNoSandbox) {
		t.Errorf("empty folder: %v", err)
	}
}

// A long path moves the socket, and a stranger's folder there is refused.
func TestSocketFolder(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "etf") // t.TempDir is too long itself
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(short)
	t.Setenv("TMPDIR", short)
	s, err := New("/tmp/"+strings.Repeat("long/", 20)+"sandbox", Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(s.Socket(), short) || len(s.Socket()) > maxSocketPath {
		t.Fatalf("socket: %s", s.Socket())
	}
	if err := s.socketFolder(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.shortFolder(), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := s.socketFolder(); err == nil {
		t.Error("a folder that is open to others was accepted")
	}
}
