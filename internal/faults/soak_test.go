package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A soaking kills at random instants: deployments one after the other, and
// whoever ends them, until it has killed so often.
type soaking struct {
	r      *rig
	random *rand.Rand
	wanted int64
	kills  int64
	bad    int64
	// How long a whole call lately took, by its first argument and, for
	// resume, its way: the instants are spread over that.
	lasts map[string]time.Duration
	line  string // of the last kill, until its way out has come to an end
}

// soak kills so many times; the seed makes the choices the same again, as far
// as the machine takes the same time.
func soak(t *testing.T, r *rig, kills, seed int64) {
	s := &soaking{
		r: r, random: rand.New(rand.NewPCG(uint64(seed), 0)), wanted: kills,
		lasts: map[string]time.Duration{"deploy": 12 * time.Second, string(forward): 6 * time.Second, string(undo): 5 * time.Second},
	}
	fmt.Printf("%d kills, seed %d\n", kills, seed)
	began := time.Now()
	for round := 1; s.kills < s.wanted; round++ {
		if !r.cell(t, fmt.Sprintf("round %d", round), s.round) {
			s.bad++
			fmt.Printf("✗ round %d\n", round)
		}
	}
	fmt.Printf("%d kills in %s, seed %d: %d bad rounds\n", s.kills, time.Since(began).Round(time.Second), seed, s.bad)
}

// Out of ten rounds so many have a step fail by itself, so that a successor is
// at work; out of ten calls that end an operation so many are killed.
const (
	failing = 3
	again   = 6
)

// round is one deployment that is killed, and ended in the end.
func (s *soaking) round(t *testing.T) {
	r := s.r
	flavours := []flavour{expand, expand, stops, data}
	target, err := r.releases.commit(t.Context(), flavours[s.random.IntN(len(flavours))])
	if err != nil {
		t.Fatal(err)
	}
	fault := ""
	if s.random.IntN(10) < failing {
		late := steps[slices.Index(steps, "services:stop"):slices.Index(steps, "docs:changelog")]
		fault = late[s.random.IntN(len(late))] + ":during=fail"
	}
	s.call(t, "deploy", stack.Faults(fault), "deploy", "-ref="+target)
	for tries := 0; s.unfinished(t); tries++ {
		w := []way{forward, undo}[s.random.IntN(2)]
		if tries < 6 && s.random.IntN(10) < again {
			s.call(t, string(w), nil, w.args()...)
			continue
		}
		run := r.call(t, nil, w.args()...)
		s.told(w, fmt.Sprintf("exit %d", run.Code))
		want(t, run, string(w), 0)
	}
	s.told("", s.r.Status(t).Operation.Outcome)
	if st := r.Status(t); st.Operation.Outcome == "succeeded" {
		r.nowLive(target)
	}
	r.whole(t, r.live)
}

// unfinished reports whether the operation has to be ended still.
func (s *soaking) unfinished(t *testing.T) bool {
	t.Helper()
	o := s.r.Status(t).Operation
	return o != nil && (o.Outcome == "interrupted" || o.Outcome == "stuck")
}

// call calls the program and kills it at a random instant: the process, the
// successor that it may have by then, or both. Who is left comes to its end.
func (s *soaking) call(t *testing.T, what string, env []string, args ...string) {
	t.Helper()
	instant := time.Duration(s.random.Int64N(int64(s.lasts[what])))
	cmd, stdout, stderr := s.r.Command(env, args...)
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	killed := !ended(cmd, instant)
	where := ""
	if killed {
		killAll(s.victims(cmd.Process.Pid))
		s.kills++
		where = s.where(t)
	}
	_ = cmd.Wait() // its exit code is looked at
	s.r.Await(t, 3*time.Minute, "the process that is left to end", func() bool { return len(s.r.programs()) == 0 })
	run := stack.Run{Code: cmd.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String(), Took: time.Since(began)}
	s.r.tell(env, args, run)
	if !killed {
		s.lasts[what] = (3*s.lasts[what] + run.Took) / 4
		s.told(way(what), fmt.Sprintf("exit %d", run.Code))
		return
	}
	s.told(way(what), "killed")
	s.line = fmt.Sprintf("kill %3d  %6.2fs into %-13s at %s", s.kills, instant.Seconds(), what, where)
}

// told prints the line of the last kill, with the way out that was taken after
// it and what came of that.
func (s *soaking) told(w way, result string) {
	if s.line == "" {
		return
	}
	if w != "" {
		result = string(w) + ": " + result
	}
	fmt.Printf("%s → %s\n", s.line, result)
	s.line = ""
}

// victims are the processes to kill: that of the call, its successor, or both.
func (s *soaking) victims(pid int) []process {
	next := s.r.successors()
	switch {
	case len(next) > 0 && s.random.IntN(3) == 0:
		return next
	case len(next) > 0 && s.random.IntN(2) == 0:
		return []process{{pid: pid}}
	}
	return s.r.programs()
}

// ended waits so long for a started command; false when it still runs.
func ended(cmd *exec.Cmd, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	for ctx.Err() == nil {
		if state(cmd.Process.Pid) == 'Z' {
			return true
		}
		pause(ctx, 10*time.Millisecond)
	}
	return state(cmd.Process.Pid) == 'Z'
}

// where is at which step of the newest operation the kill hit.
func (s *soaking) where(t *testing.T) string {
	t.Helper()
	records := s.r.records(t)
	if open := s.r.openSteps(t); len(open) > 0 {
		return strings.Join(open, " ")
	}
	if last := records[len(records)-1]; last.Step != "" {
		return "after " + last.Step
	} else if last.Type == "end" {
		return "its end, or before a journal"
	}
	return "between two steps"
}
