package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// stages are the targets of a deployment in stages, with a step of each to be
// killed in.
var stages = []struct{ target, step string }{
	{"services:stop", "services:stop"},
	{"backup:create", "backup:create"},
	{"cache:clear", "cache:clear"},
	{"release:migrate", "release:migrate"},
	{"release:activate", "release:activate"},
	{"services:start", "services:start"},
	{"verify:criteria", "verify:criteria"},
}

// TestStages takes a deployment to its end by its stages, each in processes of
// its own: killed at a point, and called again. Then it takes one back that
// was killed between two.
func TestStages(t *testing.T) {
	for _, f := range []fault{killDuring, killAfter} {
		theRig.stagesKilled(t, f)
	}
	theRig.stagesTakenBack(t)
}

func (r *rig) stagesKilled(t *testing.T, f fault) {
	began := time.Now()
	ok := r.cell(t, "each stage: "+string(f), func(t *testing.T) {
		target, err := r.releases.commit(t.Context(), stops)
		if err != nil {
			t.Fatal(err)
		}
		want(t, r.call(t, nil, "release:install", "-ref="+target), "release:install", 0)
		for _, s := range stages {
			args := stageArgs(s.target, target)
			want(t, r.call(t, stack.Faults(f.point(s.step)), args...), s.target+", to be killed", -1)
			r.tellsInterrupted(t)
			want(t, r.call(t, nil, args...), s.target+" again", 0)
		}
		r.nowLive(target)
		r.whole(t, r.live)
	})
	fmt.Printf("%s %-45s %5.1fs\n", mark(ok), "each stage: "+string(f)+", and called again", time.Since(began).Seconds())
}

// stagesTakenBack ends an operation between two stages by taking all of them
// back, after each stage once.
func (r *rig) stagesTakenBack(t *testing.T) {
	began := time.Now()
	ok := r.cell(t, "taken back between two stages", func(t *testing.T) {
		target, err := r.releases.commit(t.Context(), expand)
		if err != nil {
			t.Fatal(err)
		}
		want(t, r.call(t, nil, "release:install", "-ref="+target), "release:install", 0)
		for _, last := range []string{"services:stop", "release:migrate", "services:start"} {
			for _, s := range stages {
				want(t, r.call(t, nil, stageArgs(s.target, target)...), s.target, 0)
				if s.target == last {
					break
				}
			}
			if last == "services:start" { // a release that was live and is left is built anew
				want(t, r.call(t, nil, forward.args()...), "resume between two stages", 0)
				r.nowLive(target)
			} else {
				want(t, r.call(t, nil, undo.args()...), "resume -undo between two stages", 0)
			}
			r.whole(t, r.live)
		}
	})
	fmt.Printf("%s %-45s %5.1fs\n", mark(ok), "between two stages: taken back, resumed", time.Since(began).Seconds())
}

func stageArgs(target, commit string) []string {
	if target == "release:migrate" || target == "release:activate" {
		return []string{target, "-ref=" + commit}
	}
	return []string{target}
}
