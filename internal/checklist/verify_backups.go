package checklist

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyBackups is the criterion “Backup systems operational”: the newest one
// is young, whole and proven, and those of the schedule are made.
var verifyBackups = Check{
	Name:    "verify:backups",
	Command: "Backup systems operational",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		all, err := t.Backups(ctx)
		var damaged []report.Finding
		if err != nil {
			damaged = []report.Finding{as(unseen("backups", err, "see backup:list"), "manifests", nil)}
		}
		if len(all) == 0 {
			if err != nil {
				return damaged
			}
			return []report.Finding{as(fault("backups", "there is none", "run backup:create"), "newest", map[string]int64{"looked": 0})}
		}
		newest := all[0]
		return append(damaged, lookAll(ctx, t,
			look{at: "backup " + newest.ID, see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookNewest(ctx, newest)}
			}},
			look{"checksum of " + newest.ID, t.Config.Timeouts.Check + t.Config.Timeouts.Connect, func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookChecksum(ctx, newest)}
			}},
			look{at: "copies of .env", see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookEnvCopies(ctx, all)}
			}},
			look{at: "schedule", see: func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookSchedule(ctx, all)}
			}},
		)...)
	},
}

// lookNewest judges its age, size and proof.
func (t *Target) lookNewest(ctx context.Context, m *Manifest) report.Finding {
	looked, age := "backup "+m.ID, t.Now().Sub(m.Created)
	counts := map[string]int64{"age_s": int64(age.Seconds()), "bytes": m.Database.Size, "rows": m.Database.Total()}
	bad := func(what, do string) report.Finding { return as(fault(looked, what, do), "newest", counts, m.ID) }
	info, err := t.Host.Stat(ctx, t.dumpOf(m))
	switch {
	case err != nil:
		return bad(err.Error(), "run backup:create")
	case info.Size != m.Database.Size:
		return bad(fmt.Sprintf("its dump has %d bytes, its manifest says %d", info.Size, m.Database.Size), "run backup:create")
	case m.Proof.Contents == nil:
		return bad("it was never proven", "run backup:verify")
	case age > t.Config.Thresholds.BackupAge:
		return bad(report.Duration(age)+" old, "+report.Duration(t.Config.Thresholds.BackupAge)+" is the most (thresholds.backup_age)", "run backup:create, and look why the schedule did not")
	}
	return as(found(looked, "%s old, %s, %d tables, %s rows; proven: %s", report.Duration(age), report.Bytes(info.Size), len(m.Database.Rows),
		report.Count(m.Database.Total()), proofText(m.Proof)), "newest", counts, m.ID)
}

// readSpeed is what a disk reads at least, in bytes a second: a dump that would
// take longer than the check may is not begun.
const readSpeed = 100e6

// lookChecksum reads the dump as it is now.
func (t *Target) lookChecksum(ctx context.Context, m *Manifest) report.Finding {
	looked, limit := "checksum of "+m.ID, t.Config.Timeouts.Check
	size := m.Database.Size
	counts := map[string]int64{"bytes": size}
	notRead := as(warn(looked, fmt.Sprintf("not recomputed: %s are too large for the time, %s (timeouts.check)", report.Bytes(size), report.Duration(limit)),
		"backup:verify reads all of it"), "checksum", counts, m.ID)
	if float64(size) > readSpeed*limit.Seconds() {
		return notRead
	}
	t.Observer.Progress("verify:backups", 0, 0, "reading the dump, "+report.Bytes(size))
	reading, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	began := time.Now()
	sum, read, err := postgres.Checksum(reading, t.Host, t.dumpOf(m))
	counts["read_ms"] = time.Since(began).Milliseconds()
	switch {
	case err != nil && reading.Err() != nil:
		return notRead
	case err != nil:
		return as(unseen(looked, err, "see the disk of "+t.backupDir(m.ID)), "checksum", counts, m.ID)
	case sum != m.Database.SHA256:
		return as(fault(looked, fmt.Sprintf("the dump has sha256 %s, its manifest says %s: it has changed since", shortSum(sum), shortSum(m.Database.SHA256)), "run backup:create, and look what damages files there"), "checksum", counts, m.ID)
	}
	return as(found(looked, "sha256 %s, as in the manifest; %s read in %s", shortSum(sum), report.Bytes(read), report.Duration(time.Since(began))), "checksum", counts, m.ID)
}

func shortSum(sum string) string { return sum[:min(12, len(sum))] + "…" }

// envMode is that of a file that holds the service's passwords.
const envMode = 0o600

// lookEnvCopies sees that each backup has the service's configuration, for the
// owner alone.
func (t *Target) lookEnvCopies(ctx context.Context, all []*Manifest) report.Finding {
	const looked, key = "copies of .env", "env"
	var wrong []string
	for _, m := range all {
		file := path.Join(t.backupDir(m.ID), m.Env.File)
		info, err := t.Host.Stat(ctx, file)
		switch {
		case err != nil:
			wrong = append(wrong, m.ID+": "+err.Error())
		case info.Mode.Perm()&^envMode != 0:
			wrong = append(wrong, fmt.Sprintf("%s: mode %04o, and it holds passwords", m.ID, info.Mode.Perm()))
		case info.Size != int64(m.Env.Bytes):
			wrong = append(wrong, fmt.Sprintf("%s: %d bytes, %d were written", m.ID, info.Size, m.Env.Bytes))
		}
	}
	counts := map[string]int64{"looked": int64(len(all)), "violations": int64(len(wrong))}
	if len(wrong) > 0 {
		return as(fault(looked, strings.Join(wrong[:min(3, len(wrong))], "; "), "chmod 600 them, or remove the backups that are damaged"), key, counts, wrong...)
	}
	return as(found(looked, "%d of %d there, nobody else may read them", len(all), len(all)), key, counts)
}

// scheduleAllowance is what a scheduled backup may take: before that it need
// not be there.
const scheduleAllowance = time.Hour

// lookSchedule asks whether there is a backup from after the last time that
// one was due. The suite does not run them: cron does.
func (t *Target) lookSchedule(ctx context.Context, all []*Manifest) report.Finding {
	const looked, key = "schedule", "schedule"
	due := lastDue(t.Config.Backup.Schedule, t.Now().Add(-scheduleAllowance))
	counts := map[string]int64{"times": int64(len(t.Config.Backup.Schedule))}
	if due.IsZero() {
		return as(warn(looked, "not looked at: backup.schedule is empty, so that nothing says when backups run beside those of deployments", "list their times in "+t.Config.File), key, counts)
	}
	newest := all[0]
	counts["overdue_s"] = int64(max(0, due.Sub(newest.Created).Seconds()))
	if !newest.Created.Before(due) {
		return as(found(looked, "one was due %s; since then there is %s (%s)", clock(due), newest.ID, newest.Purpose), key, counts, newest.ID)
	}
	names, err := t.Host.List(ctx, path.Join(t.Config.Root, "backups"))
	if err != nil && !errors.Is(err, context.Canceled) {
		return as(unseen(looked, err, ""), key, counts)
	}
	// Its name tells when it began.
	from := partialPrefix + due.Format("20060102T150405Z")
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, partialPrefix) && n >= from }); i >= 0 {
		return as(warn(looked, fmt.Sprintf("one was due %s and is not complete: %s", clock(due), names[i]), "wait for it; if nothing writes there, see cron's log"), key, counts, names[i])
	}
	return as(fault(looked, fmt.Sprintf("one was due %s, and the newest is of %s: the schedule did not run, or failed", clock(due), clock(newest.Created)), "see cron's log; run backup:create"), key, counts, newest.ID)
}

// lastDue is the last of these times of day that is not after now; zero where
// there are none.
func lastDue(times []config.TimeOfDay, now time.Time) (last time.Time) {
	midnight := now.UTC().Truncate(24 * time.Hour)
	for _, day := range []time.Time{midnight.AddDate(0, 0, -1), midnight} {
		for _, at := range times {
			if due := day.Add(time.Duration(at)); !due.After(now) && due.After(last) {
				last = due
			}
		}
	}
	return last
}
