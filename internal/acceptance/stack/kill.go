package stack

import (
	"context"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
)

// PIDs are those of the service's processes with this beginning of their name.
func (s *Stack) PIDs(t testing.TB, name string) (all []int) {
	t.Helper()
	for _, p := range s.Status(t).Processes {
		if strings.HasPrefix(p.Name, name) {
			all = append(all, p.PID)
		}
	}
	if len(all) == 0 {
		t.Fatalf("no process %s", name)
	}
	return all
}

// Kill ends one server of the sandbox; revive brings it back.
func (s *Stack) Kill(t testing.TB, name string) (revive func()) {
	t.Helper()
	status, err := s.Sandbox.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(status.Parts, func(p sandbox.PartStatus) bool { return p.Name == name })
	if i < 0 || status.Parts[i].PID == 0 {
		t.Fatalf("no part %s: %+v", name, status.Parts)
	}
	syscall.Kill(status.Parts[i].PID, syscall.SIGTERM)
	s.Await(t, 30*time.Second, name+" to end", func() bool {
		conn, err := net.DialTimeout("tcp", strings.TrimPrefix(status.Parts[i].Address, "http://"), time.Second)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	return func() {
		if err := s.Revive(context.Background()); err != nil {
			t.Error(err)
		}
	}
}
