package host_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/host/hosttest"
)

func TestLocal(t *testing.T) {
	hosttest.Run(t, func(t testing.TB) (host.Host, string) { return host.Local{}, t.TempDir() })
}

// Who asks for an operation's processes, to end them, may carry its name.
func TestProcessesLeavesOutItself(t *testing.T) {
	environ, err := os.ReadFile("/proc/self/environ")
	if err != nil {
		t.Fatal(err)
	}
	for _, env := range strings.Split(strings.TrimSuffix(string(environ), "\x00"), "\x00") {
		found, err := host.Local{}.Processes(context.Background(), env)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range found {
			if p.PID == os.Getpid() {
				t.Errorf("by %s it found itself", env)
			}
		}
	}
}
