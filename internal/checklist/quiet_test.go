package checklist

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// held is a task in the hands of worker0 that was begun so long before noon;
// 0: it was not begun.
func held(id string, began time.Duration) heldTask {
	t := heldTask{celery.Task{ID: id, Name: "app.tasks.etf.update_etf"}, "worker0@etf"}
	if began != 0 {
		t.Started = noon.Add(-began)
	}
	return t
}

// What keeps updates from being at rest, and what only looks so.
func TestHolds(t *testing.T) {
	row := processingRow{Table: "etf_updates", ID: "17", ETF: "VWCE.DE", Since: noon.Add(-3 * time.Hour)}
	tasks := func(all ...heldTask) []heldTask { return all }
	for _, c := range []struct {
		name   string
		look   updatesLook
		before *updatesLook
		paused bool // for a minute
		want   []string
	}{
		{"nothing", updatesLook{}, nil, true, nil},
		{"one that began before the pause", updatesLook{Active: tasks(held("a", 2*time.Minute))}, nil, true,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:58:00Z, for 2 min 00 s"}},
		{"one that puts itself off", updatesLook{Active: tasks(held("a", time.Second))}, nil, true, nil},
		{"one that takes no notice of the pause", updatesLook{Active: tasks(held("a", 4*time.Second))}, nil, true,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:59:56Z, for 4.0 s"}},
		{"one just begun, and no pause", updatesLook{Active: tasks(held("a", time.Second))}, nil, false,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:59:59Z, for 1.0 s"}},
		{"reserved, in the first look", updatesLook{Reserved: tasks(held("a", 0))}, nil, true, []string{"app.tasks.etf.update_etf (a) is reserved on worker0@etf"}},
		{"reserved, as before", updatesLook{Reserved: tasks(held("a", 0))}, &updatesLook{Reserved: tasks(held("a", 0))}, true,
			[]string{"app.tasks.etf.update_etf (a) is reserved on worker0@etf"}},
		{"reserved, another one than before", updatesLook{Reserved: tasks(held("a", 0))}, &updatesLook{Reserved: tasks(held("b", 0))}, true, nil},
		{"reserved and begun between two questions", updatesLook{Reserved: tasks(held("a", 0)), Active: tasks(held("a", time.Hour))}, nil, true,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:00:00Z, for 1 h 00 min"}},
		{"a worker that does not answer", updatesLook{Unasked: "celery active: no answer in time from worker1@etf (worker0@etf did)"}, nil, true,
			[]string{"what all workers do is not known: celery active: no answer in time from worker1@etf (worker0@etf did)"}},
		{"a row with its task", updatesLook{Active: tasks(held("a", time.Hour)), Rows: []processingRow{row}}, nil, true,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:00:00Z, for 1 h 00 min", "etf_updates 17 of VWCE.DE is processing since 2026-11-23T09:00:00Z, for 3 h 00 min"}},
		{"a row that nobody works at", updatesLook{Rows: []processingRow{row}}, nil, true,
			[]string{"DEAD etf_updates 17 of VWCE.DE is processing since 2026-11-23T09:00:00Z, for 3 h 00 min, and no worker holds a task: it will not end by itself while updates are paused"}},
		{"a row that somebody may begin to work at", updatesLook{Rows: []processingRow{row}}, nil, false,
			[]string{"etf_updates 17 of VWCE.DE is processing since 2026-11-23T09:00:00Z, for 3 h 00 min"}},
		{"a row whose worker may not have answered", updatesLook{Rows: []processingRow{{Table: "exchange_rate_updates", ID: "3"}}, Unasked: "x"}, nil, true,
			[]string{"what all workers do is not known: x", "exchange_rate_updates 3 is processing"}},
		{"a gauge that nothing bears out", updatesLook{Gauge: 2}, nil, true,
			[]string{"DEAD etf_active_updates says 2, though no worker holds a task and no row is processing: a process that was killed may have left it so"}},
		{"a gauge with a row", updatesLook{Gauge: 1, Rows: []processingRow{row}, Active: tasks(held("a", time.Hour))}, nil, true,
			[]string{"app.tasks.etf.update_etf (a) runs on worker0@etf since 2026-11-23T11:00:00Z, for 1 h 00 min", "etf_updates 17 of VWCE.DE is processing since 2026-11-23T09:00:00Z, for 3 h 00 min", "etf_active_updates says 1"}},
		{"a gauge that was not seen", updatesLook{Blind: "404"}, nil, true, nil},
	} {
		c.look.At = noon
		began := time.Time{}
		if c.paused {
			began = noon.Add(-time.Minute)
		}
		var got []string
		for _, h := range c.look.holds(c.before, began) {
			text := h.Text
			if h.Dead {
				text = "DEAD " + text
			}
			got = append(got, text)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: want (-) and got (+) differ:\n%s", c.name, diff)
		}
	}
}

func TestHoldsTextNamesTheLongestOfEachKind(t *testing.T) {
	var l updatesLook
	l.At = noon
	for _, id := range strings.Split("abcdefg", "") {
		l.Active = append(l.Active, held(id, time.Duration(id[0])*time.Minute))
	}
	l.Rows = []processingRow{{Table: "etf_updates", ID: "1"}}
	text := holdsText(l.holds(nil, time.Time{}))
	if !strings.HasPrefix(text, "app.tasks.etf.update_etf (g) ") || strings.Contains(text, "(b)") || !strings.Contains(text, "; and 2 more tasks; etf_updates 1 is processing") {
		t.Error(text)
	}
}

// awaited judges looks, half a second apart.
func awaited(limit time.Duration, looks ...updatesLook) (w *waiting, n int, err error) {
	w = &waiting{limit: limit, began: noon, Waited: &Waited{}, progress: progress{func(int64, int64, string) {}, func(string) {}}}
	for i, l := range looks {
		l.At = noon.Add(time.Duration(i) * lookEvery)
		if done, err := w.judge(l); done || err != nil {
			return w, i + 1, err
		}
	}
	return w, len(looks), nil
}

func TestWaiting(t *testing.T) {
	paused := &cache.Pause{Since: noon.Add(-time.Minute), By: "eve@laptop"}
	rest := updatesLook{Pause: paused}
	busy := updatesLook{Pause: paused, Active: []heldTask{held("a", time.Hour)}}
	dead := updatesLook{Pause: paused, Rows: []processingRow{{Table: "etf_updates", ID: "17", Since: noon.Add(-time.Hour)}}}
	repeat := func(l updatesLook, n int) (all []updatesLook) {
		for range n {
			all = append(all, l)
		}
		return all
	}
	then := func(all []updatesLook, more ...updatesLook) []updatesLook { return append(all, more...) }
	for _, c := range []struct {
		name  string
		limit time.Duration
		looks []updatesLook
		n     int // looks until it ends
		says  string
		warns string
	}{
		{"at rest needs two looks on end", time.Minute, []updatesLook{rest, busy, rest, rest, rest}, 4, "", ""},
		{"the time is up", 2 * time.Second, repeat(busy, 20), 5, "updates are not at rest, after 2.0 s: app.tasks.etf.update_etf (a) runs on worker0@etf", ""},
		{"what is dead is not waited for", time.Hour, repeat(dead, 100), 21, "nothing that would end by itself is left: etf_updates 17", ""},
		{"what looked dead goes on", time.Hour, then(then(repeat(dead, 15), busy), repeat(dead, 15)...), 31, "", ""},
		{"no pause", time.Minute, []updatesLook{{}, {}, {}}, 2, "", "updates are not paused"},
		{"the flag goes meanwhile", time.Minute, []updatesLook{busy, {}}, 2, "the pause flag was taken away", ""},
		{"no metrics", time.Minute, []updatesLook{{Pause: paused, Blind: "/metrics answers 404"}, {Pause: paused, Blind: "/metrics answers 404"}}, 2, "", "etf_active_updates was not seen, so workers and rows alone are judged: /metrics answers 404"},
	} {
		w, n, err := awaited(c.limit, c.looks...)
		if n != c.n || (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !errors.Is(err, step.ErrFault)) {
			t.Errorf("%s: after %d looks %v, want %d and %q", c.name, n, err, c.n, c.says)
		}
		if c.says == "" && c.name != "what looked dead goes on" && (!w.AtRest || len(w.Holds) > 0) {
			t.Errorf("%s: not at rest: %+v", c.name, w.Waited)
		}
		if strings.Join(w.Warnings, "|") != c.warns && (c.warns == "" || !strings.Contains(strings.Join(w.Warnings, "|"), c.warns) || len(w.Warnings) > 1) {
			t.Errorf("%s: warnings %q, want %q", c.name, w.Warnings, c.warns)
		}
	}
}

func TestUpdateTasksAreNamedInTheConfiguration(t *testing.T) {
	target := &Target{Config: &config.Config{Celery: config.Celery{Tasks: []string{"app.tasks.etf.", "rates."}}}}
	all := target.updateTasks(map[string][]celery.Task{
		"worker1@etf": {{ID: "b", Name: "rates.fetch"}, {ID: "c", Name: "app.tasks.maintenance.clean_up"}},
		"worker0@etf": {{ID: "a", Name: "app.tasks.etf.update_etf"}, {ID: "d", Name: "celery.ping"}},
	})
	if len(all) != 2 || all[0].Node != "worker0@etf" || all[0].ID != "a" || all[1].ID != "b" {
		t.Errorf("got %+v", all)
	}
}

func TestWhichWorkersCouldNotBeAsked(t *testing.T) {
	missing := &celery.MissingError{Question: "active", Missing: []string{"worker1@etf"}, Answered: []string{"worker0@etf"}}
	for _, c := range []struct {
		err    error
		atRest int
		want   bool
	}{
		{nil, 0, true}, {missing, 1, true}, {missing, 0, false}, {celery.ErrUnreachable, 1, false},
	} {
		if got := unasked(c.err, c.atRest); (got == "") != c.want {
			t.Errorf("%v with %d at rest: %q", c.err, c.atRest, got)
		}
	}
}
