package journal

import (
	"encoding/json"
	"time"
)

// StepState is where a step stands.
type StepState struct {
	Name     string        `json:"name"`
	Type     Type          `json:"state"` // the last record of it: Start (running, or interrupted), Done, …
	Began    time.Time     `json:"began"`
	Acted    bool          `json:"acted"` // it began to act and was not taken back
	Digest   string        `json:"digest,omitempty"`
	Duration time.Duration `json:"duration"` // nanoseconds
	Text     string        `json:"text,omitempty"`
}

// Touched reports whether the step began to act and was not taken back. One
// that failed before it could begin has not.
func (s StepState) Touched() bool { return s.Acted }

// Header is what the first record says of the operation.
func (l Log) Header() Header { return *l.Records[0].Header }

// Began is when the operation began.
func (l Log) Began() time.Time { return l.Records[0].Time }

// Last is the last record: for an interrupted operation, when it was last heard of.
func (l Log) Last() Record { return l.Records[len(l.Records)-1] }

// Outcome is how the operation ended; empty while it runs or when it was interrupted.
func (l Log) Outcome() string {
	if last := l.Last(); last.Type == End {
		return last.Outcome
	}
	return ""
}

// Token is that of the lease under which the operation was last worked on.
func (l Log) Token() int64 {
	token := l.Header().Token
	for _, r := range l.Records {
		if r.Type == HandOver && r.Token != 0 {
			token = r.Token
		}
	}
	return token
}

// Parked reports whether the operation is between two stages.
func (l Log) Parked() bool { return l.Last().Type == Park }

// Before is the log as it was when a step last began: what the step knew.
func (l Log) Before(name string) Log {
	for i := len(l.Records) - 1; i >= 0; i-- {
		if r := l.Records[i]; r.Type == Start && r.Step == name {
			l.Records = l.Records[:i]
			break
		}
	}
	return l
}

// TakenBack reports whether taking the operation back has begun.
func (l Log) TakenBack() bool {
	for _, r := range l.Records {
		if r.Type == UndoStart {
			return true
		}
	}
	return false
}

// Steps returns the steps in the order in which they began.
func (l Log) Steps() []StepState {
	var steps []StepState
	index := map[string]int{}
	for _, r := range l.Records {
		switch r.Type {
		case Start, Done, Skipped, Failed, UndoStart, Undone, UndoFailed:
		default:
			continue
		}
		i, seen := index[r.Step]
		if !seen {
			i = len(steps)
			index[r.Step] = i
			steps = append(steps, StepState{Name: r.Step, Began: r.Time})
		}
		s := &steps[i]
		s.Type = r.Type
		switch r.Type {
		case Start:
			s.Digest, s.Acted = r.Digest, true
		case Undone:
			s.Acted = false
		}
		if r.Type == Done || r.Type == Failed || r.Type == Skipped {
			s.Duration = time.Duration(r.Millis) * time.Millisecond
			s.Text = r.Text
		}
	}
	return steps
}

// Step returns the state of one step; ok is false when it never began.
func (l Log) Step(name string) (state StepState, ok bool) {
	for _, s := range l.Steps() {
		if s.Name == name {
			return s, true
		}
	}
	return StepState{}, false
}

// Fact decodes the latest note of this key into v; false when there is none.
func (l Log) Fact(key string, v any) (bool, error) {
	for i := len(l.Records) - 1; i >= 0; i-- {
		if r := l.Records[i]; r.Type == Note && r.Key == key {
			return true, json.Unmarshal(r.Value, v)
		}
	}
	return false, nil
}
