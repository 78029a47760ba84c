package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// beats are the schedulers of the service that run on the host.
type beats struct {
	ours     beat.Process   // of the program of supervisor; zero: none
	known    bool           // its command line is that of a beat
	frozen   string         // why it does not run although it exists
	strays   []beat.Process // of this service, and not supervisor's
	perhaps  []beat.Process // of the same application, where cannot be seen
	err      error          // supervisor or the processes could not be looked at
	programs int            // processes of supervisor's program
}

// findBeats looks for the scheduler that supervisor runs, and for others.
func (t *Target) findBeats(ctx context.Context) (supervisor.ProcessInfo, beats) {
	procs, err := t.processes(ctx, t.Config.Services.Beat)
	if err != nil {
		return supervisor.ProcessInfo{}, beats{err: err}
	}
	p := procs[0]
	b := beats{programs: len(procs)}
	all, err := beat.Processes(ctx, t.Host)
	if err != nil {
		b.err = err
		return p, b
	}
	roots := []string{t.Config.Root}
	if p.PID != 0 {
		life, err := beat.LifeOf(ctx, t.Host, p.PID)
		cwd, dirErr := t.Host.Readlink(ctx, path.Join("/proc", strconv.Itoa(p.PID), "cwd"))
		if err = errors.Join(err, dirErr); err != nil && !errors.Is(err, fs.ErrNotExist) { // it died between the two looks: its program says so
			b.err = err
			return p, b
		}
		b.frozen, b.ours = life.Frozen, beat.Process{PID: p.PID, Dir: cwd}
		if physical, _, in := strings.Cut(cwd, "/releases/"); in {
			roots = append(roots, physical)
		}
	}
	for _, one := range all {
		switch {
		case p.PID != 0 && t.descends(ctx, one.PID, p.PID):
			b.ours, b.known = one, true
			if life, err := beat.LifeOf(ctx, t.Host, one.PID); err == nil {
				b.frozen = cmp.Or(b.frozen, life.Frozen)
			}
		case within(one, roots):
			b.strays = append(b.strays, one)
		case one.Dir == "" && one.App == t.Config.Celery.App:
			b.perhaps = append(b.perhaps, one)
		}
	}
	return p, b
}

// descends reports whether a process is another one, or was started by it.
func (t *Target) descends(ctx context.Context, pid, from int) bool {
	for range 8 { // a wrapper or two
		if pid == from {
			return true
		}
		life, err := beat.LifeOf(ctx, t.Host, pid)
		if err != nil || life.Parent <= 1 {
			return false
		}
		pid = life.Parent
	}
	return false
}

// within reports whether a beat is of the service that lies in one of roots:
// it runs there, or is a program or has a file from there.
func within(p beat.Process, roots []string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		inRoot := func(name string) bool { return strings.HasPrefix(name+"/", root+"/") }
		return inRoot(p.Dir) || slices.ContainsFunc(p.Argv, inRoot)
	})
}

// judgeBeat says whether it lives, alone, on the live release.
func (t *Target) judgeBeat(ctx context.Context, sc scheduled, s Subject) []report.Finding {
	group, b := t.Config.Services.Beat, sc.beats
	counts := map[string]int64{"looked": int64(1 + len(b.strays)), "violations": int64(len(b.strays)), "pid": int64(b.ours.PID)}
	if b.err != nil {
		return []report.Finding{as(unseen(group, b.err, "see services:status"), group, nil)}
	}
	var findings []report.Finding
	add := func(f report.Finding, samples ...string) {
		findings = append(findings, as(f, group, counts, samples...))
	}
	if err := t.onRelease(ctx, group, s.Live.ID); err != nil {
		add(fault(group, err.Error(), "services:start"))
	}
	if b.programs > 1 {
		add(fault(group, fmt.Sprintf("supervisor runs %d of it: every periodic task is sent as often", b.programs), "set numprocs to 1 in supervisor's configuration"))
	}
	if b.frozen != "" {
		add(fault(group, fmt.Sprintf("process %d does not run: %s", b.ours.PID, b.frozen), "services:stop and services:start, or kill -CONT it"), strconv.Itoa(b.ours.PID))
	}
	for _, stray := range b.strays {
		add(fault(group, fmt.Sprintf("process %d is a beat of this service too, in %s: every periodic task is sent once more", stray.PID, cmp.Or(stray.Dir, "a folder that cannot be seen")),
			"end it: that of supervisor is enough"), strconv.Itoa(stray.PID))
	}
	for _, one := range b.perhaps {
		add(warn(group, fmt.Sprintf("process %d is a beat of %s too; whether of this service cannot be seen: it is another user's", one.PID, one.App), "look at it as that user or as root"), strconv.Itoa(one.PID))
	}
	if len(findings) == 0 && !b.known {
		add(warn(group, fmt.Sprintf("process %d runs release %s, but is not started as celery beat: a second one would not be seen", b.ours.PID, s.Live.ID), "start it as python -m celery -A APP beat"))
	}
	if len(findings) == 0 {
		add(found(group, "process %d runs release %s, alone, since %s", b.ours.PID, s.Live.ID, clock(sc.process.Started)))
	}
	return findings
}
