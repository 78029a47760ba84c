package step

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// An Operation is one run of a target that changes something, from begin to
// end, possibly in several processes. Its id is in the journal, in every
// child's environment and in the application name of every session.
type Operation struct {
	journal  *journal.Journal
	observer Observer
	now      func() time.Time
	again    map[string]bool // steps that are run also when they are done
}

// NewOperation goes on with the operation of an open journal.
func NewOperation(j *journal.Journal, o Observer, now func() time.Time) *Operation {
	return &Operation{journal: j, observer: o, now: now}
}

// ID is the operation's name.
func (o *Operation) ID() string { return o.journal.Log().Header().ID }

// Token is that of the lease by which the operation is worked on now, and of
// its fence in the database.
func (o *Operation) Token() int64 { return o.journal.Log().Token() }

// Again has Do run these steps also when the journal says that they are done.
func (o *Operation) Again(names ...string) {
	o.again = map[string]bool{}
	for _, name := range names {
		o.again[name] = true
	}
}

// Journal is where the operation is recorded.
func (o *Operation) Journal() *journal.Journal { return o.journal }

// Now is the present time by the operation's clock.
func (o *Operation) Now() time.Time { return o.now() }

// Note records a fact durably.
func (o *Operation) Note(ctx context.Context, key string, value any) error {
	b, err := encode(value)
	if err != nil {
		return fmt.Errorf("noting %s: %w", key, err)
	}
	return o.journal.Append(ctx, journal.Record{Type: journal.Note, Key: key, Value: b})
}

// Fact decodes the latest note of this key into v; false when there is none.
func (o *Operation) Fact(key string, v any) (bool, error) { return o.journal.Log().Fact(key, v) }

// Do runs a list of steps and stops at the first that fails. A step that is
// done already, by the journal, is not done again. Between two steps it looks
// whether the context has ended.
func (o *Operation) Do(ctx context.Context, list []Step) error {
	for _, s := range list {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("before %s: %w", s, context.Cause(ctx))
		}
		group, isGroup := s.(Together)
		if !isGroup {
			group = Together{s}
		}
		errs := make([]error, len(group))
		var wg sync.WaitGroup
		for i, member := range group {
			wg.Go(func() { errs[i] = o.do(ctx, member) })
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
	}
	return nil
}

func (o *Operation) do(ctx context.Context, s Step) error {
	name := s.String()
	state, _ := o.journal.Log().Step(name)
	if (state.Type == journal.Done || state.Type == journal.Skipped) && !o.again[name] {
		return nil
	}
	r := &Run{Operation: o, step: name, shown: name}
	ctx, cancel := limited(o.context(ctx, name), s)
	defer cancel()

	o.observer.Started(name)
	began := o.now()
	outcome, why, err := needless(ctx, s, r, state.Type)
	if err != nil {
		return o.failed(ctx, r, began, err)
	}
	if outcome != "" {
		o.observer.Finished(name, string(outcome), 0, why)
		if state.Type == journal.Done {
			return nil // by this operation, which stays so
		}
		return o.journal.Append(ctx, journal.Record{Type: outcome, Step: name, Text: why})
	}
	start := journal.Record{Type: journal.Start, Step: name}
	if d, ok := s.(Digester); ok {
		var err error
		if start.Digest, err = d.Digest(ctx, r); err != nil {
			return o.failed(ctx, r, began, err)
		}
	}
	err = Fault(ctx, name+":before")
	if err == nil {
		err = o.journal.Append(ctx, start)
	}
	if err == nil {
		err = s.Run(ctx, r)
	}
	if err == nil {
		err = Fault(ctx, name+":after")
	}
	if err != nil {
		return o.failed(ctx, r, began, err)
	}
	d := o.now().Sub(began)
	o.observer.Finished(name, string(journal.Done), d, r.detail)
	return o.journal.Append(ctx, journal.Record{Type: journal.Done, Step: name, Millis: d.Milliseconds(), Text: r.detail})
}

// needless reports whether a step has nothing to do, and why: it was done when
// it was interrupted, or has nothing to do at all.
func needless(ctx context.Context, s Step, r *Run, state journal.Type) (outcome journal.Type, why string, err error) {
	if prober, ok := s.(Prober); ok && state == journal.Start {
		done, err := prober.Probe(ctx, r)
		if err != nil || done {
			return journal.Done, cmp.Or(r.detail, "was done when it was interrupted"), err
		}
	}
	if skipper, ok := s.(Skipper); ok {
		reason, err := skipper.Skip(ctx, r)
		if err != nil || reason != "" {
			return journal.Skipped, reason, err
		}
	}
	return "", "", nil
}

// failed records what went wrong with a step and returns it, named.
func (o *Operation) failed(ctx context.Context, r *Run, began time.Time, err error) error {
	switch cause := context.Cause(ctx); {
	case cause == nil || errors.Is(err, cause):
	case err == ctx.Err():
		err = cause // says more
	default:
		err = fmt.Errorf("%w: %w", cause, err)
	}
	d := o.now().Sub(began)
	if errors.Is(err, ErrNothingToDo) {
		o.observer.Finished(r.step, string(journal.Skipped), d, err.Error())
		return errors.Join(err, o.journal.Append(ctx, journal.Record{Type: journal.Skipped, Step: r.step, Text: err.Error()}))
	}
	o.observer.Finished(r.step, string(journal.Failed), d, host.Redact(err.Error()))
	rec := journal.Record{Type: journal.Failed, Step: r.step, Millis: d.Milliseconds(), Text: err.Error()}
	return errors.Join(fmt.Errorf("%s: %w", r.step, err), o.journal.Append(ctx, rec))
}

// End records how the operation ended.
func (o *Operation) End(ctx context.Context, outcome, text string) error {
	return o.journal.Append(ctx, journal.Record{Type: journal.End, Outcome: outcome, Text: text})
}

// operationVariable is set in the environment of every child.
const operationVariable = "ETF_OPERATION"

// context has the commands of a step carry the operation's name and be
// recorded.
func (o *Operation) context(ctx context.Context, step string) context.Context {
	return host.WithOperation(ctx, host.Operation{
		Env: []string{operationVariable + "=" + o.ID(), "PGAPPNAME=" + o.ApplicationName()},
		Started: func(p host.Process, argv0 string) error {
			return o.journal.Append(ctx, journal.Record{Type: journal.Child, Step: step, Process: &p, Text: argv0})
		},
	})
}

// ApplicationName is what the operation's database sessions are called.
func (o *Operation) ApplicationName() string { return "etf-deploy/" + o.ID() }

// limited bounds a step; what ends by it says so.
func limited(ctx context.Context, s Step) (context.Context, context.CancelFunc) {
	limit := DefaultDeadline
	if l, ok := s.(Limiter); ok {
		limit = l.Deadline()
	}
	if text, set := faultAt(s.String() + ":deadline"); set {
		d, err := time.ParseDuration(text)
		if err != nil {
			return context.WithTimeoutCause(ctx, 0, fmt.Errorf("fault point %s:deadline: %w", s, err))
		}
		limit = d
	}
	return context.WithTimeoutCause(ctx, limit, fmt.Errorf("its deadline of %s was up: %w", limit, context.DeadlineExceeded))
}
