package checklist

import (
	"fmt"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// judgeEntry says whether a periodic task has run when it was last due.
func (t *Target) judgeEntry(sc scheduled, e beat.Entry, backlog int) report.Finding {
	looked := fmt.Sprintf("entry %s (%s)", e.Name, e.Schedule)
	v, ev, by, failed := t.verdict(sc, e)
	last := "there is no sign that it ever ran"
	if !v.At.IsZero() {
		last = fmt.Sprintf("it ran %s (%s)", clock(v.At), by)
	}
	counts := map[string]int64{"sent": int64(e.Runs)}
	if v.State == beat.Late {
		counts["late_ms"] = sc.table.Now.Sub(v.Due).Milliseconds()
	}
	as := func(f report.Finding) report.Finding { return as(f, e.Name, counts, e.Task) }
	switch v.State {
	case beat.Late:
		what := fmt.Sprintf("was due %s and has not run since; %s", clock(v.Due), last)
		if backlog > 0 && !(e.InFile && sc.table.Live) { // it may be among them: beat's file does not tell
			return as(warn(looked, fmt.Sprintf("%s; %d tasks wait in the queue", what, backlog), "see deps:celery: workers come to it, or do not"))
		}
		return as(fault(looked, what, "see beat's log and deps:celery; thresholds.task_delay is "+report.Duration(ev.Tolerance)))
	case beat.NotSeen:
		if e.Unknown != "" {
			return as(unseen(looked, fmt.Errorf("when it is due cannot be known: %s", e.Unknown), "its kind of schedule is not Celery's own"))
		}
		return as(unseen(looked, fmt.Errorf("was due %s, and nothing tells whether it ran: %s", clock(v.Due), sc.runs.whyNot()), "celery.evidence in "+t.Config.File+" names a query for it"))
	case beat.Waiting:
		return as(found(looked, "was due %s, and has %s, or until beat writes what it sent; %s", clock(v.Due), report.Duration(ev.Tolerance), last))
	case beat.PassedOver:
		return as(found(looked, "was due while beat stood still, and is passed over (beat_cron_starting_deadline); due next %s; %s", clock(v.Due), last))
	case beat.NotDueYet:
		return as(found(looked, "not due yet since it is known: first due %s", clock(v.Due)))
	}
	switch {
	case failed != "":
		return as(warn(looked, fmt.Sprintf("%s and ended as %s; due next %s", last, failed, clock(v.Due)), "see the workers' log"))
	case sc.table.Unexecuted(e, ev, sc.runs.newest):
		return as(warn(looked, fmt.Sprintf("beat sent it %s, and no worker has begun it since", clock(e.Last)), "see deps:celery and the workers' log"))
	}
	return as(found(looked, "%s; due next %s", last, clock(v.Due)))
}
