package host_test

import (
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/host/hosttest"
)

func TestLocal(t *testing.T) {
	hosttest.Run(t, func(t testing.TB) (host.Host, string) { return host.Local{}, t.TempDir() })
}
