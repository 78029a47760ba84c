package faults

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A back is one way of an immediate rollback. The release that is left decides
// which way is taken.
type back struct {
	name    string
	release flavour
	skips   []string // steps that have nothing to do on this way
}

var backs = []back{
	{"restore", data, []string{"rollback:api"}},
	{"downgrade beside the API", expand, []string{"rollback:prepare", "rollback:written"}},
	{"downgrade", stops, []string{"rollback:prepare", "rollback:written", "rollback:api"}},
	{"code", code, []string{"rollback:prepare", "rollback:written", "rollback:api", "rollback:database"}},
}

// backSteps are those of an immediate rollback, in their order.
var backSteps = []string{
	"rollback:choose", "lease:fence", "rollback:prepare", "rollback:api", "services:stop", "rollback:written",
	"release:activate", "rollback:database", "services:start", "rollback:mark",
	"verify:api", "verify:tasks", "verify:metrics", "verify:alerts", "verify:backups", "verify:update",
	"verify:logs", "verify:performance", "verify:criteria",
	"rollback:notes",
}

var backArgs = []string{"rollback:immediate", "-carry=all", "-yes"}

func (b back) steps() []string {
	return slices.DeleteFunc(slices.Clone(backSteps), func(s string) bool { return slices.Contains(b.skips, s) })
}

// stage of a step in a rollback: before the service is touched, touched, seen to
// be there, written down.
func (b back) stage(step string) int {
	first := "services:stop"
	if !slices.Contains(b.skips, "rollback:api") {
		first = "rollback:api"
	}
	at := func(s string) int { return slices.Index(backSteps, s) }
	switch i := at(step); {
	case i < at(first):
		return 0
	case i <= at("rollback:mark"):
		return 1
	case i < at("rollback:notes"):
		return 2
	}
	return 3
}

// before is the release that a rollback goes to; it deploys one on top of it
// where the last rollback has come to its end.
func (r *rig) before(t *testing.T, b back) string {
	t.Helper()
	if r.from != "" && r.live != r.from && r.releases.flavours[r.live] == b.release {
		return r.from
	}
	target, err := r.releases.commit(t.Context(), b.release)
	if err != nil {
		t.Fatal(err)
	}
	r.from = r.live
	want(t, r.call(t, nil, "deploy", "-ref="+target), "the deployment to roll back from", 0)
	r.nowLive(target)
	return r.from
}

// runBack rolls back with a fault, ends what it left and looks whether all is
// whole.
func (r *rig) runBack(t *testing.T, b back, c cell) bool {
	began := time.Now()
	ok := r.cell(t, b.name+": "+c.step+" "+string(c.fault), func(t *testing.T) {
		to := r.before(t, b)
		run := r.call(t, stack.Faults(c.fault.point(c.step)), backArgs...)
		if !strings.Contains(run.Stderr, "rollback:choose") {
			t.Errorf("no rollback began:\n%s", run.Stderr)
		}
		if c.fault.kills() {
			want(t, run, "the rollback, which was to be killed", -1)
			r.tellsInterrupted(t)
			want(t, r.call(t, nil, c.way.args()...), string(c.way), 0)
			if c.way == forward || b.stage(c.step) > 1 {
				r.nowLive(to)
			}
		} else {
			code, outcome := []int{1, 3}, "unchanged"
			switch b.stage(c.step) {
			case 1:
				code, outcome = []int{1}, "undone"
			case 2:
				code, outcome = []int{4}, "left"
				r.nowLive(to)
			case 3:
				code, outcome = []int{0}, "succeeded"
				r.nowLive(to)
			}
			want(t, run, "the rollback with a step that "+string(c.fault), code...)
			if st := r.Status(t); st.Operation == nil || st.Operation.Outcome != outcome {
				t.Errorf("it ended as %+v, want %s", st.Operation, outcome)
			}
		}
		r.whole(t, r.live)
	})
	fmt.Printf("%s %-25s %-18s %-12s %-13s %5.1fs\n", mark(ok), b.name, c.step, c.fault, c.way, time.Since(began).Seconds())
	return ok
}

// backMatrix is every fault at every step of every way back. After a kill the
// two ways out take turns.
func (r *rig) backMatrix(t *testing.T, only string) {
	for _, b := range backs {
		for i, step := range b.steps() {
			if only != "" && only != step && only != b.name {
				continue
			}
			for k, f := range faults {
				c := cell{step: step, fault: f}
				if f.kills() {
					c.way = []way{forward, undo}[(i+k)%2]
				}
				r.runBack(t, b, c)
			}
		}
	}
	for _, step := range gradualSteps {
		for _, f := range faults {
			if only == "" || only == step || only == "gradual" {
				r.runGradual(t, step, f)
			}
		}
	}
}

// backPart is a choice of it: a rollback that restores, killed at each step and
// resumed; the way out of one, killed at each step of it; a failure on each way.
func (r *rig) backPart(t *testing.T) {
	restore := backs[0]
	r.cell(t, "a rollback killed at every step", func(t *testing.T) {
		to := r.before(t, restore)
		r.legs(t, killDuring, restore.steps(), backArgs...)
		r.nowLive(to)
		r.whole(t, r.live)
	})
	began := time.Now()
	ok := r.cell(t, "a rollback killed at every step of the way out of it", func(t *testing.T) {
		r.before(t, restore)
		run := r.call(t, stack.Faults("rollback:mark:after=kill"), backArgs...)
		want(t, run, "the rollback, which was to be killed", -1)
		w := undo
		for _, step := range []string{"rollback:mark", "services:start", "rollback:database", "release:activate", "services:stop", "rollback:prepare"} {
			want(t, r.call(t, stack.Faults(step+":undo=kill"), w.args()...), "the way out, to be killed at "+step, -1)
			r.tellsInterrupted(t)
			w = forward // which goes on with the way that was begun
		}
		want(t, r.call(t, nil, forward.args()...), "the last leg of the way out", 0)
		r.whole(t, r.live)
	})
	fmt.Printf("%s %-45s %5.1fs\n", mark(ok), "a rollback killed at every step of the way out", time.Since(began).Seconds())
	r.runBack(t, restore, cell{"rollback:database", fails, ""})
	r.runBack(t, restore, cell{"verify:update", fails, ""})
	r.runBack(t, backs[1], cell{"rollback:database", killAfter, undo})
	r.runBack(t, backs[2], cell{"services:start", hangs, ""})
	r.runBack(t, backs[3], cell{"rollback:mark", killAfter, forward})
	r.gradualRelay(t)
	r.runGradual(t, "rollback:code", fails)
	r.runGradual(t, "data:restore", killAfter)
}

// gradualSteps are those of a gradual rollback, in their order.
var gradualSteps = []string{
	"rollback:choose", "lease:fence", "updates:pause", "updates:wait", "data:verify", "data:inconsistencies",
	"rollback:code", "data:restore", "data:verifyRestoration", "updates:resume", "rollback:notes",
}

var gradualArgs = []string{"rollback:gradual", "-yes", "-reason=a test"}

// wronged deploys a release, has prices written that are wrong, and returns what
// they were.
func (r *rig) wronged(t *testing.T) (to, was string) {
	t.Helper()
	to = r.before(t, backs[1])
	was = r.prices(t)
	conn := r.connect(t.Context(), t, "")
	defer conn.Close(context.Background())
	for _, sql := range []string{
		"update etf_prices set price = price * 1.5, high = high * 1.5, low = low * 1.5, open = open * 1.5 where id % 97 = 3",
		"insert into etf_prices (etf_id, date, price, currency, source) select 'E0000.DE', '2026-11-20', 9999, 'EUR', 'wrong'",
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if r.prices(t) == was {
		t.Fatal("no price is wrong")
	}
	return to, was
}

// prices is a digest of all stored prices but those of the last days, which
// updates may write at any time.
func (r *rig) prices(t *testing.T) string {
	t.Helper()
	conn := r.connect(context.Background(), t, "")
	defer conn.Close(context.Background())
	return texts(t, conn, `select md5(string_agg(concat_ws(' ', etf_id, date, price, high, low, open, source), ',' order by id))
		from etf_prices where date < current_date - 30 or source = 'wrong'`)[0]
}

// runGradual repairs rows with a fault, goes on where that has left it and
// looks whether all is whole. A gradual rollback is never taken back: what it
// has restored is right.
func (r *rig) runGradual(t *testing.T, step string, f fault) bool {
	began := time.Now()
	ok := r.cell(t, "gradual: "+step+" "+string(f), func(t *testing.T) {
		to, was := r.wronged(t)
		touched := slices.Index(gradualSteps, step) >= slices.Index(gradualSteps, "updates:pause")
		run := r.call(t, stack.Faults(f.point(step)), gradualArgs...)
		switch {
		case f.kills():
			want(t, run, "the rollback, which was to be killed", -1)
			r.tellsInterrupted(t)
			want(t, r.call(t, nil, forward.args()...), "resume", 0)
		case step == "rollback:notes":
			want(t, run, "the rollback without its notes", 0)
		case !touched:
			want(t, run, "the rollback with a step that "+string(f), 1, 3)
			want(t, r.call(t, nil, gradualArgs...), "the rollback again", 0)
		default:
			want(t, run, "the rollback with a step that "+string(f), 4)
			if st := r.Status(t); st.Operation.Outcome != "left" || step != "updates:pause" && st.Paused == "" {
				t.Errorf("it ended as %+v, updates paused: %q", st.Operation, st.Paused)
			}
			want(t, r.call(t, nil, forward.args()...), "resume", 0)
		}
		r.nowLive(to)
		r.whole(t, r.live)
		if r.prices(t) != was {
			t.Error("not every price is what it was")
		}
	})
	fmt.Printf("%s %-25s %-22s %-12s %5.1fs\n", mark(ok), "gradual", step, f, time.Since(began).Seconds())
	return ok
}

// gradualRelay is one that is killed at each of its steps.
func (r *rig) gradualRelay(t *testing.T) {
	r.cell(t, "a gradual rollback killed at every step", func(t *testing.T) {
		to, was := r.wronged(t)
		r.legs(t, killDuring, gradualSteps, gradualArgs...)
		r.nowLive(to)
		r.whole(t, r.live)
		if r.prices(t) != was {
			t.Error("not every price is what it was")
		}
	})
}
