package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// purgeGrace is how long a worker may go on with its task when everything
// that the task writes to is about to be deleted.
const purgeGrace = 10 * time.Second

// Down ends every process of the sandbox in good order: the service first,
// whose workers may finish their tasks, then the servers. With purge it
// deletes the sandbox's files as well, and the workers get ten seconds.
//
// It returns an error if any process is left. A sandbox that does not exist
// is fine.
func (s *Sandbox) Down(ctx context.Context, purge bool) error {
	if foreign, err := s.foreignContent(); err == nil && foreign != "" {
		return fmt.Errorf("stopping the sandbox: %s: it holds no sandbox, but %s: nothing was done", s.dir, foreign)
	}
	if _, err := os.Stat(s.dir); err == nil {
		unlock, err := s.lock(ctx)
		if err != nil {
			return err
		}
		defer unlock()
	}
	defer s.out.watch()()
	grace := drainLimit
	if purge {
		grace = purgeGrace
	}
	if err := s.stopAll(ctx, grace); err != nil {
		return fmt.Errorf("stopping the sandbox: %s: %w", s.dir, err)
	}
	if !purge {
		return nil
	}
	if err := s.remove(); err != nil {
		return fmt.Errorf("deleting the sandbox: %w", err)
	}
	return nil
}

// stopAll ends the service, then the servers side by side, then whatever is
// left.
func (s *Sandbox) stopAll(ctx context.Context, grace time.Duration) error {
	if err := s.stopService(ctx, processes(s.dir), grace); err != nil {
		return err
	}
	all := processes(s.dir)
	var wg sync.WaitGroup
	for _, p := range s.parts() {
		if set := ofPart(all, p.name); len(set) > 0 {
			wg.Go(func() { s.stopPart(ctx, p, set) })
		}
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	return s.killLeft(ctx)
}

// stopService ends supervisord, which ends the service's programs itself, and
// programs whose supervisord was killed.
func (s *Sandbox) stopService(ctx context.Context, all []process, grace time.Duration) error {
	set := filter(all, func(p process) bool {
		return p.part == partSupervisor || slices.Contains(programs, p.part)
	})
	if len(set) == 0 {
		return nil
	}
	done, result := s.out.begin("service"), ""
	defer func() { done(result) }()
	if err := end(ctx, set, syscall.SIGTERM, grace); err != nil {
		return err
	}
	result = "stopped"
	return nil
}

// stopPart ends one server. RabbitMQ's own script answers a signal by calling
// its command line tool, which takes seconds: the signal goes to Erlang.
func (s *Sandbox) stopPart(ctx context.Context, p part, set []process) {
	done, result := s.out.begin(p.name), ""
	defer func() { done(result) }()
	if p.name == partRabbitMQ {
		for _, q := range set {
			if q.comm == "beam.smp" {
				q.signal(p.stop)
			}
		}
		if gone(ctx, set, p.grace) {
			result = "stopped"
			return
		}
	}
	if end(ctx, set, p.stop, p.grace) == nil {
		result = "stopped"
	}
}

// killLeft kills what is left, looking again as long as it finds something:
// a process may have been starting another one.
func (s *Sandbox) killLeft(ctx context.Context) error {
	for range 5 {
		left := processes(s.dir)
		if len(left) == 0 {
			return nil
		}
		if err := end(ctx, left, syscall.SIGKILL, time.Second); err != nil {
			return err
		}
	}
	var names []string
	for _, p := range processes(s.dir) {
		names = append(names, fmt.Sprintf("%d (%s)", p.PID, p.comm))
	}
	if len(names) == 0 {
		return nil
	}
	return fmt.Errorf("processes %s are still there after SIGKILL", strings.Join(names, ", "))
}

// remove deletes all files. The state goes last: as long as it is there, what
// was left by an interrupted purge is known to be a sandbox.
func (s *Sandbox) remove() error {
	if err := os.RemoveAll(s.shortFolder()); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == "state.json" || e.Name() == "lock" {
			continue
		}
		if err := os.RemoveAll(s.path(e.Name())); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.dir)
}
