package checklist

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
)

// The suite's own metrics, as internal/monitoring declares them.
const (
	metricLastOperation = "etf_deploy_last_operation_timestamp_seconds"
	metricLastDuration  = "etf_deploy_last_operation_duration_seconds"
	metricStep          = "etf_deploy_step_duration_seconds"
	metricStopped       = "etf_deploy_stopped_seconds"
	metricDrained       = "etf_deploy_drained_seconds"
	metricRollbacks     = "etf_deploy_rollbacks"
	metricRowsRestored  = "etf_deploy_rows_restored"
	metricBackupTime    = "etf_deploy_backup_timestamp_seconds"
	metricBackupBytes   = "etf_deploy_backup_bytes"
	metricInterrupted   = "etf_deploy_interrupted"
	metricHeard         = "etf_deploy_heard_timestamp_seconds"
	metricPaused        = "etf_deploy_updates_paused_timestamp_seconds"
)

// recentOperations is how many of each kind are looked at for how the last one
// ended in each way: journals are never removed, and there may be a thousand.
const recentOperations = 20

// ownMetrics is what there is to tell of the target now. The journals are the
// truth: what this process remembers ends with it. running is the operation
// that this process is at, which is not interrupted. The error says what could
// not be looked at; the rest is told all the same.
func (t *Target) ownMetrics(ctx context.Context, running string) (*monitoring.Told, error) {
	told := monitoring.NewTold()
	seen := map[string]int{}
	logs, logsErr := journal.Chosen(ctx, t.Host, t.journalDir(), func(kind string) bool {
		seen[kind]++
		return seen[kind] <= recentOperations || isRollback(kind)
	})
	tellOperations(told, logs, running)
	tellSteps(told, logs, running)
	stoppedErr := tellStopped(told, logs, t.Now())
	return told, errors.Join(logsErr, stoppedErr, t.tellOpen(ctx, told), t.tellBackup(ctx, told), t.tellPaused(ctx, told))
}

// isRollback reports whether a kind of operation, as names of journals or
// headers have it, is a rollback.
func isRollback(kind string) bool { return strings.HasPrefix(kind, "rollback") }

// Outcomes as the catalog has them.
const (
	toldSucceeded   = "succeeded"
	toldFailed      = "failed"
	toldUndone      = "undone"
	toldInterrupted = "interrupted"
)

// toldOutcome is how an operation ended; empty while it goes on, and for one
// that found nothing to do.
func toldOutcome(log journal.Log, running string) string {
	switch log.Outcome() {
	case journal.Succeeded:
		return toldSucceeded
	case journal.TakenBack:
		return toldUndone
	case journal.Stuck, journal.Left:
		return toldFailed
	case journal.Unchanged:
		if steps := log.Steps(); len(steps) > 0 && steps[len(steps)-1].Type == journal.Skipped {
			return ""
		}
		return toldFailed
	}
	if log.Parked() || log.Header().ID == running {
		return ""
	}
	return toldInterrupted
}

// tellOperations tells when the last operation of each kind ended in each way.
func tellOperations(told *monitoring.Told, logs []journal.Log, running string) {
	type ending struct{ kind, outcome string }
	seen := map[ending]bool{}
	rollbacks := 0
	for _, log := range logs {
		e := ending{log.Header().Kind, toldOutcome(log, running)}
		if isRollback(e.kind) && e.outcome == toldSucceeded {
			rollbacks++
		}
		if e.outcome == "" || seen[e] {
			continue
		}
		seen[e] = true
		last := log.Last().Time
		told.Set(metricLastOperation, unix(last), e.kind, e.outcome)
		told.Set(metricLastDuration, last.Sub(log.Began()).Seconds(), e.kind, e.outcome)
	}
	told.Set(metricRollbacks, float64(rollbacks))
}

// tellSteps tells how each step went in the last operation that had it.
func tellSteps(told *monitoring.Told, logs []journal.Log, running string) {
	seen := map[string]bool{}
	for _, log := range logs {
		for _, s := range log.Steps() {
			outcome, took := toldSucceeded, s.Duration
			switch s.Type {
			case journal.Skipped:
				continue
			case journal.Failed, journal.UndoFailed:
				outcome = toldFailed
			case journal.Undone:
				outcome = toldUndone
			case journal.Start, journal.UndoStart:
				if log.Header().ID == running {
					continue // it is at it
				}
				outcome, took = toldInterrupted, log.Last().Time.Sub(s.Began)
			}
			if !seen[s.Name] {
				told.Set(metricStep, took.Seconds(), s.Name, outcome)
			}
			seen[s.Name] = true
		}
	}
}

// tellStopped tells of the last operations that stopped something, waited for
// tasks and restored rows; nought where none has.
func tellStopped(told *monitoring.Told, logs []journal.Log, now time.Time) error {
	var errs []error
	newest := func(name string, of func(journal.Log) (value float64, ok bool, err error), labels ...string) {
		told.Set(name, 0, labels...)
		for _, log := range logs {
			value, ok, err := of(log)
			errs = append(errs, err)
			if ok {
				told.Set(name, value, labels...)
				return
			}
		}
	}
	stopped := func(from, to string) func(journal.Log) (float64, bool, error) {
		return func(log journal.Log) (float64, bool, error) {
			until := now
			if log.Outcome() != "" {
				until = log.Last().Time
			}
			d, ok, err := stoppedBetween(log, from, to, until)
			return d.Seconds(), ok, err
		}
	}
	newest(metricStopped, stopped(factWorkersStopped, factWorkersStarted), "workers")
	newest(metricStopped, stopped(factAPIStopped, factAPIStarted), "api")
	newest(metricDrained, func(log journal.Log) (float64, bool, error) {
		var d time.Duration
		ok, err := log.Fact(factDrained, &d)
		return d.Seconds(), ok, err
	})
	newest(metricRowsRestored, func(log journal.Log) (float64, bool, error) {
		var applied rowdiff.Applied
		ok, err := log.Fact(factRestored, &applied)
		return float64(applied.Restored + applied.BroughtBack), ok, err
	})
	return errors.Join(errs...)
}

// tellOpen tells of an operation that has begun and not ended, or could not be
// taken back. Whoever judges whether it was interrupted reckons from when it
// was last heard of: one that is parked may be silent until its time is up.
// A gradual rollback that was left has its updates paused, which is told too.
func (t *Target) tellOpen(ctx context.Context, told *monitoring.Told) error {
	open, err := t.unfinished(ctx)
	if err != nil {
		return err
	}
	open = slices.DeleteFunc(open, func(log journal.Log) bool { return log.Outcome() == journal.Left })
	told.Set(metricInterrupted, 0)
	told.Set(metricHeard, 0)
	if len(open) > 0 {
		told.Set(metricInterrupted, 1)
		heard := open[0].Last().Time
		if open[0].Parked() {
			heard = heard.Add(t.Config.Operation.Parked)
		}
		told.Set(metricHeard, unix(heard))
	}
	return nil
}

// tellBackup tells of the newest backup that counts.
func (t *Target) tellBackup(ctx context.Context, told *monitoring.Told) error {
	all, err := t.Backups(ctx)
	if i := slices.IndexFunc(all, func(m *Manifest) bool { return m.Proof.Contents != nil }); i >= 0 {
		told.Set(metricBackupTime, unix(all[i].Created))
		told.Set(metricBackupBytes, float64(all[i].Database.Size))
	}
	return err
}

// tellPaused tells since when updates are paused. A flag that was set by hand
// does not say; it is reckoned from the look that finds it.
func (t *Target) tellPaused(ctx context.Context, told *monitoring.Told) error {
	c, err := t.cache()
	if err != nil {
		return err
	}
	defer c.Close()
	p, err := c.Paused(ctx, t.Config.Cache.PauseKey)
	switch {
	case err != nil:
		return err
	case p == nil:
		told.Set(metricPaused, 0)
	case p.Since.IsZero():
		told.Set(metricPaused, unix(t.Now()))
	default:
		told.Set(metricPaused, unix(p.Since))
	}
	return nil
}

// unix is a time as Prometheus has it.
func unix(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
