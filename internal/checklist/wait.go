package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// errNotAtRest is in the error of a wait at whose end updates were still at
// work: who knows better may go on all the same.
var errNotAtRest = errors.New("updates are not at rest")

// Rhythm of the wait.
const (
	lookEvery = 500 * time.Millisecond
	// deadAfter is how long nothing may hold what does not end by itself,
	// before it is no longer waited for.
	deadAfter = 10 * time.Second
)

// Waited is how a wait for the running updates has ended.
type Waited struct {
	Version  int           `json:"version"`
	AtRest   bool          `json:"at_rest"`
	Waited   time.Duration `json:"waited_ns"`
	Paused   string        `json:"paused,omitempty"` // by whom, since when and why; empty: they are not
	Holds    []Hold        `json:"holds"`            // because of which they are not at rest
	Warnings []string      `json:"warnings,omitempty"`
}

// progress is told how far a wait is, and what is worth a line.
type progress struct {
	say  func(done, total int64, text string)
	warn func(text string)
}

// awaitUpdates waits until no worker holds a task that writes ETF data, no
// update is in processing and the service's gauge says 0, in two looks on end,
// for at most limit. What is in the way at the end is in the result and in the
// error, which is step.ErrFault.
func (t *Target) awaitUpdates(ctx context.Context, limit time.Duration, p progress) (*Waited, error) {
	watch, err := t.watchUpdates(ctx)
	if err != nil {
		return nil, err
	}
	defer watch.Close()
	w := &waiting{limit: limit, began: t.Now(), progress: p, Waited: &Waited{Version: formatVersion}}
	for {
		look, err := watch.look(ctx)
		if err != nil {
			return w.Waited, err
		}
		if done, err := w.judge(look); done || err != nil {
			return w.Waited, err
		}
		if err := sleep(ctx, lookEvery); err != nil {
			return w.Waited, err
		}
	}
}

// waiting is a wait between two looks.
type waiting struct {
	*Waited
	progress
	limit     time.Duration
	began     time.Time
	flagSince time.Time // that the flag was first seen; zero: there is none
	before    *updatesLook
	quiet     int       // looks on end
	dead      time.Time // since when there is nothing but what does not end by itself
}

// judge takes the next look; done when updates are at rest.
func (w *waiting) judge(l updatesLook) (done bool, err error) {
	switch {
	case l.Pause != nil && w.flagSince.IsZero():
		w.flagSince, w.Paused = l.At, l.Pause.String()
	case l.Pause == nil && !w.flagSince.IsZero():
		return false, fmt.Errorf("%w: the pause flag was taken away while the running updates were waited for: `updates:pause` sets it again", step.ErrFault)
	case l.Pause == nil && w.before == nil:
		w.tell("updates are not paused: new ones may begin at any time; `updates:pause` keeps them from it")
	}
	if l.Blind != "" && (w.before == nil || w.before.Blind == "") {
		w.tell("the gauge " + activeGauge + " was not seen, so workers and rows alone are judged: " + l.Blind)
	}
	w.Holds = l.holds(w.before, w.flagSince)
	w.before, w.Waited.Waited = &l, l.At.Sub(w.began)
	if len(w.Holds) == 0 {
		w.quiet, w.dead = w.quiet+1, time.Time{}
		w.AtRest = w.quiet >= 2
		return w.AtRest, nil
	}
	w.quiet = 0
	if !allDead(w.Holds) {
		w.dead = time.Time{}
	} else if w.dead.IsZero() {
		w.dead = l.At
	}
	if !w.dead.IsZero() && l.At.Sub(w.dead) >= deadAfter {
		return false, w.stuck("nothing that would end by itself is left")
	}
	if w.Waited.Waited >= w.limit {
		return false, w.stuck(fmt.Sprintf("after %s", report.Duration(w.limit)))
	}
	w.say(int64(w.Waited.Waited.Seconds()), int64(w.limit.Seconds()), firstOf(w.Holds))
	return false, nil
}

func (w *waiting) tell(text string) {
	w.Warnings = append(w.Warnings, text)
	w.warn("warning: " + text)
}

func (w *waiting) stuck(when string) error {
	return fmt.Errorf("%w: %w, %s: %s", step.ErrFault, errNotAtRest, when, holdsText(w.Holds))
}

// firstOf is what is shown while it is waited for.
func firstOf(holds []Hold) string {
	if len(holds) == 1 {
		return holds[0].Text
	}
	return fmt.Sprintf("%s; and %d more", holds[0].Text, len(holds)-1)
}

// waitStep is “Wait for current updates to complete”.
type waitStep struct {
	inputs
	force bool
}

func (waitStep) String() string { return "updates:wait" }

func (s waitStep) Deadline() time.Duration { return s.t.Config.Celery.Drain + time.Minute }

func (s waitStep) Describe(context.Context) ([]string, error) {
	return []string{
		"celery -A " + s.t.Config.Celery.App + " inspect reserved, then active",
		"select … from etf_updates, exchange_rate_updates where status = 'processing'",
		activeGauge + " at " + s.t.Config.API.URL + s.t.Config.API.Metrics,
	}, nil
}

func (s waitStep) Run(ctx context.Context, r *step.Run) error {
	if err := r.Fault(ctx, "during"); err != nil {
		return err
	}
	w, err := s.t.awaitUpdates(ctx, s.t.Config.Celery.Drain, progress{r.Progress, func(text string) { r.Log("%s", text) }})
	if errors.Is(err, errNotAtRest) && s.force {
		r.Log("warning: going on all the same, as -force asks: %v", err)
		r.Say("not at rest, gone on all the same: %s", holdsText(w.Holds))
		return nil
	}
	if errors.Is(err, errNotAtRest) {
		return fmt.Errorf("%w: `rollback:gradual -force` goes on all the same", err)
	}
	if err != nil {
		return err
	}
	r.Say("at rest after %s", report.Duration(w.Waited))
	return nil
}

// WaitForUpdates waits until the running updates have ended, for at most limit
// (zero: celery.drain), and writes what it found. With force what is still at
// work then is a warning.
func (t *Target) WaitForUpdates(ctx context.Context, out io.Writer, limit time.Duration, force, asJSON bool) error {
	const name = "updates:wait"
	if limit < 0 {
		return fmt.Errorf("%w: -deadline=%s: say how long to wait, such as 10m", ErrUsage, limit)
	}
	if limit == 0 {
		limit = t.Config.Celery.Drain
	}
	t.Observer.Started(name)
	began := t.Now()
	w, err := t.awaitUpdates(ctx, limit, progress{
		func(done, total int64, text string) { t.Observer.Progress(name, done, total, text) },
		func(text string) { t.Observer.Log(name, text) },
	})
	outcome := report.Done
	if err != nil {
		outcome = report.Failed
	}
	if w == nil {
		t.Observer.Finished(name, outcome, t.Now().Sub(began), err.Error())
		return err
	}
	detail := "at rest"
	if err != nil {
		detail = err.Error()
	}
	t.Observer.Finished(name, outcome, t.Now().Sub(began), detail)
	switch {
	case !errors.Is(err, errNotAtRest):
	case force:
		t.Observer.Log(name, "warning: not waited for any longer, as -force asks")
		err = nil
	case allDead(w.Holds):
		err = fmt.Errorf("%w: -force goes on all the same", err)
	default:
		err = fmt.Errorf("%w: -deadline=… waits longer, -force goes on all the same", err)
	}
	return errors.Join(w.write(out, asJSON), err)
}

func (w *Waited) write(out io.Writer, asJSON bool) error {
	if asJSON {
		if w.Holds == nil {
			w.Holds = []Hold{}
		}
		return report.JSON(out, w)
	}
	if w.AtRest {
		_, err := fmt.Fprintf(out, "updates are at rest: no task, no row in processing (waited %s)\n", report.Duration(w.Waited))
		return err
	}
	table := report.NewTable("what", "where", "not at rest")
	for _, h := range w.Holds {
		table.Row(h.What, h.Where, h.Text)
	}
	return table.Write(out)
}
