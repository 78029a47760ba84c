package checklist

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// judgeSchedule judges beat, the timetable that it works at, and each entry.
func (t *Target) judgeSchedule(ctx context.Context, sc scheduled, s Subject) []report.Finding {
	findings := t.judgeBeat(ctx, sc, s)
	if sc.tableErr != nil {
		return append(findings, as(unseen("timetable", sc.tableErr, "the release's Python has to import "+t.Config.Celery.App), "timetable", nil))
	}
	findings = append(findings, t.judgeTimetable(sc)...)
	backlog := t.backlog(ctx, s.Live.ID)
	for _, e := range sc.table.Entries {
		findings = append(findings, t.judgeEntry(sc, e, backlog))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Config.Celery.Evidence)) {
		if !slices.ContainsFunc(sc.table.Entries, func(e beat.Entry) bool { return e.Name == name }) {
			findings = append(findings, as(warn("entry "+name, "the release has no such entry", "see celery.evidence in "+t.Config.File), name, nil))
		}
	}
	return findings
}

// backlog is how many tasks wait in the queue; 0 also where that is not known.
func (t *Target) backlog(ctx context.Context, release string) int {
	control, err := t.celery(release)
	if err != nil {
		return 0
	}
	defer control.Close()
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Connect)
	defer cancel()
	depth, err := control.QueueDepth(ctx, t.Config.Celery.Queue)
	if err != nil {
		return 0
	}
	return depth.Messages
}

// judgeTimetable holds the entries that beat works at against the release's.
func (t *Target) judgeTimetable(sc scheduled) []report.Finding {
	const looked, key = "timetable", "timetable"
	table, started := sc.table, clock(sc.process.Started)
	wrong := timetableFaults(table)
	counts := map[string]int64{"looked": int64(len(table.Entries)), "violations": int64(len(wrong))}
	as := func(f report.Finding, samples ...string) []report.Finding {
		return []report.Finding{as(f, key, counts, samples...)}
	}
	switch {
	case len(table.Entries) == 0 && len(wrong) == 0:
		return as(warn(looked, "the release has no periodic task", "see beat_schedule of "+t.Config.Celery.App))
	case sc.beats.ours.PID == 0:
		return as(found(looked, "%d entries in the release; no beat to hold them against", len(table.Entries)))
	case len(wrong) > 0:
		return as(fault(looked, fmt.Sprintf("beat does not work at the release's: %s", join(wrong)), "services:stop and services:start: beat takes it up when it starts"), wrong...)
	case table.Hangs(t.Config.Thresholds.TaskDelay):
		return as(fault(looked, fmt.Sprintf("beat has not written %s since %s, and never sleeps for longer than %s: it hangs", table.File, clock(table.Written), report.Duration(table.MostSleep)), "see beat's log; services:stop and services:start"))
	case table.File == "":
		return as(found(looked, "%d entries in the release; beat keeps its own with %s, where this program cannot look", len(table.Entries), table.Scheduler))
	case table.Unread != "":
		return as(warn(looked, fmt.Sprintf("what beat works at was not looked at: %s: %s", table.File, table.Unread), "see beat's log; it should have written that file"))
	case table.InMemory:
		return as(found(looked, "%d entries, that beat took from the release when it started, at %s; its dbm writes what it has sent when it ends, not before", len(table.Entries), started))
	case !table.Live:
		return as(fault(looked, fmt.Sprintf("beat runs since %s and has not written %s: it does not work", started, table.File), "see beat's log"))
	}
	return as(found(looked, "%d entries, the same in the release and in what beat wrote at %s", len(table.Entries), clock(table.Written)))
}

// timetableFaults are the entries that beat lacks, has too many or has otherwise.
func timetableFaults(table beat.Timetable) (wrong []string) {
	if !table.Live {
		return nil // of a beat before, that may have had another release's
	}
	for _, e := range table.Entries {
		switch {
		case !e.InFile:
			wrong = append(wrong, e.Name+" is missing")
		case !e.Same:
			wrong = append(wrong, fmt.Sprintf("%s is %s, not %s, %s", e.Name, cmp.Or(e.Stored, "different"), e.Task, e.Schedule))
		}
	}
	for _, name := range table.Strange {
		wrong = append(wrong, name+" is not in the release")
	}
	return wrong
}

// judgeEntry says whether a periodic task has run when it was last due.
func (t *Target) judgeEntry(sc scheduled, e beat.Entry, backlog int) report.Finding {
	looked := fmt.Sprintf("entry %s (%s)", e.Name, e.Schedule)
	ev, by, failed := sc.runs.of(e, sc.table.Entries)
	ev.Started, ev.Tolerance = sc.process.Started, t.Config.Thresholds.TaskDelay
	v := sc.table.Judge(e, ev)
	last := "there is no sign that it ever ran"
	if !v.At.IsZero() {
		if v.Sent {
			by = "as beat sent it"
		}
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
	case sc.runs.queryErr[e.Name] != nil:
		return as(warn(looked, fmt.Sprintf("%s; its query failed: %v", last, sc.runs.queryErr[e.Name]), "see celery.evidence in "+t.Config.File))
	}
	return as(found(looked, "%s; due next %s", last, clock(v.Due)))
}

// clock is a time for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }
