package checklist

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

func TestDepsRedis(t *testing.T) {
	server, err := testserver.StartRedis(serverDir(t))
	must(t, err)
	t.Cleanup(server.Stop)
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Timeouts.Check = 10 * time.Second
	c := &target.Config.Cache
	c.URL, c.Prefix = server.URL(0), "etf:cache:"
	target.Config.BrokerURL, target.Config.Celery.Queue = server.URL(1), "celery"
	opts, err := goredis.ParseURL(c.URL)
	must(t, err)
	raw := goredis.NewClient(opts)
	defer raw.Close()
	findings := func() map[string]report.Finding {
		t.Helper()
		all := map[string]report.Finding{}
		for _, f := range checkRedis.Run(t.Context(), target, Subject{}) {
			if all[f.Key] = f; f.Key == "" || strings.Contains(f.Found, server.Password) || strings.Contains(f.Found, "hidden-word") {
				t.Errorf("%+v: without a key, or with a secret", f)
			}
		}
		return all
	}
	set := func(keys ...string) {
		for _, key := range keys {
			must(t, raw.Set(t.Context(), key, "x", 0).Err())
		}
	}

	set("etf:cache:1", "etf:cache:2", "celery-task-meta-1", "session:1")
	got := findings()
	allWell(t, got, 3)
	wants(t, got["redis"], report.OK, "Redis 7", "no limit, noeviction", "clients")
	wants(t, got["cache"], report.OK, "would remove 2 of 4 keys, and leave 1 of Celery's, 0 flags and 1 others")
	if f := got["cache"]; f.Counts["cache"] != 2 || f.Counts["celery"] != 1 || f.Counts["other"] != 1 || !slices.Equal(f.Samples, []string{"session:1"}) || got["redis"].Counts["used_bytes"] == 0 {
		t.Errorf("%+v", f)
	}

	client, err := target.cache()
	must(t, err)
	defer client.Close()
	_, _, err = client.SetPause(t.Context(), c.PauseKey, cache.Pause{Since: time.Now().Add(-time.Hour), By: "eve@laptop", Reason: "wrong prices"})
	must(t, err)
	wants(t, findings()["pause"], report.Warning, "since ", "by eve@laptop: wrong prices")

	c.Prefix, c.WholeDatabase = "", true
	wants(t, findings()["cache"], report.Fault, "is not the cache's alone", "celery-task-meta-1")
	raw.Del(t.Context(), "celery-task-meta-1")
	wants(t, findings()["cache"], report.OK, "would remove 3 of 4 keys")
	set(c.PauseKey)
	wants(t, findings()["cache"], report.Fault, c.PauseKey)
	raw.Del(t.Context(), c.PauseKey)

	raw.ConfigSet(t.Context(), "maxmemory", "100mb")
	raw.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-lru")
	wants(t, findings()["redis"], report.Warning, "may drop the flag that pauses updates and tasks that wait")
	raw.ConfigSet(t.Context(), "maxmemory-policy", "volatile-lru")
	wants(t, findings()["redis"], report.OK, "volatile-lru")
	raw.ConfigSet(t.Context(), "maxmemory-policy", "noeviction")
	raw.ConfigSet(t.Context(), "maxmemory", "1mb")
	wants(t, findings()["redis"], report.Fault, "memory is full")
	raw.ConfigSet(t.Context(), "maxmemory", "0")
	raw.ReplicaOf(t.Context(), "127.0.0.1", "1")
	wants(t, findings()["changes"], report.Fault, "READONLY", "replica")
	raw.ReplicaOf(t.Context(), "no", "one")

	closed, err := testserver.Port()
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	target.Config.Timeouts.Connect = 500 * time.Millisecond
	for words, url := range map[string]string{
		"refused the login":  fmt.Sprintf("redis://:hidden-word@127.0.0.1:%d/0", server.Port),
		"is not reachable":   fmt.Sprintf("redis://:hidden-word@127.0.0.1:%d/0", closed),
		"no answer":          fmt.Sprintf("redis://:hidden-word@%s/0", silent.Addr()),
		"no such database":   server.URL(99),
		"not of the form re": "redis://h/x",
	} {
		c.URL = url
		began := time.Now()
		got := findings()
		if len(got) != 1 || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v after %v", words, got, time.Since(began))
		}
		wants(t, got["redis"], report.Unknown, words)
	}
}
