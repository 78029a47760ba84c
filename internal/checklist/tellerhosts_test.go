package checklist

import (
	"context"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// countingHost counts which files are read whole.
type countingHost struct {
	host.Host
	mu   sync.Mutex
	read map[string]int
}

func (h *countingHost) ReadFile(ctx context.Context, path string) ([]byte, error) {
	h.mu.Lock()
	h.read[filepath.Base(path)]++
	h.mu.Unlock()
	return h.Host.ReadFile(ctx, path)
}

// readSlowly is a host on which journals are far away.
type readSlowly struct {
	host.Host
	takes time.Duration
}

func (h *readSlowly) ReadFile(ctx context.Context, path string) ([]byte, error) {
	if strings.HasSuffix(path, ".jsonl") {
		time.Sleep(h.takes)
	}
	return h.Host.ReadFile(ctx, path)
}

func (h *readSlowly) Open(ctx context.Context, path string, at int64) (io.ReadCloser, host.FileInfo, error) {
	time.Sleep(h.takes)
	return h.Host.Open(ctx, path, at)
}

// stuckHost has a disk that hangs when metrics are written, whatever the
// context says.
type stuckHost struct {
	host.Host
	hangs chan struct{}

	mu    sync.Mutex
	tries int
}

func (h *stuckHost) WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if strings.HasSuffix(path, ".prom") {
		h.mu.Lock()
		h.tries++
		h.mu.Unlock()
		<-h.hangs
	}
	return h.Host.WriteFile(ctx, path, data, mode)
}
