package step_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// The inputs of a step are what it knew when it began: facts that came later
// are no change of them.
func TestChangedInputs(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	release := ""
	of := func(name string) fakeDigest {
		return fakeDigest{c.step(name), func(r *step.Run) (string, error) {
			var noted string
			if _, err := r.Fact("release", &noted); err != nil {
				return "", err
			}
			return noted + "/" + release, nil
		}}
	}
	a, b := of("a"), of("b")
	a.run = func(ctx context.Context, r *step.Run) error { return r.Note(ctx, "release", "one") }
	b.run = func(ctx context.Context, r *step.Run) error { return r.Note(ctx, "release", "two") }
	list := []step.Step{a, b, c.step("c")}
	if err := op.Do(ctx, list); err != nil {
		t.Fatal(err)
	}
	if changes, err := reopened(t, op).Changed(ctx, list); err != nil || len(changes) > 0 {
		t.Errorf("changed without a change: %v %v", changes, err)
	}
	release = "moved"
	changes, err := reopened(t, op).Changed(ctx, list)
	want := []step.Change{{Step: "a", Was: "/", Is: "/moved"}, {Step: "b", Was: "one/", Is: "one/moved"}}
	if diff := cmp.Diff(want, changes); diff != "" || err != nil {
		t.Errorf("want (-) and got (+) differ (%v):\n%s", err, diff)
	}
}

type fakeDigest struct {
	fake
	of func(r *step.Run) (string, error)
}

func (f fakeDigest) Digest(_ context.Context, r *step.Run) (string, error) { return f.of(r) }

func TestAgainAndOnce(t *testing.T) {
	op, _ := operation(t)
	var c recorder
	a := c.step("a")
	times := 0
	a.run = func(ctx context.Context, r *step.Run) error {
		times++
		c.add("run a")
		return r.NoteOnce(ctx, "first", times)
	}
	list := []step.Step{a, c.step("b")}
	for range 2 {
		if err := op.Do(ctx, list); err != nil {
			t.Fatal(err)
		}
	}
	c.want(t, "run a", "run b")
	op.Again("a")
	if err := op.Do(ctx, list); err != nil {
		t.Fatal(err)
	}
	c.want(t, "run a", "run b", "run a")
	var first int
	if ok, err := op.Fact("first", &first); !ok || err != nil || first != 1 {
		t.Errorf("the first is %d (%v)", first, err)
	}
}
