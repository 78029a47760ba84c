// Package step says what a step of the plan is and runs lists of them: in
// order or side by side, each within a deadline, each recorded in the journal
// before and after it acts, taken back in reverse when one fails.
package step

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// DefaultDeadline bounds a step that does not say its own.
const DefaultDeadline = 10 * time.Minute

// A Step is one item of the plan. String is the name of its target, such as
// "release:migrate"; within one operation each name occurs once.
type Step interface {
	String() string
	Run(ctx context.Context, r *Run) error
}

// Skipper is a step that may have nothing to do. A reason that is not empty
// skips it.
type Skipper interface {
	Skip(ctx context.Context, r *Run) (reason string, err error)
}

// Undoer is a step that can be taken back. Undo is called when the step began,
// whether it ended or not, possibly in another process: it relies on what was
// noted and on what it finds, and may be called again.
type Undoer interface {
	Undo(ctx context.Context, r *Run) error
}

// Prober is a step that can tell, after an interruption, whether it has been
// done.
type Prober interface {
	Probe(ctx context.Context, r *Run) (done bool, err error)
}

// Digester is a step whose inputs matter to whoever resumes: a done step with
// other inputs is not done.
type Digester interface {
	Digest(ctx context.Context, r *Run) (string, error)
}

// Limiter is a step with a deadline of its own.
type Limiter interface {
	Deadline() time.Duration
}

// Describer is a step that can say beforehand what it would run, a line each.
type Describer interface {
	Describe(ctx context.Context) ([]string, error)
}

// Changer is a step at which the service is touched for the first time: from
// its start on, a failure has something to take back on the running service.
type Changer interface {
	ChangesService()
}

// Together runs steps side by side; all run to their end, and their errors
// come together.
type Together []Step

// String names the group by its members.
func (t Together) String() string { return fmt.Sprint([]Step(t)) }

// Run is never called: the engine runs the members.
func (t Together) Run(context.Context, *Run) error {
	return errors.New("a group is run by its members")
}

// Flat returns the steps of a list with its groups opened.
func Flat(list []Step) []Step {
	var flat []Step
	for _, s := range list {
		if group, ok := s.(Together); ok {
			flat = append(flat, group...)
			continue
		}
		flat = append(flat, s)
	}
	return flat
}

// Errors that callers branch on.
var (
	// ErrFault is in the error of a check that looked and found a fault.
	ErrFault = errors.New("a check found a fault")
	// ErrNothingToDo is in the error of a step that found the operation to
	// be needless; nothing has failed.
	ErrNothingToDo = errors.New("nothing to do")
	// ErrInterrupted is the cause of a context that a signal ended.
	ErrInterrupted = errors.New("interrupted")
	// ErrNeedsPerson is in the error of an operation that could not be taken
	// back: the service is in a state that the suite cannot mend.
	ErrNeedsPerson = errors.New("the service needs a person")
)

// Observer is told what happens, as it happens; calls come from several
// goroutines. report.Printer is one.
type Observer interface {
	Started(name string)
	Progress(name string, done, total int64, text string)
	Finished(name, outcome string, d time.Duration, detail string)
	Log(name, line string)
}

// A Run is a step's view of its operation while it runs.
type Run struct {
	*Operation
	step   string // as recorded
	shown  string // to the observer: an undo under a name of its own
	detail string
	known  *journal.Log // what the step knew when it began; nil: all there is
}

// Fact decodes the latest note of this key that the step knows into v; false
// when there is none.
func (r *Run) Fact(key string, v any) (bool, error) {
	if r.known != nil {
		return r.known.Fact(key, v)
	}
	return r.Operation.Fact(key, v)
}

// NoteOnce records a fact unless there is one of this key: the first time
// counts, also when a step is done again.
func (r *Run) NoteOnce(ctx context.Context, key string, value any) error {
	var there json.RawMessage
	if ok, err := r.Operation.Fact(key, &there); err != nil || ok {
		return err
	}
	return r.Note(ctx, key, value)
}

// Step is the name under which this step is recorded, the same in its undo.
func (r *Run) Step() string { return r.step }

// Progress tells the observer how far the step is; total 0 means unknown.
func (r *Run) Progress(done, total int64, text string) {
	r.observer.Progress(r.shown, done, total, text)
}

// Say sets the step's result, one line for the table at the end.
func (r *Run) Say(format string, args ...any) { r.detail = fmt.Sprintf(format, args...) }

// Log shows a line while the step runs.
func (r *Run) Log(format string, args ...any) { r.observer.Log(r.shown, fmt.Sprintf(format, args...)) }

// Note records a fact durably, before what depends on it happens.
func (r *Run) Note(ctx context.Context, key string, value any) error {
	return r.Operation.Note(ctx, key, value)
}

func encode(value any) (json.RawMessage, error) {
	b, err := json.Marshal(value)
	return json.RawMessage(b), err
}
