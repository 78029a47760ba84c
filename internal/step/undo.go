package step

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// Undo takes back, last first, the steps of list that began to act. It stops at
// the first that cannot be taken back, since those before it build on it; the
// error is then ErrNeedsPerson. It goes on when ctx ends: half an undo helps
// nobody.
func (o *Operation) Undo(ctx context.Context, list []Step) error {
	flat := Flat(list)
	for i := len(flat) - 1; i >= 0; i-- {
		s := flat[i]
		undoer, ok := s.(Undoer)
		state, began := o.journal.Log().Step(s.String())
		if !ok || !began || !state.Touched() {
			continue
		}
		if err := o.undo(context.WithoutCancel(ctx), s, undoer); err != nil {
			return err
		}
	}
	return nil
}

func (o *Operation) undo(ctx context.Context, s Step, undoer Undoer) error {
	name := s.String()
	shown := "undo " + name
	r := &Run{Operation: o, step: name, shown: shown}
	ctx, cancel := limited(o.context(ctx, name), s)
	defer cancel()
	o.observer.Started(shown)
	began := o.now()
	err := o.journal.Append(ctx, journal.Record{Type: journal.UndoStart, Step: name})
	if err == nil {
		err = Fault(ctx, name+":undo")
	}
	if err == nil {
		err = persistent(ctx, r, undoer.Undo)
	}
	d := o.now().Sub(began)
	if err != nil {
		o.observer.Finished(shown, string(journal.Failed), d, host.Redact(err.Error()))
		rec := journal.Record{Type: journal.UndoFailed, Step: name, Millis: d.Milliseconds(), Text: err.Error()}
		return errors.Join(fmt.Errorf("%w: taking back %s: %w", ErrNeedsPerson, name, err), o.journal.Append(ctx, rec))
	}
	o.observer.Finished(shown, string(journal.Undone), d, r.detail)
	return o.journal.Append(ctx, journal.Record{Type: journal.Undone, Step: name, Millis: d.Milliseconds(), Text: r.detail})
}

// undoPauses are the times between the tries of an undo: what made the step
// fail, such as a server that is being restarted, may be gone soon.
var undoPauses = []time.Duration{2 * time.Second, 10 * time.Second}

// persistent tries an undo again that has failed.
func persistent(ctx context.Context, r *Run, undo func(context.Context, *Run) error) error {
	for _, pause := range undoPauses {
		err := undo(ctx, r)
		if err == nil || ctx.Err() != nil {
			return err
		}
		r.Log("it failed, trying again in %s: %v", pause, err)
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
	return undo(ctx, r)
}
