package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// An ownLook finds out a part of the suite's own metrics. What it saw is told
// by the function that it returns, also beside an error.
type ownLook struct {
	what  string
	limit time.Duration
	one   chan struct{} // as inTime takes it
	see   func(ctx context.Context) (tell func(*monitoring.Told) error, err error)
}

// journalsTime is what a look at all journals gets: hundreds of files may lie on
// a slow disk, and nobody waits for it.
const journalsTime = 30 * time.Second

// look finds out what there is to tell of the target. The journals are the
// truth: what this process remembers ends with it. running is the operation
// that this process is at, which is not interrupted. The error says what could
// not be looked at; that is not among what is told.
func (tl *teller) look(ctx context.Context, running string) (*monitoring.Told, error) {
	looks := []ownLook{
		{"operations", journalsTime, tl.journals, func(ctx context.Context) (func(*monitoring.Told) error, error) {
			return tl.seeJournals(ctx, running)
		}},
		{"backups", tl.t.Config.Timeouts.Connect, tl.backups, func(ctx context.Context) (func(*monitoring.Told) error, error) {
			all, err := tl.t.Backups(ctx)
			return func(told *monitoring.Told) error { tellBackup(told, all); return nil }, err
		}},
		{"pause flag", tl.t.Config.Timeouts.Connect, tl.pause, tl.seePause},
	}
	tells, errs := make([]func(*monitoring.Told) error, len(looks)), make([]error, len(looks))
	var wg sync.WaitGroup
	for i, l := range looks {
		wg.Go(func() {
			if tells[i], errs[i] = inTime(ctx, l.limit, l.one, l.see); errs[i] != nil {
				errs[i] = fmt.Errorf("%s: %w", l.what, errs[i])
			}
		})
	}
	wg.Wait()
	told := monitoring.NewTold()
	for _, tell := range tells {
		if tell != nil {
			errs = append(errs, tell(told))
		}
	}
	return told, errors.Join(errs...)
}

func (tl *teller) seePause(ctx context.Context) (func(*monitoring.Told) error, error) {
	c, err := tl.t.cache()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	p, err := c.Paused(ctx, tl.t.Config.Cache.PauseKey)
	if err != nil {
		return nil, err
	}
	if p != nil && p.Until == nil {
		p.Since = tl.pausedSince(ctx, *p)
	} else {
		_ = tl.t.Host.Remove(ctx, tl.t.pauseSeen()) // it would be too old for the next one
	}
	return func(told *monitoring.Told) error { tellPaused(told, p); return nil }, nil
}

// pauseSeen is the file that holds when a flag that was set by hand was first
// seen.
func (t *Target) pauseSeen() string { return path.Join(t.opsDir(), "pause-seen") }

// pausedSince is since when updates are paused. A flag that was set by hand
// does not say: it is reckoned from the first look of all those that found it.
// Where that cannot be kept, it is this one.
func (tl *teller) pausedSince(ctx context.Context, p cache.Pause) time.Time {
	if !p.Since.IsZero() {
		_ = tl.t.Host.Remove(ctx, tl.t.pauseSeen())
		return p.Since
	}
	now := tl.t.Now()
	if text, err := tl.t.Host.ReadFile(ctx, tl.t.pauseSeen()); err == nil {
		if first, err := time.Parse(time.RFC3339Nano, string(text)); err == nil && first.Before(now) {
			return first
		}
	}
	_ = tl.t.Host.WriteFile(ctx, tl.t.pauseSeen(), []byte(now.UTC().Format(time.RFC3339Nano)), 0o600)
	return now
}

// recentOperations is how many of each kind are looked at for how the last one
// ended in each way: journals are never removed, and there may be a thousand.
const recentOperations = 20

// enough reports whether no more operations of a kind are wanted: how long a
// way back does it take to see each way in which they end.
func enough(read int, ends map[string]bool) bool {
	return read >= recentOperations || ends[toldSucceeded] && ends[toldFailed] && ends[toldUndone]
}

// seeJournals reads the journals: those back to the last whole deployment, as
// any of them may be open, and further back as many as it takes to see how
// operations of each kind end. Of more rollbacks, which are counted, only the
// end is read. Those that nobody goes on with are read once.
func (tl *teller) seeJournals(ctx context.Context, running string) (func(*monitoring.Told) error, error) {
	var logs []journal.Log
	var errs []error
	whole, kind, more := false, "", 0
	read, ends := map[string]int{}, map[string]map[string]bool{}
	see := func(log journal.Log) {
		logs = append(logs, log)
		if read[kind]++; ends[kind] == nil {
			ends[kind] = map[string]bool{}
		}
		ends[kind][toldOutcome(log, running)] = true
		whole = whole || wholeDeployment(log)
		if !mayGoOn(log) {
			tl.settled[log.Header().ID] = log
		}
	}
	err := journal.Each(ctx, tl.t.Host, tl.t.journalDir(), func(id, k string) bool {
		kind = k
		if log, known := tl.settled[id]; known {
			see(log)
			return false
		}
		if !whole || !enough(read[kind], ends[kind]) {
			return true
		}
		if isRollback(kind) && ctx.Err() == nil {
			succeeded, err := tl.succeeded(ctx, id)
			if errs = append(errs, err); succeeded {
				more++
			}
		}
		return false
	}, see)
	if ctx.Err() != nil {
		return nil, err // what was seen so far is not how things stand
	}
	return func(told *monitoring.Told) error { return tl.tellJournals(told, logs, more, running) }, errors.Join(append(errs, err)...)
}

// succeeded reads from its end alone whether an operation did.
func (tl *teller) succeeded(ctx context.Context, id string) (bool, error) {
	if tl.done[id] {
		return true, nil
	}
	outcome, err := journal.Outcome(ctx, tl.t.Host, path.Join(tl.t.journalDir(), id+".jsonl"))
	tl.done[id] = outcome == journal.Succeeded
	return tl.done[id], err
}

func (tl *teller) tellJournals(told *monitoring.Told, logs []journal.Log, moreRollbacks int, running string) error {
	tellOperations(told, logs, running)
	tellRollbacks(told, logs, moreRollbacks)
	tellSteps(told, logs, running)
	heard := tl.t.heardOfOpen(logs, running)
	if running != "" {
		tl.other, heard = heard, tl.t.Now()
	}
	tellHeard(told, heard)
	return tellStopped(told, logs, tl.t.Now())
}

// heardOfOpen is when the newest operation was last heard of that has begun
// and not ended, or could not be taken back, beside the one that this process
// is at; zero where there is none.
func (t *Target) heardOfOpen(logs []journal.Log, running string) time.Time {
	if i := slices.IndexFunc(logs, wholeDeployment); i >= 0 {
		logs = logs[:i]
	}
	for _, log := range logs {
		if heard := t.heardOf(log); log.Header().ID != running && !heard.IsZero() {
			return heard
		}
	}
	return time.Time{}
}

// heardOf is when an operation was last heard of; zero where it has ended.
// Whoever judges whether it was interrupted reckons from then: one that is
// parked may be silent until its time is up. A gradual rollback that was left
// has its updates paused, which is told too.
func (t *Target) heardOf(log journal.Log) time.Time {
	switch log.Outcome() {
	case "", journal.Stuck:
	default:
		return time.Time{}
	}
	if log.Parked() {
		return log.Last().Time.Add(t.Config.Operation.Parked)
	}
	return log.Last().Time
}

// inTime does what may hang whatever its context says, as on a disk of another
// machine, and waits no longer than that. While it hangs it is not done a
// second time: one has room for one.
func inTime[T any](ctx context.Context, limit time.Duration, one chan struct{}, do func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	var none T
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case one <- struct{}{}:
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
	done := make(chan result, 1)
	go func() {
		value, err := do(ctx)
		<-one
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return none, context.Cause(ctx)
	}
}
