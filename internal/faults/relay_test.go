package faults

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// part is a choice in which every step and every fault occurs.
func part(t *testing.T, r *rig) {
	results := newResults()
	r.relay(t, results, killDuring)
	r.relayBack(t)
	for _, c := range []cell{
		{"release:install", hangs, ""},
		{"lease:fence", fails, ""},
		{"lease:fence", killAfter, anew},
		{"services:stop", killBefore, undo},
		{"backup:create", hangs, ""},
		{"release:migrate", fails, ""},
		{"release:activate", killAfter, undo},
		{"docs:notes", fails, ""},
	} {
		results.add(r.run(t, c))
	}
	for _, f := range serverFaults {
		f.early = f.early || f.long
		results.addServer(r.runServer(t, f))
	}
	results.write(t, os.Getenv(outVariable))
	r.backPart(t)
}

// relay takes one deployment to its end although it is killed at each of its
// steps: each resume goes on to the next one.
func (r *rig) relay(t *testing.T, results *results, f fault) {
	var legs []result
	ok := r.cell(t, "killed at every step", func(t *testing.T) {
		r.releases.drop()
		target, err := r.releases.commit(t.Context(), stops)
		if err != nil {
			t.Fatal(err)
		}
		legs = r.legs(t, f, steps, "deploy", "-ref="+target)
		r.nowLive(target)
		r.whole(t, r.live)
	})
	for _, leg := range legs {
		leg.ok = ok
		results.add(leg)
	}
}

// legs calls the program, and resumes what it has begun as often as it is
// killed, until each of the steps was hit. Where steps run side by side those
// that were under way count.
func (r *rig) legs(t *testing.T, f fault, steps []string, args ...string) (legs []result) {
	t.Helper()
	left := slices.Clone(steps)
	for len(left) > 0 {
		began := time.Now()
		run := r.call(t, stack.Faults(points(f, left)), args...)
		want(t, run, "the leg to "+left[0], -1)
		r.tellsInterrupted(t)
		open := r.openSteps(t)
		hit := slices.DeleteFunc(slices.Clone(left), func(s string) bool { return !slices.Contains(open, s) })
		if len(hit) == 0 {
			t.Fatalf("it was killed before it came to %s", left[0])
		}
		for _, step := range hit {
			legs = append(legs, result{cell{step, f, forward}, true, time.Since(began)})
			fmt.Println(legs[len(legs)-1])
		}
		left = slices.DeleteFunc(left, func(s string) bool { return slices.Contains(hit, s) })
		args = forward.args()
	}
	want(t, r.call(t, nil, args...), "the last leg", 0)
	return legs
}

func points(f fault, steps []string) string {
	var all []string
	for _, step := range steps {
		all = append(all, f.point(step))
	}
	return strings.Join(all, ",")
}

// relayBack takes one deployment back although the undo is killed at each step
// that it takes back.
func (r *rig) relayBack(t *testing.T) {
	began := time.Now()
	ok := r.cell(t, "killed at every step of the way back", func(t *testing.T) {
		target, err := r.releases.commit(t.Context(), stops)
		if err != nil {
			t.Fatal(err)
		}
		run := r.call(t, stack.Faults("verify:criteria:during=kill"), "deploy", "-ref="+target)
		want(t, run, "the deployment, which was to be killed", -1)
		w := undo
		for _, step := range []string{"services:start", "release:activate", "release:migrate", "backup:create", "services:stop"} {
			want(t, r.call(t, stack.Faults(step+":undo=kill"), w.args()...), "the way back, to be killed at "+step, -1)
			r.tellsInterrupted(t)
			w = forward // which goes on with the way that was begun
		}
		want(t, r.call(t, nil, forward.args()...), "the last leg of the way back", 0)
		r.whole(t, r.live)
	})
	fmt.Printf("%s %-45s %5.1fs\n", mark(ok), "killed at every step of the way back", time.Since(began).Seconds())
}

// A record is what the suite reads of a line of the journal.
type record struct {
	Type, Step, Outcome string
}

func (r *rig) records(t testing.TB) []record {
	t.Helper()
	content, err := os.ReadFile(r.Journal())
	if err != nil {
		t.Fatal(err)
	}
	var all []record
	for line := range bytes.Lines(content) {
		var rec record
		if json.Unmarshal(line, &rec) == nil { // the last line may be torn
			all = append(all, rec)
		}
	}
	return all
}

// openSteps are those of the newest operation that have begun and not ended.
func (r *rig) openSteps(t testing.TB) []string {
	t.Helper()
	var open []string
	for _, rec := range r.records(t) {
		if rec.Step == "" || rec.Type == "child" || rec.Type == "note" {
			continue
		}
		open = slices.DeleteFunc(open, func(s string) bool { return strings.TrimPrefix(s, "undo ") == rec.Step })
		switch rec.Type {
		case "start":
			open = append(open, rec.Step)
		case "undo":
			open = append(open, "undo "+rec.Step)
		}
	}
	return open
}
