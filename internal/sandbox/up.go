package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
)

// Up brings the sandbox up from whatever state it is in: nothing there,
// half-made, killed, or running already. Packages that are missing are
// installed first; it gives a *MissingPackagesError where they cannot be.
//
// The database is filled once. A service that was deployed is started again
// when supervisord had to be.
func (s *Sandbox) Up(ctx context.Context) error {
	start := time.Now()
	if err := InstallPackages(ctx, s.out, StackPackages...); err != nil {
		return err
	}
	// Before anything is touched: it may be another user's, or broken.
	if _, err := loadState(s.dir); err != nil && !errors.Is(err, errNoSandbox) {
		return err
	}
	if err := s.makeFolder(); err != nil {
		return err
	}
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	defer s.out.watch()()
	keepToOurselves()
	const tries = 3 // somebody may take a port between our look and the start
	for i := 1; ; i++ {
		err := s.bringUp(ctx)
		var taken *portTakenError
		if err == nil {
			break
		}
		if !errors.As(err, &taken) || i == tries {
			return fmt.Errorf("bringing up the sandbox: %s: %w", s.dir, err)
		}
		s.out.note("port %d was taken meanwhile: trying another", taken.port)
	}
	s.out.note("%-14s %-10s %6.1fs  %s", "sandbox", "up", time.Since(start).Seconds(), s.EnvFile())
	return nil
}

// makeFolder makes the sandbox's folder. It refuses one that holds something
// else: everything in it goes with a purge.
func (s *Sandbox) makeFolder() error {
	if foreign, err := s.foreignContent(); err != nil || foreign != "" {
		if err == nil {
			err = fmt.Errorf("it holds no sandbox, but %s: set ETF_SANDBOX to a folder that is empty or does not exist", foreign)
		}
		return fmt.Errorf("making the sandbox's folder: %s: %w", s.dir, err)
	}
	mode := os.FileMode(0o700)
	if os.Geteuid() == 0 {
		// PostgreSQL runs as another user and has to pass through; what lies
		// inside is closed.
		mode = 0o711
	}
	if err := os.MkdirAll(s.dir, mode); err != nil {
		return fmt.Errorf("making the sandbox's folder: %w", err)
	}
	return os.Chmod(s.dir, mode)
}

// contents are the names that a sandbox consists of.
var contents = []string{
	"RUNBOOK.md", "alertmanager", "alerts", "env", "etf", "lock", "log", "logging", "monitoring", "origin.git", "origin.git.new",
	"postgres", "prices", "prometheus", "rabbitmq", "redis", "run", "state.json", "supervisor", "textfile",
}

// foreignContent names something in the folder that is not a sandbox's; a
// folder with a state file is one, whatever else lies in it.
func (s *Sandbox) foreignContent() (string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(s.path("state.json")); err == nil {
		return "", nil
	}
	for _, e := range entries {
		if !slices.Contains(contents, e.Name()) && !strings.HasPrefix(e.Name(), ".state.json-") {
			return e.Name(), nil
		}
	}
	return "", nil
}

// keepToOurselves sees to it that no descriptor which this process inherited
// goes on to the servers: a pipeline that waits for the end of a pipe would
// wait for them.
func keepToOurselves() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd > 2 {
			syscall.CloseOnExec(fd)
		}
	}
}

// bringUp is one try: state, ports and files first, then the servers side by
// side, at last the service.
func (s *Sandbox) bringUp(ctx context.Context) error {
	if err := s.openState(); err != nil {
		return err
	}
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := s.folders("log", "run"); err != nil {
		return err
	}
	if err := s.writeEnvironment(); err != nil {
		return fmt.Errorf("writing the environment: %w", err)
	}
	if err := s.configureMonitoring(processes(s.dir)); err != nil {
		return fmt.Errorf("configuring the monitoring: %w", err)
	}
	g, gctx := errgroup.WithContext(ctx)
	run := func(parts ...part) {
		g.Go(func() error {
			for _, p := range parts {
				if err := s.ensure(gctx, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	run(s.epmd(), s.rabbitmq())
	run(s.redis())
	run(s.supervisor())
	run(s.prometheus())
	run(s.alertmanager())
	run(s.exporter())
	run(s.prices())
	g.Go(func() error {
		if err := s.ensure(gctx, s.postgres()); err != nil {
			return err
		}
		return s.fill(gctx)
	})
	g.Go(func() error { return etfservice.CreateOrigin(gctx, s.Origin()) })
	if err := g.Wait(); err != nil {
		return err
	}
	return s.revive(ctx)
}

// openState reads the state or begins a new one, and checks that it fits.
func (s *Sandbox) openState() error {
	st, err := loadState(s.dir)
	switch {
	case errors.Is(err, errNoSandbox):
		st = newState(s.dir, DefaultETFs)
	case err != nil:
		return err
	}
	if want := s.opt.ETFs; want > 0 && want != st.ETFs {
		if st.Filled {
			return fmt.Errorf("the sandbox holds %d ETFs, not %d: run sandbox:down -purge first", st.ETFs, want)
		}
		st.ETFs = want
	}
	if st.Dir != s.dir {
		if _, err := os.Stat(filepath.Join(st.Dir, "state.json")); errors.Is(err, fs.ErrNotExist) && len(processes(st.Dir)) > 0 {
			return fmt.Errorf("the sandbox was moved from %s while it was running: "+
				"run sandbox:down with ETF_SANDBOX set to the old path first", st.Dir)
		}
		st.Dir = s.dir
	}
	s.st = st
	return nil
}

// settle chooses the ports and clears away what would be in the way.
func (s *Sandbox) settle(ctx context.Context) error {
	all := processes(s.dir)
	changed, err := s.choosePorts(ctx, all)
	if err != nil {
		return err
	}
	_, supervised := s.supervisor().server(all)
	if supervised && len(changed) > 0 {
		// The service and its configuration hold the old ports.
		s.out.note("ports changed (%s): restarting the service's supervisor", strings.Join(changed, ", "))
		supervised = false
	}
	if !supervised {
		s.st.Revive = true
		if err := s.saveState(); err != nil {
			return err
		}
		return s.stopService(ctx, all, drainLimit)
	}
	return s.saveState()
}

// choosePorts keeps each remembered port that one of our servers listens on
// or could, and replaces the others. It returns the names of those that
// changed.
func (s *Sandbox) choosePorts(ctx context.Context, all []process) ([]string, error) {
	sockets := listeners()
	var changed []string
	for _, name := range portNames {
		old := s.st.Ports[name]
		if old != 0 {
			state := who(old, sockets, all)
			if state == listenOurs || state == listenNone && bindable(ctx, old) {
				continue
			}
			if name == portReceiver && state == listenForeign {
				continue // a drill, which is none of our servers
			}
			s.out.note("port %d (%s) is taken by another program: choosing another", old, name)
			changed = append(changed, name)
		}
		var others []int
		for _, port := range s.st.Ports {
			others = append(others, port)
		}
		port, err := freePort(ctx, others)
		if err != nil {
			return nil, err
		}
		s.st.Ports[name] = port
	}
	return changed, nil
}
