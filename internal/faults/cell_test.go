package faults

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// TestFaults sets off faults at the steps of deployments, and takes servers
// away under them.
func TestFaults(t *testing.T) {
	switch suite := os.Getenv(suiteVariable); suite {
	case "":
		part(t, theRig)
	case "whole":
		whole(t, theRig)
	case "kills":
		soak(t, theRig, number(t, killsVariable), number(t, seedVariable))
	default:
		t.Fatalf("%s=%s: use whole, kills or nothing", suiteVariable, suite)
	}
}

// whole is the matrix and the faults of servers.
func whole(t *testing.T, r *rig) {
	only := os.Getenv(onlyVariable)
	if only == "rollbacks" { // the choice of them that the part has
		r.backPart(t)
		return
	}
	results := newResults()
	for _, c := range matrix() {
		if only == "" || only == c.step {
			results.add(r.run(t, c))
		}
	}
	for _, s := range serverFaults {
		if only == "" || only == s.name {
			results.addServer(r.runServer(t, s))
		}
	}
	results.write(t, os.Getenv(outVariable))
	r.backMatrix(t, only)
}

// A result is what came of a cell.
type result struct {
	cell
	ok   bool
	took time.Duration
}

// run deploys with a fault, ends what it left and looks whether all is whole.
func (r *rig) run(t *testing.T, c cell) result {
	began := time.Now()
	ok := r.cell(t, c.step+" "+string(c.fault), func(t *testing.T) {
		if before(c.step, "pre:migrations") {
			r.releases.drop()
		}
		target, err := r.releases.commit(t.Context(), c.release())
		if err != nil {
			t.Fatal(err)
		}
		ran := r.Status(t).Processes
		run := r.call(t, stack.Faults(c.fault.point(c.step)), "deploy", "-ref="+target)
		if now := r.Status(t).Processes; before(c.step, "services:stop") && !slices.Equal(ran, now) {
			t.Errorf("processes were touched: %+v, before: %+v", now, ran)
		}
		if c.fault.kills() {
			r.endKilled(t, run, c, target)
		} else {
			r.endFailed(t, run, c, target)
		}
		r.whole(t, r.live)
	})
	res := result{c, ok, time.Since(began)}
	fmt.Println(res)
	return res
}

// endKilled ends, as its way says, an operation whose process was killed.
func (r *rig) endKilled(t *testing.T, run stack.Run, c cell, target string) {
	t.Helper()
	want(t, run, "the deployment, which was to be killed", -1)
	r.tellsInterrupted(t)
	args := c.way.args()
	if c.way == anew {
		args = append(args, "-ref="+target)
	}
	want(t, r.call(t, nil, args...), string(c.way), 0)
	if c.way != undo || papers(c.step) {
		r.nowLive(target)
	}
}

func (r *rig) tellsInterrupted(t *testing.T) {
	t.Helper()
	if st := r.Status(t); st.Operation == nil || st.Operation.Outcome != "interrupted" || !strings.HasPrefix(st.Next, "resume") {
		t.Errorf("status does not tell that the operation was interrupted: %+v, next: %s", st.Operation, st.Next)
	}
}

// endFailed looks how a deployment ended whose step failed.
func (r *rig) endFailed(t *testing.T, run stack.Run, c cell, target string) {
	t.Helper()
	codes, outcome := []int{1, 3}, "unchanged"
	switch {
	case papers(c.step):
		codes, outcome = []int{0}, "succeeded"
		r.nowLive(target)
	case touches(c.step):
		codes, outcome = []int{1}, "undone"
	}
	want(t, run, "the deployment with a step that "+string(c.fault), codes...)
	st := r.Status(t)
	if st.Operation == nil || st.Operation.Outcome != outcome {
		t.Errorf("it ended as %+v, want %s", st.Operation, outcome)
	} else if papers(c.step) && !strings.Contains(st.Operation.Text, c.step) {
		t.Errorf("it does not say which paper is missing: %+v", st.Operation)
	}
}

// nowLive says which commit has to be live from here on.
func (r *rig) nowLive(commit string) {
	r.releases.isLive(commit)
	r.live = commit
}

// String is one line of progress.
func (r result) String() string {
	mark := "✓"
	if !r.ok {
		mark = "✗"
	}
	return fmt.Sprintf("%s %-18s %-12s %-13s %5.1fs", mark, r.step, r.fault, r.way, r.took.Seconds())
}
