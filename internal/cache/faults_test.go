package cache_test

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// own starts a server that a test may harm. The client is not asked to wait
// for it: it may be loading.
func own(t *testing.T, dir string, args ...string) (*cache.Client, *redis.Client, *exec.Cmd) {
	t.Helper()
	port, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/redis-server", append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", dir, "--save", ""}, args...)...)
	stop, err := testserver.Start(cmd, filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := cache.New(host.Local{}, fmt.Sprintf("redis://127.0.0.1:%d/0", port), cache.Options{})
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(&redis.Options{Addr: fmt.Sprintf("127.0.0.1:%d", port)})
	t.Cleanup(func() { c.Close(); raw.Close(); cmd.Process.Signal(syscall.SIGCONT); stop() })
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err := raw.Ping(t.Context()).Err(); err == nil || strings.HasPrefix(err.Error(), "LOADING") {
			return c, raw, cmd
		}
	}
	t.Fatal("redis does not come up")
	return nil, nil, nil
}

func says(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, w := range words {
		if err == nil || !strings.Contains(err.Error(), w) {
			t.Errorf("%v: does not say %q", err, w)
		}
	}
}

func TestAServerThatLoads(t *testing.T) {
	dir := t.TempDir()
	_, raw, cmd := own(t, dir)
	pipe := raw.Pipeline()
	for i := range 2000 {
		pipe.Set(t.Context(), fmt.Sprint("etf:cache:", i), strings.Repeat("x", 2000), 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := raw.Save(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Kill()
	c, _, _ := own(t, dir, "--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
	_, err := c.Ping(t.Context())
	says(t, err, "LOADING", "wait until it has")
	_, err = c.Clear(t.Context(), "etf:cache:", nil)
	says(t, err, "LOADING", "clearing the cache")
	if info, err := c.Info(t.Context()); err == nil && info.Version == "" {
		t.Errorf("Info = %+v", info)
	}
}

func TestAReplica(t *testing.T) {
	_, master, _ := own(t, t.TempDir())
	fill(t, master, "etf:cache:1")
	_, port, _ := strings.Cut(master.Options().Addr, ":")
	c, raw, _ := own(t, t.TempDir(), "--replicaof", "127.0.0.1", port)
	for end := time.Now().Add(10 * time.Second); raw.DBSize(t.Context()).Val() != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not follow its master")
		}
	}
	if info, err := c.Info(t.Context()); err != nil || !info.Replica {
		t.Errorf("Info = %+v, %v", info, err)
	}
	says(t, c.Writable(t.Context(), "etf:cache:"), "READONLY", "its master")
	n, err := c.Clear(t.Context(), "etf:cache:", nil)
	says(t, err, "READONLY")
	if n != 0 || raw.DBSize(t.Context()).Val() != 1 {
		t.Errorf("%d removed", n)
	}
}

// A cache that has filled the server's memory can still be cleared.
func TestAFullServer(t *testing.T) {
	c, raw, _ := own(t, t.TempDir())
	fill(t, raw, "etf:cache:1", "etf:cache:2")
	raw.ConfigSet(t.Context(), "maxmemory", "1")
	if err := raw.Set(t.Context(), "more", "x", 0).Err(); err == nil || !strings.HasPrefix(err.Error(), "OOM") {
		t.Fatalf("it is not full: %v", err)
	}
	info, err := c.Info(t.Context())
	if err != nil || info.MaxMemory != 1 || info.UsedMemory <= info.MaxMemory {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if err := c.Writable(t.Context(), "etf:cache:"); err != nil {
		t.Error(err)
	}
	if n, err := c.Clear(t.Context(), "etf:cache:", nil); n != 2 || err != nil {
		t.Errorf("Clear = %d, %v", n, err)
	}
	_, _, err = c.SetPause(t.Context(), pauseKey, pause)
	says(t, err, "OOM", "maxmemory")
}

// One that falls silent holds nobody longer than the context.
func TestAFrozenServer(t *testing.T) {
	c, _, cmd := own(t, t.TempDir())
	if _, err := c.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	cmd.Process.Signal(syscall.SIGSTOP)
	for name, call := range map[string]func(context.Context) error{
		"Ping":     func(ctx context.Context) error { _, err := c.Ping(ctx); return err },
		"Info":     func(ctx context.Context) error { _, err := c.Info(ctx); return err },
		"Look":     func(ctx context.Context) error { _, err := c.Look(ctx, "x"); return err },
		"Clear":    func(ctx context.Context) error { _, err := c.Clear(ctx, "x", nil); return err },
		"Writable": func(ctx context.Context) error { return c.Writable(ctx, "x") },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		cancel()
		if !errors.Is(err, cache.ErrUnreachable) || time.Since(began) > 2*time.Second {
			t.Errorf("%s: %v after %v", name, err, time.Since(began))
		}
	}
	cmd.Process.Signal(syscall.SIGCONT)
	if _, err := c.Ping(t.Context()); err != nil {
		t.Errorf("when it is back: %v", err)
	}
}

// While many keys are removed the server goes on answering, and who waits sees
// how far it is.
func TestClearBlocksNobody(t *testing.T) {
	const n = 300_000
	c, raw, _ := own(t, t.TempDir())
	for from := 0; from < n; from += 10_000 {
		pipe := raw.Pipeline()
		for i := range 10_000 {
			pipe.Set(t.Context(), fmt.Sprint("etf:cache:", from+i), "0123456789", 0)
		}
		if _, err := pipe.Exec(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	fill(t, raw, "etf:other:1")
	stop, worst := make(chan bool), make(chan time.Duration)
	go func() {
		var longest time.Duration
		for {
			select {
			case <-stop:
				worst <- longest
				return
			default:
				began := time.Now()
				raw.Ping(t.Context())
				longest = max(longest, time.Since(began))
			}
		}
	}()
	steps := 0
	began := time.Now()
	cleared, err := c.Clear(t.Context(), "etf:cache:", func(_, total int64) {
		if steps++; total != n+1 {
			t.Errorf("total %d", total)
		}
	})
	took := time.Since(began)
	close(stop)
	longest := <-worst
	t.Logf("%d keys in %v, %d steps; the longest ping beside it %v", cleared, took, steps, longest)
	if err != nil || cleared != n || steps < n/2000 || longest > 500*time.Millisecond {
		t.Errorf("Clear = %d, %v in %d steps", cleared, err, steps)
	}
	if left := raw.DBSize(t.Context()).Val(); left != 1 {
		t.Errorf("%d keys are left", left)
	}
}
