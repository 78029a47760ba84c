//go:build mage

package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lifetime"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Binary is where Build leaves the program.
const binary = "bin/etf-deploy"

// Test runs every test, on servers of its own; it installs those that are missing.
func Test(ctx context.Context) error {
	return developing(ctx, func(ctx context.Context) error {
		if err := sandbox.InstallPackages(ctx, os.Stderr, slices.Concat(sandbox.StackPackages, sandbox.TestPackages)...); err != nil {
			return err
		}
		// Those that take minutes are begun first, so that no core waits for them at the end.
		// They wait for servers most of the time, so one more runs at once than the machine has cores.
		// Go does not know that they build the program, so no result is taken from its cache.
		return run(ctx, 80*time.Minute, "go", "test", "-count=1", "-timeout=40m", fmt.Sprintf("-p=%d", runtime.NumCPU()+1), "./internal/faults", "./internal/acceptance/...", "./...")
	})
}

// Faults deploys to a sandbox of its own with a fault at every step, and with servers taken away, and prints the matrix; a part of it is in Test.
func Faults(ctx context.Context,
	kills *int, // instead, kill so many times at random instants
	seed *int, // of those instants; default 1
	only *string, // only this step, or this fault of a server
	out *string, // write the matrix to this file, as Markdown; default faults.md
) error {
	file, err := filepath.Abs(cmp.Or(value(out), "faults.md"))
	if err != nil {
		return err
	}
	tests := "."
	if kills != nil || only != nil {
		tests = "^TestFaults$"
	}
	env := []string{"ETF_FAULT_SUITE=whole", "ETF_FAULT_ONLY=" + value(only), "ETF_FAULT_OUT=" + file}
	if kills != nil {
		from := 1
		if seed != nil {
			from = *seed
		}
		env = []string{"ETF_FAULT_SUITE=kills", fmt.Sprintf("ETF_FAULT_KILLS=%d", *kills), fmt.Sprintf("ETF_FAULT_SEED=%d", from)}
	}
	return developing(ctx, func(ctx context.Context) error {
		// In the folder of the package go test shows each line when it is printed.
		return runIn(ctx, "internal/faults", env, 6*time.Hour, "go", "test", "-count=1", "-timeout=5h50m", "-run="+tests)
	})
}

// Lint checks formatting, vets with and without the mage tag, and runs staticcheck and actionlint.
func Lint(ctx context.Context) error {
	return developing(ctx, func(ctx context.Context) error {
		// actionlint passes over the scripts in workflows without shellcheck, and does not say so.
		if err := sandbox.InstallPackages(ctx, os.Stderr, "shellcheck"); err != nil {
			return err
		}
		if err := gofmt(ctx); err != nil {
			return err
		}
		workflows, err := filepath.Glob(".github/workflows/*.yml")
		if err != nil {
			return err
		}
		tool := []string{"go", "tool", "-modfile=.ci/lint.mod"}
		for _, argv := range [][]string{
			{"go", "vet", "./..."},
			{"go", "vet", "-tags=mage", "./magefiles"},
			append(tool, "staticcheck", "-checks=all,-ST1000,-ST1005", "./..."),
			append(tool, "staticcheck", "-tags=mage", "-checks=all,-ST1000,-ST1005", "./magefiles"),
			append(append(tool, "actionlint"), workflows...),
			{"shellcheck", ".ci/run", "internal/sandbox/etfservice/releases/1.0/src/backend/bin/etf-run"},
		} {
			if err := run(ctx, 15*time.Minute, argv...); err != nil {
				return err
			}
		}
		return nil
	})
}

func gofmt(ctx context.Context) error {
	var out bytes.Buffer
	_, err := host.Local{}.Run(ctx, host.Command{Argv: []string{"gofmt", "-l", "internal", "magefiles"}, Stdout: &out})
	if err == nil && out.Len() > 0 {
		err = fmt.Errorf("not formatted: run gofmt -w on %s", strings.Join(strings.Fields(out.String()), " "))
	}
	return err
}

// CI runs what the pipeline runs: lint, then the tests.
func CI(ctx context.Context) { mg.SerialCtxDeps(ctx, Lint, Test) }

// Bench runs the benchmarks: ratios, measured side by side in one run.
func Bench(ctx context.Context) error {
	return developing(ctx, func(ctx context.Context) error {
		return run(ctx, time.Hour, "go", "test", "-timeout=40m", "-run=^$", "-bench=.", "./...")
	})
}

// Build compiles the targets into bin/etf-deploy, which the pipeline and cron use: it ends properly on SIGTERM.
func Build(ctx context.Context) error {
	return developing(ctx, func(ctx context.Context) error {
		out, err := filepath.Abs(binary)
		if err != nil {
			return err
		}
		if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
			return err
		}
		return run(ctx, 10*time.Minute, "go", "tool", "mage", "-compile", out)
	})
}

func developing(ctx context.Context, f func(context.Context) error) error {
	ctx, stop := lifetime.Context(ctx, step.ErrInterrupted)
	defer stop()
	return exitOfSandbox(f(ctx))
}

// run shows what a command prints, and the command.
func run(ctx context.Context, timeout time.Duration, argv ...string) error {
	return runIn(ctx, "", nil, timeout, argv...)
}

// runIn is run in a folder, with further variables.
func runIn(ctx context.Context, dir string, env []string, timeout time.Duration, argv ...string) error {
	fmt.Fprintln(os.Stderr, "+ "+strings.Join(slices.Concat(env, argv), " "))
	_, err := host.Local{}.Run(ctx, host.Command{Argv: argv, Dir: dir, Env: env, Stdout: os.Stdout, Stderr: os.Stderr, Timeout: timeout, Grace: time.Minute})
	return err
}
