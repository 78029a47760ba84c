package step_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

var errBroken = errors.New("it broke")

// A recorder makes steps that write down what is called.
type recorder struct {
	mu    sync.Mutex
	calls []string
}

func (c *recorder) add(call string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls = append(c.calls, call)
}

func (c *recorder) want(t *testing.T, calls ...string) {
	t.Helper()
	if diff := cmp.Diff(calls, c.calls); diff != "" {
		t.Errorf("want (-) and got (+) differ:\n%s", diff)
	}
}

func (c *recorder) step(name string) fake {
	return fake{
		name: name,
		run:  func(context.Context, *step.Run) error { c.add("run " + name); return nil },
		undo: func(context.Context, *step.Run) error { c.add("undo " + name); return nil },
	}
}

func (c *recorder) failing(name string) fake {
	f := c.step(name)
	f.run = func(context.Context, *step.Run) error { c.add("run " + name); return errBroken }
	return f
}

func TestInOrder(t *testing.T) {
	op, seen := operation(t)
	var c recorder
	b := c.step("b")
	b.run = func(ctx context.Context, r *step.Run) error {
		c.add("run b")
		if s, ok := journalOf(t, op).Step("b"); !ok || s.Type != journal.Start || s.Digest != "inputs" {
			t.Errorf("while it acts, the disk says %+v", s)
		}
		r.Progress(1, 2, "half")
		r.Log("line %d", 1)
		r.Say("did %d", 3)
		return r.Note(ctx, "fact", r.Step())
	}
	b.digest = func() (string, error) { return "inputs", nil }
	if err := op.Do(ctx, []step.Step{c.step("a"), b, c.step("c")}); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run a", "run b", "run c")
	if got, want := states(t, op), "a done, b done, c done"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if s, _ := journalOf(t, op).Step("b"); s.Text != "did 3" {
		t.Errorf("b is recorded as %+v", s)
	}
	var fact string
	if ok, err := reopened(t, op).Fact("fact", &fact); !ok || err != nil || fact != "b" {
		t.Errorf("the fact is %q, %v, %v", fact, ok, err)
	}
	want := []string{"started a", "a done: ", "started b", "b 1/2 half", "b: line 1", "b done: did 3", "started c", "c done: "}
	if diff := cmp.Diff(want, seen.lines); diff != "" {
		t.Errorf("what the observer saw:\n%s", diff)
	}
}

func journalOf(t *testing.T, op *step.Operation) journal.Log {
	t.Helper()
	log, err := journal.Read(ctx, local, op.Journal().Path())
	if err != nil {
		t.Fatal(err)
	}
	return log
}

func TestTogether(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	// Each waits for the other: one after the other they would never end.
	var meet sync.WaitGroup
	meet.Add(2)
	meeting := func(name string, err error) fake {
		f := c.step(name)
		f.limit = 20 * time.Second
		f.run = func(ctx context.Context, _ *step.Run) error {
			meet.Done()
			met := make(chan struct{})
			go func() { meet.Wait(); close(met) }()
			select {
			case <-met:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return f
	}
	errOther := errors.New("the other broke")
	list := []step.Step{c.step("a"), step.Together{meeting("x", errBroken), meeting("y", errOther), c.step("z")}, c.step("b")}
	err := op.Do(ctx, list)
	if !errors.Is(err, errBroken) || !errors.Is(err, errOther) || !strings.Contains(err.Error(), "x: it broke") {
		t.Errorf("got error %v, want both, named", err)
	}
	c.want(t, "run a", "run z") // z to its end, b not
	for name, want := range map[string]journal.Type{"x": journal.Failed, "y": journal.Failed, "z": journal.Done} {
		if s, _ := journalOf(t, op).Step(name); s.Type != want {
			t.Errorf("%s is %s, want %s", name, s.Type, want)
		}
	}
	if err := op.Undo(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run a", "run z", "undo z", "undo y", "undo x", "undo a")
}

func TestSkip(t *testing.T) {
	op, seen := operation(t)
	var c recorder
	a, b := c.step("a"), c.step("b")
	a.skip = func(context.Context, *step.Run) (string, error) { return "nothing to do", nil }
	b.skip = func(context.Context, *step.Run) (string, error) { return "", errBroken }
	list := []step.Step{a, b}
	if err := op.Do(ctx, list); !errors.Is(err, errBroken) {
		t.Errorf("got error %v", err)
	}
	if err := op.Undo(ctx, list); err != nil { // neither has acted
		t.Error(err)
	}
	if len(c.calls) > 0 {
		t.Errorf("called: %s", c.calls)
	}
	if got, want := states(t, op), "a skipped, b failed"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Contains(seen.lines, "a skipped: nothing to do") {
		t.Errorf("the observer saw %q", seen.lines)
	}
	if s, _ := journalOf(t, op).Step("a"); s.Text != "nothing to do" {
		t.Errorf("a is recorded as %+v", s)
	}
}

func TestDigestFails(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	a := c.step("a")
	a.digest = func() (string, error) { return "", errBroken }
	if err := op.Do(ctx, []step.Step{a}); !errors.Is(err, errBroken) {
		t.Errorf("got error %v", err)
	}
	if err := op.Undo(ctx, []step.Step{a}); err != nil || len(c.calls) > 0 {
		t.Errorf("got %v, called: %s", err, c.calls)
	}
}

func TestDeadline(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, r *step.Run) error{
		"a function": func(ctx context.Context, _ *step.Run) error { <-ctx.Done(); return ctx.Err() },
		"a command": func(ctx context.Context, _ *step.Run) error {
			_, err := local.Run(ctx, host.Command{Argv: []string{"sleep", "60"}})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			op, _ := operation(t)
			err := op.Do(ctx, []step.Step{fake{name: "slow", limit: 200 * time.Millisecond, run: run}, fake{name: "next"}})
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "slow: ") || !strings.Contains(err.Error(), "deadline of 200ms") {
				t.Errorf("got error %v, want one that names step and deadline", err)
			}
			if n := strings.Count(fmt.Sprint(err), context.DeadlineExceeded.Error()); n != 1 {
				t.Errorf("it is said %d times: %v", n, err)
			}
			if got, want := states(t, op), "slow failed"; got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestUndoInReverse(t *testing.T) {
	op, seen := operation(t)
	var c recorder
	b := c.step("b")
	b.run = func(ctx context.Context, r *step.Run) error { return r.Note(ctx, r.Step()+".made", "this") }
	b.undo = func(ctx context.Context, r *step.Run) error {
		if err := ctx.Err(); err != nil {
			t.Errorf("the undo runs in a context that has ended: %v", err)
		}
		var made string
		if ok, err := r.Fact(r.Step()+".made", &made); !ok || err != nil || made != "this" {
			t.Errorf("the undo finds the fact of its step as %q, %v, %v", made, ok, err)
		}
		c.add("undo b")
		r.Say("took %s back", made)
		return nil
	}
	list := []step.Step{c.step("a"), b, plain{"p"}, c.failing("c"), c.step("d")}
	err := op.Do(ctx, list)
	if !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "c: it broke") {
		t.Errorf("got error %v", err)
	}
	// In another process, and though the context has ended.
	over, cancel := context.WithCancel(ctx)
	cancel()
	again := step.NewOperation(reopened(t, op).Journal(), seen, time.Now)
	if err := again.Undo(over, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run a", "run c", "undo c", "undo b", "undo a")
	if got, want := states(t, op), "a undone, b undone, p done, c undone"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !slices.Contains(seen.lines, "undo b undone: took this back") {
		t.Errorf("the observer saw %q", seen.lines)
	}
	// Once is enough.
	if err := again.Undo(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run a", "run c", "undo c", "undo b", "undo a")
}

// plain cannot be taken back.
type plain struct{ name string }

func (p plain) String() string                       { return p.name }
func (p plain) Run(context.Context, *step.Run) error { return nil }

func TestUndoFails(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	b, broken := c.step("b"), true
	b.undo = func(context.Context, *step.Run) error {
		c.add("undo b")
		if broken {
			return errBroken
		}
		return nil
	}
	list := []step.Step{c.step("a"), b, c.failing("c")}
	if err := op.Do(ctx, list); err == nil {
		t.Fatal("it did not fail")
	}
	err := op.Undo(ctx, list)
	if !errors.Is(err, step.ErrNeedsPerson) || !errors.Is(err, errBroken) || !strings.Contains(err.Error(), "taking back b") {
		t.Errorf("got error %v", err)
	}
	c.want(t, "run a", "run b", "run c", "undo c", "undo b", "undo b", "undo b") // a lies below b
	if got, want := states(t, op), "a done, b undo-failed, c undone"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	broken, c.calls = false, nil // a person mends it
	if err := reopened(t, op).Undo(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "undo b", "undo a")
	if got, want := states(t, op), "a undone, b undone, c undone"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUndoHasADeadline(t *testing.T) {
	op, _ := operation(t)
	a := fake{name: "a", limit: 100 * time.Millisecond, undo: func(ctx context.Context, _ *step.Run) error { <-ctx.Done(); return context.Cause(ctx) }}
	if err := op.Do(ctx, []step.Step{a}); err != nil {
		t.Fatal(err)
	}
	err := op.Undo(ctx, []step.Step{a})
	if !errors.Is(err, step.ErrNeedsPerson) || !strings.Contains(err.Error(), "deadline of 100ms") {
		t.Errorf("got error %v", err)
	}
}

func TestEndsAtABoundary(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	stopping, stop := context.WithCancelCause(ctx)
	a := c.step("a")
	a.run = func(context.Context, *step.Run) error { stop(step.ErrInterrupted); return nil } // it is done all the same
	err := op.Do(stopping, []step.Step{a, c.step("b")})
	if !errors.Is(err, step.ErrInterrupted) || !strings.Contains(err.Error(), "before b") {
		t.Errorf("got error %v", err)
	}
	if got, want := states(t, op), "a done"; got != want || len(c.calls) > 0 {
		t.Errorf("got %s, want %s; called: %s", got, want, c.calls)
	}
}

func TestInterruptedStepSaysWhy(t *testing.T) {
	op, _ := operation(t)
	stopping, stop := context.WithCancelCause(ctx)
	err := op.Do(stopping, []step.Step{fake{name: "a", run: func(context.Context, *step.Run) error {
		stop(step.ErrInterrupted)
		return errBroken // as a client does whose connection is cut
	}}})
	if !errors.Is(err, step.ErrInterrupted) || !errors.Is(err, errBroken) {
		t.Errorf("got error %v", err)
	}
	if s, _ := journalOf(t, op).Step("a"); s.Type != journal.Failed || !strings.Contains(s.Text, "interrupted") {
		t.Errorf("recorded as %+v", s)
	}
}

func TestDoneStaysDone(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	skipped := c.step("skipped")
	skipped.skip = func(context.Context, *step.Run) (string, error) { c.add("skip"); return "nothing to do", nil }
	if err := op.Do(ctx, []step.Step{c.step("a"), skipped, c.failing("b"), c.step("c")}); err == nil {
		t.Fatal("it did not fail")
	}
	c.want(t, "run a", "skip", "run b")
	c.calls = nil
	list := []step.Step{c.step("a"), skipped, c.step("b"), c.step("c")}
	again := reopened(t, op)
	if err := again.Do(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run b", "run c")
	if again.ID() != op.ID() || again.Token() != 7 {
		t.Errorf("it goes on as %s with token %d", again.ID(), again.Token())
	}
	// Taken back is not done.
	if err := again.Undo(ctx, list[3:]); err != nil {
		t.Fatal(err)
	}
	c.calls = nil
	if err := reopened(t, op).Do(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run c")
}

// Without a journal nothing acts: nobody could find out later what it did.
func TestNoJournalNoAct(t *testing.T) {
	h := &brokenHost{}
	header := journal.Header{ID: journal.NewID("deploy", time.Now())}
	j, err := journal.Create(ctx, h, t.TempDir(), header, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	h.broken = true
	var c recorder
	if err := step.NewOperation(j, &observer{}, time.Now).Do(ctx, []step.Step{c.step("a")}); !errors.Is(err, errBroken) {
		t.Errorf("got error %v", err)
	}
	if len(c.calls) > 0 {
		t.Errorf("called: %s", c.calls)
	}
}

func TestEnd(t *testing.T) {
	op, _ := operation(t)
	if err := op.End(ctx, journal.Unchanged, "why"); err != nil {
		t.Fatal(err)
	}
	if log := journalOf(t, op); log.Outcome() != journal.Unchanged || log.Last().Text != "why" {
		t.Errorf("got %+v", log.Last())
	}
}
