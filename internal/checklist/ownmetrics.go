package checklist

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
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
	for _, log := range logs {
		e := ending{log.Header().Kind, toldOutcome(log, running)}
		if e.outcome == "" || seen[e] {
			continue
		}
		seen[e] = true
		last := log.Last().Time
		told.Set(metricLastOperation, unix(last), e.kind, e.outcome)
		told.Set(metricLastDuration, last.Sub(log.Began()).Seconds(), e.kind, e.outcome)
	}
}

// tellRollbacks counts those that succeeded, here and among more.
func tellRollbacks(told *monitoring.Told, logs []journal.Log, more int) {
	for _, log := range logs {
		if isRollback(log.Header().Kind) && log.Outcome() == journal.Succeeded {
			more++
		}
	}
	told.Set(metricRollbacks, float64(more))
}

// tellHeard tells of an operation that has begun and not ended, and when it
// was last heard of; of none with the zero time.
func tellHeard(told *monitoring.Told, at time.Time) {
	told.Set(metricInterrupted, 0)
	told.Set(metricHeard, 0)
	if !at.IsZero() {
		told.Set(metricInterrupted, 1)
		told.Set(metricHeard, unix(at))
	}
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

// tellBackup tells of the newest backup that counts.
func tellBackup(told *monitoring.Told, all []*Manifest) {
	if i := slices.IndexFunc(all, func(m *Manifest) bool { return m.Proof.Contents != nil }); i >= 0 {
		told.Set(metricBackupTime, unix(all[i].Created))
		told.Set(metricBackupBytes, float64(all[i].Database.Size))
	}
}

// tellPaused tells since when updates are paused, where somebody has to resume
// them: a pause that ends by itself is none, and nobody would tell of its end.
func tellPaused(told *monitoring.Told, p *cache.Pause) {
	if p == nil || p.Until != nil {
		told.Set(metricPaused, 0)
		return
	}
	told.Set(metricPaused, unix(p.Since))
}

// unix is a time as Prometheus has it.
func unix(at time.Time) float64 { return float64(at.UnixMilli()) / 1000 }
