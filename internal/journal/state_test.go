package journal_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

func TestSteps(t *testing.T) {
	rec := func(typ journal.Type) journal.Record { return journal.Record{Type: typ, Step: "s"} }
	for name, test := range map[string]struct {
		records []journal.Record
		want    journal.Type
		touched bool
	}{
		"interrupted":                 {[]journal.Record{rec(journal.Start)}, journal.Start, true},
		"done":                        {[]journal.Record{rec(journal.Start), rec(journal.Done)}, journal.Done, true},
		"failed":                      {[]journal.Record{rec(journal.Start), rec(journal.Failed)}, journal.Failed, true},
		"failed before it could act":  {[]journal.Record{rec(journal.Failed)}, journal.Failed, false},
		"skipped":                     {[]journal.Record{rec(journal.Skipped)}, journal.Skipped, false},
		"interrupted, then skipped":   {[]journal.Record{rec(journal.Start), rec(journal.Skipped)}, journal.Skipped, true},
		"undone":                      {[]journal.Record{rec(journal.Start), rec(journal.Failed), rec(journal.UndoStart), rec(journal.Undone)}, journal.Undone, false},
		"undo interrupted":            {[]journal.Record{rec(journal.Start), rec(journal.Done), rec(journal.UndoStart)}, journal.UndoStart, true},
		"undo failed":                 {[]journal.Record{rec(journal.Start), rec(journal.Done), rec(journal.UndoStart), rec(journal.UndoFailed)}, journal.UndoFailed, true},
		"undone, then done once more": {[]journal.Record{rec(journal.Start), rec(journal.UndoStart), rec(journal.Undone), rec(journal.Start), rec(journal.Done)}, journal.Done, true},
	} {
		t.Run(name, func(t *testing.T) {
			j, file := create(t)
			add(t, j, test.records...)
			s, ok := read(t, file).Step("s")
			if !ok || s.Type != test.want || s.Touched() != test.touched {
				t.Errorf("got %+v (touched: %v), want %s (touched: %v)", s, s.Touched(), test.want, test.touched)
			}
		})
	}
}

func TestStepsInOrder(t *testing.T) {
	j, file := create(t)
	add(t, j,
		journal.Record{Type: journal.Start, Step: "b", Digest: "old"},
		journal.Record{Type: journal.Start, Step: "a"},
		journal.Record{Type: journal.Note, Step: "c", Key: "k", Value: []byte("1")},
		journal.Record{Type: journal.Done, Step: "a", Millis: 1500, Text: "fine"},
		journal.Record{Type: journal.Failed, Step: "b", Millis: 20, Text: "why"},
		journal.Record{Type: journal.Start, Step: "b", Digest: "new"})
	at := func(s int) time.Time { return time.Date(2026, 11, 23, 1, 2, 3+s, 0, time.UTC) }
	want := []journal.StepState{
		{Name: "b", Type: journal.Start, Began: at(2), Acted: true, Digest: "new", Duration: 20 * time.Millisecond, Text: "why"},
		{Name: "a", Type: journal.Done, Began: at(3), Acted: true, Duration: 1500 * time.Millisecond, Text: "fine"},
	}
	if diff := cmp.Diff(want, read(t, file).Steps()); diff != "" {
		t.Error(diff)
	}
	if s, ok := read(t, file).Step("c"); ok {
		t.Errorf("a step that never began: %+v", s)
	}
}

func TestFacts(t *testing.T) {
	j, file := create(t)
	for _, value := range []string{`1`, `{"x":["a"]}`, `{"x":["b","c"]}`} {
		add(t, j, journal.Record{Type: journal.Note, Key: "k", Value: []byte(value)}, journal.Record{Type: journal.Note, Key: "other", Value: []byte(`"text"`)})
	}
	var v struct{ X []string }
	if ok, err := read(t, file).Fact("k", &v); !ok || err != nil || len(v.X) != 2 {
		t.Errorf("the latest counts: got %+v, %v, %v", v, ok, err)
	}
	if ok, err := read(t, file).Fact("never", &v); ok || err != nil {
		t.Errorf("one that was never noted: %v, %v", ok, err)
	}
	var n int
	if ok, err := read(t, file).Fact("other", &n); !ok || err == nil {
		t.Errorf("one of another kind: %v, %v; want an error", ok, err)
	}
}

func TestOutcome(t *testing.T) {
	j, file := create(t)
	if got := read(t, file).Outcome(); got != "" {
		t.Errorf("while it runs: %q", got)
	}
	add(t, j, journal.Record{Type: journal.End, Outcome: journal.TakenBack, Text: "why"})
	if got := read(t, file); got.Outcome() != journal.TakenBack || got.Last().Text != "why" || !got.Began().Equal(time.Date(2026, 11, 23, 1, 2, 4, 0, time.UTC)) {
		t.Errorf("got %+v", got)
	}
}
