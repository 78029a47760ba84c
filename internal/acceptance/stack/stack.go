// Package stack gives a test package a sandbox of its own and the compiled
// program to work on it, as a person and a pipeline do.
package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
)

// A Stack is a sandbox with the program to work on it.
type Stack struct {
	Dir     string // working folder, with a deploy.yaml
	Binary  string // the compiled program
	Sandbox *sandbox.Sandbox
	Env     map[string]string // of .sandbox/env
}

// Up builds the program and brings a sandbox up, in a new folder that is
// removed by Down. Parts that are ready are told to out.
func Up(ctx context.Context, etfs int, out io.Writer) (*Stack, error) {
	if err := sandbox.InstallPackages(ctx, out, sandbox.StackPackages...); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "etf-stack-")
	if err != nil {
		return nil, err
	}
	s := &Stack{Dir: dir, Binary: filepath.Join(dir, "etf-deploy")}
	if err := s.up(ctx, etfs, out); err != nil {
		return nil, errors.Join(err, s.Down(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func (s *Stack) up(ctx context.Context, etfs int, out io.Writer) (err error) {
	s.Sandbox, err = sandbox.New(filepath.Join(s.Dir, ".sandbox"), sandbox.Options{ETFs: etfs, Config: filepath.Join(s.Dir, "deploy.yaml"), Out: out})
	if err != nil {
		return err
	}
	root, err := Root()
	if err != nil {
		return err
	}
	if err := build(ctx, root, s.Binary); err != nil {
		return err
	}
	example, err := os.ReadFile(filepath.Join(root, "deploy.yaml"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.Dir, "deploy.yaml"), example, 0o644); err != nil {
		return err
	}
	return s.Revive(ctx)
}

// Revive brings back the servers that are gone.
func (s *Stack) Revive(ctx context.Context) error {
	if err := s.Sandbox.Up(ctx); err != nil {
		return err
	}
	content, err := os.ReadFile(s.Sandbox.EnvFile())
	if err != nil {
		return err
	}
	s.Env, err = config.ParseEnv(content)
	return err
}

// Down ends every process of the sandbox and removes its files.
func (s *Stack) Down(ctx context.Context) error {
	if s.Sandbox != nil {
		if err := s.Sandbox.Down(ctx, true); err != nil {
			return err
		}
	}
	return os.RemoveAll(s.Dir)
}

// With runs tests on a stack of their own and returns the code to exit with.
// When they fail and ETF_KEEP is set, the stack stays for a look.
func With(etfs int, run func(*Stack) int) (code int) {
	ctx := context.Background()
	s, err := Up(ctx, etfs, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if code != 0 && os.Getenv("ETF_KEEP") != "" {
			fmt.Fprintln(os.Stderr, "kept for a look:", s.Dir)
			return
		}
		if err := s.Down(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}()
	return run(s)
}

func build(ctx context.Context, root, binary string) error {
	unlock, err := LockMagefiles(root)
	if err != nil {
		return err
	}
	defer unlock()
	cmd := exec.CommandContext(ctx, "go", "tool", "mage", "-compile", binary)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the program: %w\n%s", err, out)
	}
	return nil
}

// LockMagefiles keeps other test packages from compiling the targets at the
// same time: Mage writes a file of always the same name beside them.
func LockMagefiles(root string) (unlock func(), err error) {
	f, err := os.Open(filepath.Join(root, "magefiles")) // not go.mod, which go locks itself
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("locking: %s: %w", f.Name(), err)
	}
	return func() { f.Close() }, nil
}

// Root is the folder of this module, in or above the working folder.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod in or above the working folder")
		}
		dir = filepath.Dir(dir)
	}
}
