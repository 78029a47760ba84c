//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/lifetime"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Sandbox is a real stack on this machine, on loopback, to deploy to.
type Sandbox mg.Namespace

// Up installs what is missing and brings PostgreSQL, Redis, RabbitMQ, supervisord, Prometheus and Alertmanager up under .sandbox.
func (Sandbox) Up(ctx context.Context,
	etfs *int, // how many ETFs, each with ten years of prices; default 200; 2000 are five million rows
) error {
	n := 0
	if etfs != nil {
		if n = *etfs; n < 1 {
			return mg.Fatal(2, fmt.Sprintf("-etfs=%d: say how many ETFs, one or more", n))
		}
	}
	return inSandbox(ctx, n, func(ctx context.Context, s *sandbox.Sandbox) error { return s.Up(ctx) })
}

// Down stops every process of the sandbox.
func (Sandbox) Down(ctx context.Context,
	purge *bool, // and remove its files
) error {
	return inSandbox(ctx, 0, func(ctx context.Context, s *sandbox.Sandbox) error { return s.Down(ctx, set(purge)) })
}

// Status lists the sandbox's servers.
func (Sandbox) Status(ctx context.Context, json *bool) error {
	return inSandbox(ctx, 0, func(ctx context.Context, s *sandbox.Sandbox) error {
		status, err := s.Status(ctx)
		if err != nil {
			return err
		}
		if set(json) {
			return printJSON(status)
		}
		_, err = fmt.Print(status.Table())
		return err
	})
}

// Release commits a release to practise with to the sandbox's origin: feature, broken-migration, corrupting, crashing or slow.
func (Sandbox) Release(ctx context.Context, kind string) error {
	return inSandbox(ctx, 0, func(ctx context.Context, s *sandbox.Sandbox) error {
		c, err := s.Release(ctx, kind)
		if err == nil {
			fmt.Printf("%s %s “%s” is now main: deploy it with `deploy`\n", c.Version, c.Hash[:8], c.Subject)
		}
		return err
	})
}

func inSandbox(ctx context.Context, etfs int, f func(context.Context, *sandbox.Sandbox) error) error {
	ctx, stop := lifetime.Context(ctx, step.ErrInterrupted)
	defer stop()
	dir, err := sandbox.Dir()
	if err == nil {
		var s *sandbox.Sandbox
		if s, err = sandbox.New(dir, sandbox.Options{ETFs: etfs, Out: os.Stderr}); err == nil {
			err = f(ctx, s)
		}
	}
	return exitOfSandbox(err)
}

// exitOfSandbox is exit for what installs packages or takes a kind of release.
func exitOfSandbox(err error) error {
	var missing *sandbox.MissingPackagesError
	if errors.As(err, &missing) || errors.Is(err, etfservice.ErrUnknownKind) {
		return mg.Fatal(2, err.Error())
	}
	return exit(nil, err)
}
