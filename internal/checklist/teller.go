package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// A teller delivers the suite's own metrics while an operation runs: at its
// begin, so that whatever becomes of this process leaves the truth behind;
// then its sign of life; at the end how it ended. Nobody waits for it but, for
// a moment, the end. That metrics could not be delivered is said and stops
// nothing. Its methods do nothing on nil.
type teller struct {
	t     *Target
	lost  func() bool   // the lease: whoever has it now tells
	every time.Duration // how often the operation is heard of

	own   *journal.Journal // of the operation that is told of; nil: none
	other time.Time        // when another one that is open was last heard of; zero: none is

	settled map[string]journal.Log // journals that do not change any more, by id
	done    map[string]bool        // operations whose journals' ends say that they succeeded, by id

	delivering, journals, backups, pause chan struct{} // as inTime takes them

	said  map[string]bool // what is wrong, while it stays so
	stop  context.CancelFunc
	cut   context.CancelFunc
	ended chan struct{}
}

// tellEvery is how often an operation is heard of.
var tellEvery = 30 * time.Second

// newTeller is nil where there is nowhere to deliver metrics to.
func newTeller(t *Target, lost func() bool) *teller {
	if t.Config.Monitoring.Textfile == "" && t.Config.Monitoring.Pushgateway == "" {
		return nil
	}
	one := func() chan struct{} { return make(chan struct{}, 1) }
	return &teller{t: t, lost: lost, every: tellEvery, settled: map[string]journal.Log{}, done: map[string]bool{}, said: map[string]bool{},
		delivering: one(), journals: one(), backups: one(), pause: one()}
}

// begin begins to tell of an operation. A second one under the same lease, such
// as one that stands aside, is told of in its turn.
func (tl *teller) begin(ctx context.Context, j *journal.Journal) {
	if tl == nil {
		return
	}
	tl.hush(ctx)
	tl.own = j
	ctx = host.WithOperation(context.WithoutCancel(ctx), host.Operation{})
	ctx, tl.cut = context.WithCancel(ctx)
	looking, stop := context.WithCancel(ctx)
	tl.stop, tl.ended = stop, make(chan struct{})
	go tl.beat(looking, ctx, tl.ended)
}

// beat tells that the operation lives and, once it is found out, all the rest.
func (tl *teller) beat(looking, delivering context.Context, ended chan<- struct{}) {
	defer close(ended)
	for known := false; !tl.lost(); {
		_ = tl.deliver(delivering, tl.sign(tl.t.Now()), false)
		if !known && looking.Err() == nil {
			told, unseen := tl.look(looking, tl.own.Log().Header().ID)
			if looking.Err() != nil {
				return
			}
			tl.say("not all of the suite's own metrics could be found out", unseen)
			known = tl.deliver(delivering, told, unseen == nil) == nil && unseen == nil
		}
		if sleep(looking, tl.every) != nil {
			return
		}
	}
}

// sign is the sign of life of an operation; with the zero time, its end.
func (tl *teller) sign(heard time.Time) *monitoring.Told {
	told := monitoring.NewTold()
	tellHeard(told, heard)
	return told
}

// hushPatience is what a delivery under way gets: cut off, it may arrive behind
// the next one.
const hushPatience = 300 * time.Millisecond

// hush ends the signs of life.
func (tl *teller) hush(ctx context.Context) {
	if tl == nil || tl.stop == nil {
		return
	}
	tl.stop()
	select {
	case <-tl.ended:
	case <-ctx.Done():
	case <-time.After(hushPatience):
	}
	tl.cut()
	<-tl.ended
	tl.stop = nil
}

// end tells how what was told of has ended: first that it has, which is known,
// and then all that can be found out while ctx lasts. An end that is not heard
// of would call people for an operation that went well, so it is tried again.
func (tl *teller) end(ctx context.Context) {
	if tl == nil || tl.own == nil {
		return
	}
	ctx = host.WithOperation(ctx, host.Operation{})
	tl.hush(ctx)
	heard := tl.t.heardOf(tl.own.Log())
	if heard.IsZero() {
		heard = tl.other
	}
	tl.own = nil
	if tl.lost() || tl.insist(ctx, tl.sign(heard), false) != nil {
		return
	}
	looking, cancel := ctx, context.CancelFunc(func() {})
	if end, limited := ctx.Deadline(); limited {
		looking, cancel = context.WithTimeout(ctx, time.Until(end)/2)
	}
	defer cancel()
	told, unseen := tl.look(looking, "")
	tl.say("not all of the suite's own metrics could be found out", unseen)
	_ = tl.insist(ctx, told, unseen == nil)
}

// tellAgain puts right what was told last, such as of an operation whose end
// could not be delivered. Where somebody is at work he tells.
func (t *Target) tellAgain(ctx context.Context) {
	tl := newTeller(t, func() bool { return false })
	if l, err := t.Lease(ctx); tl == nil || err != nil || l.State == lease.Held {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*t.Config.Timeouts.Connect)
	defer cancel()
	told, unseen := tl.look(ctx, "")
	tl.say("not all of the suite's own metrics could be found out", unseen)
	_ = tl.insist(ctx, told, unseen == nil)
}

// insist delivers, and tries again while ctx lasts.
func (tl *teller) insist(ctx context.Context, told *monitoring.Told, whole bool) error {
	for {
		err := tl.deliver(ctx, told, whole)
		if err == nil || sleep(ctx, 200*time.Millisecond) != nil {
			return err
		}
	}
}

// deliver puts metrics where the configuration says. Those that are not told
// keep their last known values, unless these are the whole.
func (tl *teller) deliver(ctx context.Context, told *monitoring.Told, whole bool) error {
	_, err := inTime(ctx, tl.t.Config.Timeouts.Connect, tl.delivering, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, tl.t.deliver(ctx, told, whole)
	})
	if err == nil || !errors.Is(ctx.Err(), context.Canceled) { // else it was cut short
		tl.say("the suite's own metrics could not be delivered", err)
	}
	return err
}

// say says what is wrong, once while it stays so.
func (tl *teller) say(what string, err error) {
	if err != nil && !tl.said[what] {
		tl.t.Observer.Log("warning", what+": "+strings.ReplaceAll(host.Redact(err.Error()), "\n", "; "))
	}
	tl.said[what] = err != nil
}

func (t *Target) deliver(ctx context.Context, told *monitoring.Told, whole bool) error {
	m := t.Config.Monitoring
	if m.Pushgateway != "" {
		push := told.Add
		if whole {
			push = told.Push
		}
		return push(ctx, &http.Client{Transport: t.transport()}, m.Pushgateway, t.Config.Environment)
	}
	text, err := told.Text(t.Config.Environment)
	if err != nil {
		return err
	}
	file := path.Join(m.Textfile, monitoring.TextfileName(t.Config.Environment))
	if before, err := t.Host.ReadFile(ctx, file); err == nil && !whole {
		if text, err = monitoring.Replace(before, text); err != nil {
			return err
		}
	}
	// The exporter, another user, has to read it.
	err = t.Host.WriteFile(ctx, file, text, 0o644)
	var at *fs.PathError
	if errors.As(err, &at) {
		return fmt.Errorf("%s: %w", m.Textfile, at.Err) // without the name of a temporary file
	}
	return err
}
