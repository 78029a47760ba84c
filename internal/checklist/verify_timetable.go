package checklist

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// judgeSchedule judges beat and the timetable that it works at.
func (t *Target) judgeSchedule(ctx context.Context, sc scheduled, s Subject) []report.Finding {
	findings := t.judgeBeat(ctx, sc, s)
	if sc.tableErr != nil {
		return append(findings, as(unseen("timetable", sc.tableErr, "the release's Python has to import "+t.Config.Celery.App), "timetable", nil))
	}
	return append(findings, t.judgeTimetable(sc))
}

// judgeEntries judges each periodic task.
func (t *Target) judgeEntries(ctx context.Context, sc scheduled, s Subject) []report.Finding {
	if sc.tableErr != nil {
		return []report.Finding{as(unseen("periodic tasks", sc.tableErr, "see the timetable above"), "entries", nil)}
	}
	var findings []report.Finding
	backlog := t.backlog(ctx, s.Live.ID)
	for _, e := range sc.table.Entries {
		findings = append(findings, t.judgeEntry(sc, e, backlog))
	}
	for _, name := range slices.Sorted(maps.Keys(t.Config.Celery.Evidence)) {
		looked, do := "celery.evidence."+name, "see celery.evidence in "+t.Config.File
		if !slices.ContainsFunc(sc.table.Entries, func(e beat.Entry) bool { return e.Name == name }) {
			findings = append(findings, as(warn(looked, "the release has no such entry", do), looked, nil))
		} else if err := sc.runs.queryErr[name]; err != nil {
			findings = append(findings, as(warn(looked, "its query failed: "+err.Error(), do), looked, nil))
		}
	}
	if len(findings) == 0 {
		return []report.Finding{as(found("periodic tasks", "the release has none"), "entries", nil)}
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
func (t *Target) judgeTimetable(sc scheduled) report.Finding {
	const looked, key = "timetable", "timetable"
	table, started := sc.table, clock(sc.process.Started)
	wrong := timetableFaults(table)
	counts := map[string]int64{"looked": int64(len(table.Entries)), "violations": int64(len(wrong))}
	as := func(f report.Finding, samples ...string) report.Finding { return as(f, key, counts, samples...) }
	entries := fmt.Sprintf("%d entries, of which %s", len(table.Entries), t.states(sc, counts))
	switch {
	case len(table.Entries) == 0 && len(wrong) == 0:
		return as(warn(looked, "the release has no periodic task", "see beat_schedule of "+t.Config.Celery.App))
	case sc.beats.ours.PID == 0:
		return as(found(looked, "%s; no beat runs to hold them against", entries))
	case len(wrong) > 0:
		return as(fault(looked, fmt.Sprintf("beat does not work at the release's: %s", join(wrong)), "services:stop and services:start: beat takes it up when it starts"), wrong...)
	case table.Hangs(t.Config.Thresholds.TaskDelay):
		return as(fault(looked, fmt.Sprintf("beat has not written %s since %s, and never sleeps for longer than %s: it hangs", table.File, clock(table.Written), report.Duration(table.MostSleep)), "see beat's log; services:stop and services:start"))
	case table.File == "":
		return as(found(looked, "%s; beat keeps its own with %s, where this program cannot look", entries, table.Scheduler))
	case table.Unread != "":
		return as(warn(looked, fmt.Sprintf("what beat works at was not looked at: %s: %s", table.File, table.Unread), "see beat's log; it should have written that file"))
	case table.InMemory:
		return as(found(looked, "%s; beat took them from the release when it started, at %s, and its dbm writes what it has sent when it ends, not before", entries, started))
	case !table.Live:
		return as(fault(looked, fmt.Sprintf("beat runs since %s and has not written %s: it does not work", started, table.File), "see beat's log"))
	}
	return as(found(looked, "%s; beat has the same, by what it wrote at %s", entries, clock(table.Written)))
}

// states counts the entries by how they stand.
func (t *Target) states(sc scheduled, counts map[string]int64) string {
	var texts []string
	for _, state := range []beat.State{beat.Ran, beat.NotDueYet, beat.Waiting, beat.PassedOver, beat.Late, beat.NotSeen} {
		n := 0
		for _, e := range sc.table.Entries {
			if v, _, _, _ := t.verdict(sc, e); v.State == state {
				n++
			}
		}
		counts[strings.ReplaceAll(string(state), " ", "_")] = int64(n)
		if n > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", n, state))
		}
	}
	return join(texts)
}

// verdict says how an entry stands, by which evidence, and how its last run failed.
func (t *Target) verdict(sc scheduled, e beat.Entry) (v beat.Verdict, ev beat.Evidence, by, failed string) {
	ev, by, failed = sc.runs.of(e, sc.table.Entries)
	ev.Started, ev.Tolerance = sc.process.Started, t.Config.Thresholds.TaskDelay
	if v = sc.table.Judge(e, ev); v.Sent {
		by = "as beat sent it"
	}
	return v, ev, by, failed
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

// clock is a time for people.
func clock(at time.Time) string { return at.UTC().Format("2006-01-02 15:04:05") + " UTC" }
