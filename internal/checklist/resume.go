package checklist

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// ErrInterruptedBefore is in the error of an operation that found an earlier
// one unfinished on a service that it had begun to change.
var ErrInterruptedBefore = errors.New("an earlier operation is not finished")

// ErrNothingToResume says that no operation was interrupted.
var ErrNothingToResume = errors.New("no operation is interrupted")

// unfinished lists the operations that ended without saying so, those whose
// undo failed, and one that was left and can be gone on with, newest first, back
// to the last whole deployment: what was before that, it has overtaken.
func (t *Target) unfinished(ctx context.Context) ([]journal.Log, error) {
	logs, err := journal.Newest(ctx, t.Host, t.journalDir(), wholeDeployment)
	if err != nil {
		return nil, err
	}
	return stillOpen(logs), nil
}

// Interrupted reports whether an operation is unfinished on a service that it
// had begun to change: no other begins over it.
func (t *Target) Interrupted(ctx context.Context) (bool, error) {
	open, err := t.unfinished(ctx)
	return slices.ContainsFunc(open, func(log journal.Log) bool {
		agenda, err := t.agendaOf(log)
		return err != nil || log.Outcome() != journal.Left && serviceTouched(log, agenda) && !achieved(log, agenda)
	}), err
}

// wholeDeployment reports whether an operation has brought the service to one
// verified release.
func wholeDeployment(log journal.Log) bool {
	return log.Header().Kind == "deploy" && log.Outcome() == journal.Succeeded
}

// settleEarlier deals with unfinished operations before a new one begins. One
// that did not touch the service is tidied up, one that has achieved
// everything gets its papers. What is left is a person's choice, or the
// configuration's. With force a failed undo, which a person has mended by
// hand, is passed over.
func (t *Target) settleEarlier(ctx context.Context, held *heldLease, force bool) error {
	open, err := t.unfinished(ctx)
	if err != nil {
		return err
	}
	for _, log := range open {
		if log.Outcome() == journal.Left || log.Outcome() == journal.Stuck && force {
			continue
		}
		agenda, err := t.agendaOf(log)
		if err != nil {
			return err
		}
		if serviceTouched(log, agenda) && !achieved(log, agenda) {
			return fmt.Errorf("%w: %s", ErrInterruptedBefore, describeUnfinished(log, agenda))
		}
		if _, err := held.goOn(ctx, log, agenda, true); err != nil {
			return err
		}
	}
	return nil
}

// describeUnfinished says where an operation stands and which ways there are.
func describeUnfinished(log journal.Log, agenda Agenda) string {
	at := "before its first step"
	if steps := log.Steps(); len(steps) > 0 {
		last := steps[len(steps)-1]
		at = fmt.Sprintf("at %s (%s)", last.Name, last.Type)
	}
	text := fmt.Sprintf("%s of %s, last heard of %s, %s", log.Header().ID, log.Header().By, log.Last().Time.Format(time.RFC3339), at)
	switch {
	case log.Outcome() == journal.Stuck:
		return text + ": `resume` tries again to take the service back; its last try failed: " + firstLine(log.Last().Text) +
			"; once a person has mended the service, `deploy -force` passes over it"
	case goesBack(log, agenda):
		return text + ": `resume` finishes taking the service back to the release that was live"
	case agenda.Onward != nil:
		return fmt.Sprintf("%s: `resume` goes on with %s; `resume -undo` leaves it as it is: %s", text, join(stepsLeft(log, agenda)), agenda.Onward.state)
	}
	return fmt.Sprintf("%s: `resume` goes on with %s; `resume -undo` takes the service back to the release that was live", text, join(stepsLeft(log, agenda)))
}

// stepsLeft are the steps of an unfinished operation that are still to be done
// or, where it goes back, to be taken back.
func stepsLeft(log journal.Log, agenda Agenda) []string {
	var left []string
	if goesBack(log, agenda) {
		for _, s := range slices.Backward(step.Flat(agenda.Steps)) {
			state, _ := log.Step(s.String())
			if _, can := s.(step.Undoer); can && state.Touched() {
				left = append(left, s.String())
			}
		}
		return left
	}
	for _, s := range step.Flat(slices.Concat(agenda.Steps, agenda.Verify, agenda.Record)) {
		if state, _ := log.Step(s.String()); state.Type != journal.Done && state.Type != journal.Skipped {
			left = append(left, s.String())
		}
	}
	return left
}

// goesBack reports whether an operation was on its way back when it was
// interrupted, or a failure would have led it there.
func goesBack(log journal.Log, agenda Agenda) bool {
	if log.TakenBack() {
		return true
	}
	if agenda.Onward != nil {
		return false // the step that failed is run again
	}
	return slices.ContainsFunc(step.Flat(agenda.Steps), func(s step.Step) bool {
		state, _ := log.Step(s.String())
		return state.Type == journal.Failed
	})
}

// achieved reports whether all that is taken back together was done.
func achieved(log journal.Log, agenda Agenda) bool {
	flat := step.Flat(agenda.Steps)
	if len(flat) == 0 {
		return true
	}
	state, ok := log.Step(flat[len(flat)-1].String())
	return ok && (state.Type == journal.Done || state.Type == journal.Skipped)
}

// Resume goes on with the newest unfinished operation from its journal:
// forwards, unless it was on its way back already or undo asks for that.
func (t *Target) Resume(ctx context.Context, undo bool, wait time.Duration) (*step.Operation, error) {
	open, err := t.unfinished(ctx)
	if err != nil {
		return nil, err
	}
	handedOver := os.Getenv(handOverVariable)
	wanted, _, _ := strings.Cut(handedOver, "@")
	if handedOver != "" {
		wait = successorPatience // the step that its predecessor is in may need its grace to end
	} else if wanted, err = t.parkedForUs(ctx); err != nil {
		return nil, err
	}
	i := slices.IndexFunc(open, func(log journal.Log) bool { return wanted == "" || log.Header().ID == wanted })
	if i < 0 {
		t.tellAgain(ctx)
		return nil, ErrNothingToResume
	}
	log := open[i]
	id := log.Header().ID
	held, err := t.takeLease(ctx, lease.Request{Operation: id, Purpose: "resume", Wait: wait})
	if err != nil {
		return nil, err
	}
	defer held.release()
	// It may have ended while we waited for the lease.
	if log, err = journal.Read(ctx, t.Host, log.Path); err != nil {
		held.asItWas()
		return nil, err
	}
	if !mayGoOn(log) || handedOver != "" && handedOver != handOver(id, log.Token()) {
		held.asItWas()
		return nil, ErrNothingToResume
	}
	agenda, err := held.t.agendaOf(log)
	if err != nil {
		held.asItWas()
		return nil, err
	}
	return held.goOn(held.ctx, log, agenda, undo)
}

// Settle is Resume for who goes on with something else then: that somebody else
// has settled it meanwhile is as good.
func (t *Target) Settle(ctx context.Context, undo bool, wait time.Duration) (*step.Operation, error) {
	op, err := t.Resume(ctx, undo, wait)
	if errors.Is(err, ErrNothingToResume) {
		err = nil
	}
	return op, err
}

// parkedForUs names the operation that the lease is parked for, if it is, and
// refuses what somebody else keeps for the next stage of his.
func (t *Target) parkedForUs(ctx context.Context) (operation string, err error) {
	l, err := t.Lease(ctx)
	switch {
	case err != nil || l.State != lease.Parked:
		return "", err
	case !mine(*l.Holder):
		return "", &lease.HeldError{Holder: *l.Holder, State: l.State}
	}
	return l.Holder.Operation, nil
}

// goOn brings an unfinished operation to an end, in the place of a process
// that is gone.
func (held *heldLease) goOn(ctx context.Context, log journal.Log, agenda Agenda, undo bool) (*step.Operation, error) {
	t := held.t
	way := "resume"
	if undo {
		way = "resume -undo"
	}
	op, err := held.takeUp(ctx, log, way)
	if err != nil {
		held.asItWas()
		return op, err
	}
	touched := serviceTouched(log, agenda)
	switch {
	case achieved(log, agenda):
		if undo && touched {
			t.Observer.Log("resume", "everything was done, and stays: only the look at it and its papers were missing")
		}
		return op, held.finish(op, agenda)
	case !undo && !goesBack(log, agenda):
		if err := t.sameInputs(ctx, op, agenda); err != nil {
			held.asItWas()
			return op, err
		}
		if !touched {
			op.Again(t.stale(log)...)
		} else if agenda.Onward != nil {
			op.Again(agenda.Onward.again...)
		} else {
			op.Again(stoppedAgain(log)...)
		}
		return op, held.perform(op, agenda)
	case agenda.Keep && touched:
		return op, agenda.leave(ctx, op, failure(log))
	}
	err = t.undo(ctx, op, agenda, touched, failure(log))
	if errors.Is(err, ErrTakenBack) && !errors.Is(err, step.ErrNeedsPerson) {
		err = nil // which is what was asked for
	}
	return op, err
}

// stoppedAgain are the steps of an immediate rollback that are done again while
// the database is still to be changed: a machine that was restarted has started
// the service, which has written rows since they were looked for.
func stoppedAgain(log journal.Log) []string {
	state, _ := log.Step(databaseStep{}.String())
	if log.Header().Kind != rollbackKind || state.Type == journal.Done || state.Type == journal.Skipped {
		return nil
	}
	return []string{stopStep{}.String(), writtenStep{}.String()}
}

// staleAfter is how long ago a check may have looked.
const staleAfter = 10 * time.Minute

// stale are the checks of an operation, and the look at the maintenance
// window, that are too long ago to begin a cut-over by.
func (t *Target) stale(log journal.Log) []string {
	var names []string
	for _, s := range append(asSteps(inputs{t}, slices.Concat(PreDeployment, ServiceDependencies)), windowStep{}) {
		if state, ok := log.Step(s.String()); ok && t.Now().Sub(state.Began) > staleAfter {
			names = append(names, s.String())
		}
	}
	return names
}

// failure is what ended an operation's steps: the one that failed, or an
// interruption.
func failure(log journal.Log) error {
	for _, r := range slices.Backward(log.Records) {
		if r.Type == journal.Failed {
			return fmt.Errorf("%s: %s", r.Step, strings.TrimPrefix(r.Text, r.Step+": "))
		}
	}
	return step.ErrInterrupted
}
