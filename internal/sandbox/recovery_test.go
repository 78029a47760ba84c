package sandbox

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

func releases(ctx context.Context, t *testing.T, s *Sandbox) {
	head := func() string {
		out, err := exec.CommandContext(ctx, "git", "-C", s.Origin(), "rev-parse", "main").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := head()
	if _, err := s.Release(ctx, "feature"); err != nil {
		t.Fatal(err)
	}
	if head() == before {
		t.Error("the branch main did not move")
	}
	if _, err := s.Release(ctx, "no-such-kind"); err == nil {
		t.Error("an unknown kind was accepted")
	}
}

// recovers breaks a running sandbox in every way at once and brings it up
// again: servers killed, programs left without supervisord, a foreign server
// on a remembered port, a load that was cut short.
func recovers(ctx context.Context, t *testing.T, s *Sandbox) {
	program, copied := fakeRelease(t, s)
	s.serviceLimit = 3 * time.Second // its workers never answer
	if err := s.supervisorClient().StartGroup(ctx, "celery_worker", true); err != nil {
		t.Fatal(err)
	}
	workers := roots(ofPart(processes(s.dir), "celery_worker"))
	if len(workers) != 2 {
		t.Fatalf("%d workers run, want 2", len(workers))
	}
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "alter database "+database+" rename to "+loading); err != nil {
		t.Fatal(err)
	}
	conn.Close(ctx)
	oldPort := s.st.Ports[portRedis]
	all := processes(s.dir)
	for _, p := range s.parts() {
		if server, ok := p.server(all); ok && p.name != partPrices {
			server.signal(syscall.SIGKILL)
		}
	}
	if !gone(ctx, ofPart(all, partRedis), 5*time.Second) {
		t.Fatal("redis survived")
	}
	foreign, err := net.Listen("tcp4", loopback(oldPort))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	wantState(ctx, t, "partial", s)
	if err := s.Up(ctx); err != nil {
		t.Fatal(err)
	}
	wantState(ctx, t, StateUp, s)
	dataIsThere(ctx, t, s)
	if s.st.Ports[portRedis] == oldPort {
		t.Errorf("redis kept port %d, which another server has", oldPort)
	}
	for _, path := range []string{s.path("etf", "shared", ".env"), copied} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "REDIS_URL="+s.redisURL()+"\n") {
			t.Errorf("%s does not name the new port (%v)", path, err)
		}
	}
	if left := filter(workers, process.alive); len(left) > 0 {
		t.Errorf("%d workers of the killed supervisord still run", len(left))
	}
	for _, name := range programs {
		if len(ofPart(processes(s.dir), name)) == 0 {
			t.Errorf("%s was not started again from %s", name, program)
		}
	}
}

// fakeRelease puts a release in place whose programs only wait: here it
// counts that they are run, not what they do.
func fakeRelease(t *testing.T, s *Sandbox) (program, copied string) {
	t.Helper()
	release := s.path("etf", "releases", "one")
	program = filepath.Join(release, "src", "backend", "bin", "etf-run")
	copied = filepath.Join(release, ".env")
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		program: "#!/bin/sh\nexec sleep 1000\n",
		copied:  "REDIS_URL=redis://old\nOTHER=kept\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("releases", "one"), s.path("etf", "current")); err != nil {
		t.Fatal(err)
	}
	return program, copied
}

func stops(ctx context.Context, t *testing.T, s *Sandbox) {
	if err := s.Down(ctx, false); err != nil {
		t.Fatal(err)
	}
	if left := processes(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	wantState(ctx, t, StateDown, s)
	if err := s.Down(ctx, false); err != nil {
		t.Errorf("down again: %v", err)
	}
}

func purges(ctx context.Context, t *testing.T, s *Sandbox) {
	if err := s.Down(ctx, true); err != nil {
		t.Fatal(err)
	}
	if left := processes(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	for _, path := range []string{s.dir, s.shortFolder()} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
}
