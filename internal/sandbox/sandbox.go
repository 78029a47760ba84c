// Package sandbox brings up the real stack that the ETF service lives with on
// this machine: PostgreSQL, Redis, RabbitMQ, supervisord, Prometheus,
// Alertmanager and a source of prices, from the distribution's packages, on
// loopback ports of their own, with everything they write in one folder.
//
// Nothing outside of that folder is touched but for the installation of
// packages (and, where the folder's path is too long for a Unix socket, one
// short folder for temporary files). Several sandboxes run side by side.
//
// Each process carries the sandbox's folder in its environment
// (ETF_SANDBOX_PROCESS). That, not a port or a pid file, decides what belongs
// to the sandbox: before anything is written to a server, the socket that it
// listens on is found in one of these processes.
package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
)

// DefaultETFs is how many ETFs a new sandbox holds unless told otherwise.
const DefaultETFs = 200

// maxETFs is bounded by the four digits of the generated symbols.
const maxETFs = 10000

// Options of a sandbox. The zero value is usable.
type Options struct {
	// ETFs is how many ETFs the database is filled with; 0 takes what is
	// there already, or DefaultETFs in a new sandbox.
	ETFs int
	// Config is the deploy.yaml whose environment of the sandbox says what
	// Prometheus collects; "" is deploy.yaml in the working folder.
	Config string
	// Out receives one line for each finished part; nil drops them.
	Out io.Writer
	// Now is the clock; nil takes time.Now. The history ends on the last
	// trading day before it.
	Now func() time.Time
}

// A Sandbox is one stack in one folder.
type Sandbox struct {
	dir string
	opt Options
	out *progress
	now func() time.Time
	st  *state // while the lock is held

	serviceLimit time.Duration // how long the deployed service may take to answer
}

// Dir returns the absolute path of the sandbox's folder.
func Dir() (string, error) { return filepath.Abs(config.SandboxFolder()) }

// New describes the sandbox in dir, which need not exist; it touches nothing.
func New(dir string, opt Options) (*Sandbox, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the sandbox's folder: %s: %w", dir, err)
	}
	// Links are resolved, so that two ways to one folder are one sandbox.
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		abs = real
	} else if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		abs = filepath.Join(parent, filepath.Base(abs))
	}
	if strings.ContainsAny(abs, "\n\r\"'`$\\;#,") {
		return nil, fmt.Errorf("the sandbox's folder: %q: quotes, $, backslash, ';', '#' and ',' in the path cannot be "+
			"written into the servers' configuration: set ETF_SANDBOX to another folder", abs)
	}
	if opt.ETFs < 0 || opt.ETFs > maxETFs {
		return nil, fmt.Errorf("the sandbox's size: %d ETFs: must be between 1 and %d", opt.ETFs, maxETFs)
	}
	now := opt.Now
	if now == nil {
		now = time.Now
	}
	opt.Config = cmp.Or(opt.Config, "deploy.yaml")
	return &Sandbox{dir: abs, opt: opt, now: now, out: newProgress(opt.Out), serviceLimit: time.Minute}, nil
}

// path joins names below the sandbox's folder.
func (s *Sandbox) path(names ...string) string {
	return filepath.Join(append([]string{s.dir}, names...)...)
}

// Root is the folder that the service is deployed to (ETF_ROOT).
func (s *Sandbox) Root() string { return s.path("etf") }

// Origin is the bare git repository that releases are fetched from.
func (s *Sandbox) Origin() string { return s.path("origin.git") }

// EnvFile is the file that a shell sources to find the servers.
func (s *Sandbox) EnvFile() string { return s.path("env") }

// Release commits a further release of the given kind to the origin's branch
// main; see etfservice.Kinds.
func (s *Sandbox) Release(ctx context.Context, kind string) (etfservice.Commit, error) {
	if _, err := os.Stat(s.Origin()); errors.Is(err, os.ErrNotExist) {
		return etfservice.Commit{}, fmt.Errorf("committing a release: %s: there is no origin: run sandbox:up first", s.Origin())
	}
	return etfservice.Release(ctx, s.Origin(), kind, s.now())
}
