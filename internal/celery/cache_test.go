package celery_test

import (
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	goredis "github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A broker that is also the cache's database keeps everything of Celery's:
// tasks that wait by priority, in a queue that is configured nowhere and in one
// that is named like the cache; tasks in a worker's hands; bindings; results.
func TestClearingTheCacheSparesARealBroker(t *testing.T) {
	for name, env := range map[string]string{"plain": "KEYPREFIX=", "prefixed": "KEYPREFIX=etf:cache:"} {
		t.Run(name, func(t *testing.T) {
			db := map[string]int{"plain": 6, "prefixed": 7}[name]
			url := redis.URL(db)
			t.Setenv("CELERY_RESULT_BACKEND", url)
			t.Setenv("KEYPREFIX", strings.TrimPrefix(env, "KEYPREFIX="))
			stop, err := startWorker(filepath.Join(t.TempDir(), "worker.log"), url, "kept@test")
			if err != nil {
				t.Fatal(err)
			}
			ready(t, open(t, host.Local{}, url, env, "CELERY_RESULT_BACKEND="+url), []string{"kept@test"})
			call(t, url, "app.tasks.nap", "--args=[0]") // leaves a result
			call(t, url, "app.tasks.nap", "--args=[0]", "--countdown=3600")
			sendMany(t, url, "etf:cache:queue", 30)
			sendMany(t, url, "cached", 30)
			opts, err := goredis.ParseURL(url)
			if err != nil {
				t.Fatal(err)
			}
			raw := goredis.NewClient(opts)
			defer raw.Close()
			prefix := strings.TrimPrefix(env, "KEYPREFIX=")
			for end := time.Now().Add(20 * time.Second); raw.HLen(t.Context(), prefix+"unacked").Val() < 1 || len(raw.Keys(t.Context(), "*celery-task-meta-*").Val()) < 1; {
				if time.Now().After(end) {
					t.Fatalf("the broker holds only %q", raw.Keys(t.Context(), "*").Val())
				}
			}
			sparedBy(t, raw, url)
			stop()
			sparedBy(t, raw, url) // and when nobody is there
		})
	}
}

func sparedBy(t *testing.T, raw *goredis.Client, url string) {
	t.Helper()
	ctx := t.Context()
	c, err := cache.New(host.Local{}, url, cache.Options{Flags: []string{"etf_updates_paused"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	contents := func() map[string]string {
		all := map[string]string{}
		for _, key := range raw.Keys(ctx, "*").Val() {
			if !strings.Contains(key, "unacked_mutex") && !strings.Contains(key, "_deadlines") && !strings.HasPrefix(key, "etf:cache:answer") {
				all[key] = raw.Dump(ctx, key).Val()
			}
		}
		return all
	}
	before := contents()
	for _, answer := range []string{"etf:cache:answer1", "etf:cache:answer2"} {
		raw.Set(ctx, answer, "x", 0)
	}
	raw.LPush(ctx, "etf:cache:answer3", "a", "b")
	found, err := c.Look(ctx, "etf:cache:")
	if err != nil || found.Cache != 3 || found.Celery < int64(len(before)) || found.Other != 0 {
		t.Errorf("Look = %+v, %v with %q", found, err, slices.Sorted(maps.Keys(before)))
	}
	for prefix, want := range map[string]int64{"etf:cache:": 3, "c": 0, "cached": 0, "_": 0, "u": 0, "celery": 0, "k": 0, "etf": 0} {
		if prefix == "etf" {
			raw.Set(ctx, "etf:cache:answer4", "x", 0)
			want = -1
		}
		n, err := c.Clear(ctx, prefix, nil)
		if err != nil || want == 0 && n != 0 {
			t.Errorf("Clear(%q) = %d, %v", prefix, n, err)
		}
	}
	var foreign *cache.ForeignError
	if n, err := c.Clear(ctx, "", nil); n != 0 || !errors.As(err, &foreign) {
		t.Errorf("Clear of the whole database = %d, %v", n, err)
	}
	if left := raw.Keys(ctx, "etf:cache:answer*").Val(); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
	if diff := cmp.Diff(before, contents()); diff != "" {
		t.Errorf("what is Celery's was changed: %s", diff)
	}
}
