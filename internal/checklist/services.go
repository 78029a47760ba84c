package checklist

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
)

// processes lists what supervisor holds of one group; an unknown group is an
// error that names the key of the configuration.
func (t *Target) processes(ctx context.Context, group string) ([]supervisor.ProcessInfo, error) {
	all, err := t.supervisor().Processes(ctx)
	if err != nil {
		return nil, err
	}
	var known []string
	var found []supervisor.ProcessInfo
	for _, p := range all {
		if p.Group == group {
			found = append(found, p)
		}
		if !slices.Contains(known, p.Group) {
			known = append(known, p.Group)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("supervisor at %s has no program %q: it has %s; see services in %s",
			t.Config.Services.Socket, group, strings.Join(known, ", "), t.Config.File)
	}
	return found, nil
}

var releaseInPath = regexp.MustCompile(`/releases/(\d{8}T\d{6}Z-[0-9a-f]{8})(?:/|$)`)

// releaseOf is the release in whose folder a process runs: what it really
// executes, whatever `current` says by now. Empty when it runs elsewhere.
func (t *Target) releaseOf(ctx context.Context, pid int) (string, error) {
	cwd, err := t.Host.Readlink(ctx, path.Join("/proc", strconv.Itoa(pid), "cwd"))
	if err != nil {
		return "", fmt.Errorf("looking which release process %d runs: %w", pid, err)
	}
	if m := releaseInPath.FindStringSubmatch(cwd); m != nil {
		return m[1], nil
	}
	return "", nil
}

// onRelease fails unless all processes of a group run and belong to release id.
func (t *Target) onRelease(ctx context.Context, group, id string) error {
	procs, err := t.processes(ctx, group)
	if err != nil {
		return err
	}
	for _, p := range procs {
		if !p.Running() {
			return t.notRunning(ctx, p)
		}
		runs, err := t.releaseOf(ctx, p.PID)
		if errors.Is(err, fs.ErrNotExist) {
			return t.notRunning(ctx, p) // it died between the two looks
		}
		if err != nil {
			return err
		}
		if runs != id {
			return fmt.Errorf("%s runs release %q, not %s", p.FullName(), runs, id)
		}
	}
	return nil
}

// notRunning says why a process does not run, with the end of its log.
func (t *Target) notRunning(ctx context.Context, p supervisor.ProcessInfo) error {
	why := p.SpawnError
	if why == "" {
		why = p.Description
	}
	tail, err := t.supervisor().LogTail(ctx, p.FullName(), 1500)
	if err != nil {
		tail = err.Error()
	}
	return fmt.Errorf("%s is %s (%s); the end of its log:\n%s", p.FullName(), p.State, why, strings.TrimSpace(tail))
}

// startServices brings workers, scheduler and API up on release id, which
// `current` must name, and waits until they really serve: supervisor calls a
// worker RUNNING seconds before it takes work. The cache is cleared once more,
// since the API that has just gone may have filled it with what it knew.
func (t *Target) startServices(ctx context.Context, r *step.Run, id string) error {
	if err := t.noteWriter(ctx, r, id); err != nil {
		return err
	}
	var wg sync.WaitGroup
	var apiErr, workerErr error
	wg.Go(func() { apiErr = t.rollAPI(ctx, r, id) })
	wg.Go(func() { workerErr = t.startWorkers(ctx, r, id) })
	wg.Wait()
	if err := errors.Join(apiErr, workerErr); err != nil {
		return err
	}
	_, err := t.clearCache(ctx, r)
	t.maintenance.over(ctx)
	return err
}

// startDeadline bounds a step that starts services, which may first have to
// stop those of another release.
func (t *Target) startDeadline() time.Duration {
	return 2*t.Config.Celery.Drain + 5*t.Config.Celery.Start + 2*time.Minute
}

// replaceStrangers stops the processes of a group that run another release.
func (t *Target) replaceStrangers(ctx context.Context, group, id string) error {
	procs, err := t.processes(ctx, group)
	if err != nil {
		return err
	}
	for _, p := range procs {
		if p.Running() {
			if runs, err := t.releaseOf(ctx, p.PID); err == nil && runs == id {
				continue
			}
		}
		if err := t.supervisor().StopProcess(ctx, p.FullName(), true); err != nil {
			return err
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
