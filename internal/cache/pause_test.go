package cache_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
)

const pauseKey = "etf_updates_paused"

var pause = cache.Pause{Since: time.Date(2026, 11, 23, 1, 2, 3, 0, time.UTC), By: "eve@laptop", Reason: "wrong prices since 1.3: \"check\"", Operation: "op-7"}

func TestPause(t *testing.T) {
	c, raw := open(t, 6)
	if p, err := c.Paused(t.Context(), pauseKey); p != nil || err != nil {
		t.Errorf("before: %+v, %v", p, err)
	}
	if p, err := c.ClearPause(t.Context(), pauseKey); p != nil || err != nil {
		t.Errorf("clearing none: %+v, %v", p, err)
	}
	if p, set, err := c.SetPause(t.Context(), pauseKey, pause); !set || err != nil || !cmp.Equal(p, pause) {
		t.Errorf("SetPause = %+v, %v, %v", p, set, err)
	}
	if ttl := raw.TTL(t.Context(), pauseKey).Val(); ttl != -1 {
		t.Errorf("it ends by itself: %v", ttl)
	}
	later := cache.Pause{Since: pause.Since.Add(time.Hour), By: "bob@laptop"}
	if p, set, err := c.SetPause(t.Context(), pauseKey, later); set || err != nil || !cmp.Equal(p, pause) {
		t.Errorf("a second SetPause = %+v, %v, %v; want the first", p, set, err)
	}
	if p, err := c.Paused(t.Context(), pauseKey); err != nil || p == nil || !cmp.Equal(*p, pause) {
		t.Errorf("Paused = %+v, %v", p, err)
	}
	if got := pause.String(); got != `since 2026-11-23T01:02:03Z by eve@laptop in op-7: wrong prices since 1.3: "check"` {
		t.Error(got)
	}
	if p, err := c.ClearPause(t.Context(), pauseKey); err != nil || p == nil || !cmp.Equal(*p, pause) {
		t.Errorf("ClearPause = %+v, %v", p, err)
	}
	if n := raw.Exists(t.Context(), pauseKey).Val(); n != 0 {
		t.Error("it is still set")
	}
}

// Whatever the key holds, the service stops; it is shown and never replaced.
func TestPauseSetByHand(t *testing.T) {
	c, raw := open(t, 7)
	for _, value := range []string{"1", "", "true", "{}", `{"v":1}`, `{"v":2,"since":"2026-11-23T01:02:03Z"}`, `{"since":"2026-11-23T01:02:03Z"}`, "[]", "stop\nit"} {
		if err := raw.Set(t.Context(), pauseKey, value, 0).Err(); err != nil {
			t.Fatal(err)
		}
		p, set, err := c.SetPause(t.Context(), pauseKey, pause)
		if set || err != nil || !cmp.Equal(p, cache.Pause{Raw: value}) {
			t.Errorf("%q: SetPause = %+v, %v, %v", value, p, set, err)
		}
		if text := p.String(); !strings.Contains(text, "set by hand") || !strings.Contains(text, "since when is not recorded") || strings.Contains(text, "\n") {
			t.Errorf("%q: %s", value, text)
		}
		if got := raw.Get(t.Context(), pauseKey).Val(); got != value {
			t.Errorf("%q was replaced by %q", value, got)
		}
	}
	raw.Del(t.Context(), pauseKey)
	raw.LPush(t.Context(), pauseKey, "x")
	if p, err := c.Paused(t.Context(), pauseKey); err != nil || p == nil || p.Raw == "" {
		t.Errorf("a list: %+v, %v", p, err)
	}
	if p, err := c.ClearPause(t.Context(), pauseKey); err != nil || p == nil || raw.Exists(t.Context(), pauseKey).Val() != 0 {
		t.Errorf("clearing a list: %+v, %v", p, err)
	}
	raw.Set(t.Context(), pauseKey, "1", time.Hour)
	if p, err := c.Paused(t.Context(), pauseKey); err != nil || p == nil || p.Until == nil || time.Until(*p.Until) < 59*time.Minute || !strings.Contains(p.String(), "ends by itself at") {
		t.Errorf("one with an end: %+v, %v", p, err)
	}
}

// Of many who pause at once, one has set the flag and all say the same.
func TestPauseSideBySide(t *testing.T) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	sets, said := 0, map[string]bool{}
	for i := range 8 {
		c, _ := open(t, 8)
		wg.Go(func() {
			p := pause
			p.By = strings.Repeat("x", i+1)
			now, set, err := c.SetPause(t.Context(), pauseKey, p)
			mu.Lock()
			defer mu.Unlock()
			if said[now.By] = true; set {
				sets++
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if sets != 1 || len(said) != 1 {
		t.Errorf("%d have set it, %d answers", sets, len(said))
	}
}

// A flag is changed or taken away only while it says what it was judged by.
func TestChangePause(t *testing.T) {
	c, raw := open(t, 10)
	mine := func(next *cache.Pause) func(cache.Pause) (*cache.Pause, bool) {
		return func(now cache.Pause) (*cache.Pause, bool) { return next, now.Operation == pause.Operation }
	}
	if was, changed, err := c.ChangePause(t.Context(), pauseKey, mine(nil)); was != nil || changed || err != nil {
		t.Errorf("without a flag: %+v, %t, %v", was, changed, err)
	}
	raw.Set(t.Context(), pauseKey, "1", 0)
	if was, changed, err := c.ChangePause(t.Context(), pauseKey, mine(nil)); was == nil || was.Raw != "1" || changed || err != nil {
		t.Errorf("somebody else's: %+v, %t, %v", was, changed, err)
	}
	raw.Del(t.Context(), pauseKey)
	if _, _, err := c.SetPause(t.Context(), pauseKey, pause); err != nil {
		t.Fatal(err)
	}
	next := pause
	next.Reason = "it failed"
	tries := 0
	was, changed, err := c.ChangePause(t.Context(), pauseKey, func(now cache.Pause) (*cache.Pause, bool) {
		if tries++; tries == 1 { // somebody is faster
			raw.Set(t.Context(), pauseKey, `{"v":1,"since":"2026-11-23T01:02:03Z","by":"bob@laptop","operation":"op-7"}`, 0)
		}
		return &next, now.Operation == "op-7"
	})
	if err != nil || !changed || tries != 2 || was.By != "bob@laptop" {
		t.Errorf("%+v, %t, %v after %d tries", was, changed, err, tries)
	}
	if p, err := c.Paused(t.Context(), pauseKey); err != nil || p == nil || !cmp.Equal(*p, next) {
		t.Errorf("Paused = %+v, %v", p, err)
	}
	if was, changed, err := c.ChangePause(t.Context(), pauseKey, mine(nil)); err != nil || !changed || !cmp.Equal(*was, next) || raw.Exists(t.Context(), pauseKey).Val() != 0 {
		t.Errorf("taking it away: %+v, %t, %v", was, changed, err)
	}
	c.Close()
	if _, _, err := c.ChangePause(t.Context(), pauseKey, mine(nil)); err == nil {
		t.Error("of a closed server: no error")
	}
}

func TestPauseOfAClosedServer(t *testing.T) {
	c, _ := open(t, 9)
	c.Close()
	if _, err := c.Paused(t.Context(), pauseKey); err == nil {
		t.Error("Paused: no error")
	}
	if _, _, err := c.SetPause(t.Context(), pauseKey, pause); err == nil {
		t.Error("SetPause: no error")
	}
	if _, err := c.ClearPause(t.Context(), pauseKey); err == nil {
		t.Error("ClearPause: no error")
	}
}
