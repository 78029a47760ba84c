package cache_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var server *testserver.Redis

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) (err error) {
		server, err = testserver.StartRedis(dir)
		return err
	}))
}

// open gives a client and a plain connection for one database of its own.
func open(t *testing.T, db int) (*cache.Client, *redis.Client) {
	t.Helper()
	c, err := cache.New(host.Local{}, server.URL(db), cache.Options{Flags: []string{"etf_updates_paused"}, Queues: []string{"prices"}})
	if err != nil {
		t.Fatal(err)
	}
	opts, err := redis.ParseURL(server.URL(db))
	if err != nil {
		t.Fatal(err)
	}
	raw := redis.NewClient(opts)
	t.Cleanup(func() { c.Close(); raw.Close() })
	return c, raw
}

func fill(t *testing.T, raw *redis.Client, keys ...string) {
	t.Helper()
	for _, key := range keys {
		if err := raw.Set(t.Context(), key, "x", 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
}

var celerys = []string{"celery", "celery\x06\x163", "prices", "_kombu.binding.celery", "unacked", "unacked_index",
	"celery-task-meta-1", "0f.reply.celery.pidbox"}

func TestClearTakesTheCacheAndNothingElse(t *testing.T) {
	c, raw := open(t, 1)
	const n = 5300
	pipe := raw.Pipeline()
	for i := range n {
		pipe.Set(t.Context(), fmt.Sprintf("etf:[c]*%d", i), i, 0)
	}
	if _, err := pipe.Exec(t.Context()); err != nil {
		t.Fatal(err)
	}
	fill(t, raw, "etf:c1", "etf:[c]", "session:1", "etf_updates_paused")
	fill(t, raw, celerys...)
	const prefix = "etf:[c]*"

	found, err := c.Look(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	if found.Cache != n || found.Celery != int64(len(celerys)) || !slices.Equal(found.Flags, []string{"etf_updates_paused"}) || found.Other != 3 {
		t.Errorf("Look = %+v", found)
	}
	var last, calls int64
	cleared, err := c.Clear(t.Context(), prefix, func(done, total int64) {
		if done < last || total < done {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		last, calls = done, calls+1
	})
	if err != nil || cleared != n || last != n || calls < 3 {
		t.Errorf("Clear = %d, %v; progress reached %d in %d calls", cleared, err, last, calls)
	}
	left, err := raw.DBSize(t.Context()).Result()
	if err != nil || left != int64(len(celerys))+4 {
		t.Errorf("%d keys are left, %v, want %d", left, err, len(celerys)+4)
	}
	if cleared, err := c.Clear(t.Context(), prefix, nil); cleared != 0 || err != nil {
		t.Errorf("clearing an empty cache = %d, %v", cleared, err)
	}
}

// A prefix that a flag or a queue begins with as well does not make it cache.
func TestAShortPrefixSparesFlagsAndQueues(t *testing.T) {
	c, raw := open(t, 2)
	fill(t, raw, append([]string{"c1", "etf_updates_paused", "e1"}, celerys...)...)
	for prefix, want := range map[string]int64{"c": 1, "e": 1, "_": 0, "un": 0} {
		if got, err := c.Clear(t.Context(), prefix, nil); got != want || err != nil {
			t.Errorf("Clear(%q) = %d, %v, want %d", prefix, got, err, want)
		}
	}
}

func TestAWholeDatabaseIsClearedOnlyWhenItIsTheCaches(t *testing.T) {
	for _, foreign := range append([]string{"etf_updates_paused"}, celerys...) {
		c, raw := open(t, 3)
		raw.FlushDB(t.Context())
		fill(t, raw, "a", "b", foreign)
		n, err := c.Clear(t.Context(), "", nil)
		var refused *cache.ForeignError
		if !errors.As(err, &refused) || n != 0 || !strings.Contains(err.Error(), foreign) {
			t.Errorf("with %q in it: %d, %v", foreign, n, err)
		}
		if left := raw.DBSize(t.Context()).Val(); left != 3 {
			t.Errorf("with %q in it: %d keys are left, want 3", foreign, left)
		}
	}
	c, raw := open(t, 4)
	fill(t, raw, "a", "b")
	if n, err := c.Clear(t.Context(), "", nil); n != 2 || err != nil {
		t.Errorf("Clear of a database of the cache's own = %d, %v", n, err)
	}
}

func TestInfoPingFlag(t *testing.T) {
	c, raw := open(t, 5)
	if _, err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	info, err := c.Info(t.Context())
	if err != nil || info.UsedMemory == 0 || info.EvictionPolicy != "noeviction" || !strings.Contains(info.Version, ".") {
		t.Errorf("Info = %+v, %v", info, err)
	}
	if f, err := c.Paused(t.Context(), "etf_updates_paused"); f != nil || err != nil {
		t.Errorf("a flag that is not set = %+v, %v", f, err)
	}
	raw.Set(t.Context(), "etf_updates_paused", "by tests", time.Hour)
	if f, err := c.Paused(t.Context(), "etf_updates_paused"); f == nil || f.Raw != "by tests" || f.Until == nil || time.Until(*f.Until) < time.Minute || err != nil {
		t.Errorf("a flag that is set = %+v, %v", f, err)
	}
}

func TestErrorsAreToldApart(t *testing.T) {
	closed, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, test := range []struct {
		name, url string
		want      error
	}{
		{"wrong password", fmt.Sprintf("redis://:wrong-one@127.0.0.1:%d/0", server.Port), cache.ErrLogin},
		{"no password", fmt.Sprintf("redis://127.0.0.1:%d/0", server.Port), cache.ErrLogin},
		{"no such database", server.URL(99), cache.ErrNoDatabase},
		{"closed port", fmt.Sprintf("redis://:pw-unused@127.0.0.1:%d/0", closed), cache.ErrUnreachable},
		{"silent server", fmt.Sprintf("redis://:pw-unused@%s/0", silent.Addr()), cache.ErrUnreachable},
	} {
		t.Run(test.name, func(t *testing.T) {
			c, err := cache.New(host.Local{}, test.url, cache.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err = c.Ping(ctx)
			if !errors.Is(err, test.want) {
				t.Errorf("Ping: %v, want %v", err, test.want)
			}
			for _, secret := range []string{"wrong-one", "pw-unused", server.Password} {
				if err != nil && strings.Contains(err.Error(), secret) {
					t.Errorf("the error holds the password: %v", err)
				}
			}
		})
	}
	if _, err := cache.New(host.Local{}, "redis://:se%ret@h/0", cache.Options{}); err == nil || strings.Contains(err.Error(), "se%ret") {
		t.Errorf("malformed URL: %v", err)
	}
}

// A pause that the suite has set itself does not keep a database of the
// cache's own from being cleared, and stays.
func TestAWholeDatabaseIsClearedUnderAPauseOfOurs(t *testing.T) {
	c, raw := open(t, 11)
	fill(t, raw, "a", "b")
	if _, _, err := c.SetPause(t.Context(), pauseKey, pause); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Clear(t.Context(), "", nil); n != 2 || err != nil {
		t.Errorf("Clear = %d, %v", n, err)
	}
	if p, err := c.Paused(t.Context(), pauseKey); p == nil || err != nil {
		t.Errorf("the pause: %v, %v", p, err)
	}
}
