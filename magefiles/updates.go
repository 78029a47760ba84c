//go:build mage

package main

import (
	"context"
	"os"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Updates are what workers write of ETFs and exchange rates.
type Updates mg.Namespace

// Pause keeps new updates from starting; running ones go on. It says who paused them already.
func (Updates) Pause(ctx context.Context,
	reason *string, // why, for whoever looks at status
	yes *bool,
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	return operate(ctx, "updates:pause", checklist.Options{Reason: value(reason)}, yes, wait)
}

// Wait waits until no worker holds a task and no update is in processing, and names what is stuck.
func (Updates) Wait(ctx context.Context,
	deadline *time.Duration, // how long; default: celery.drain of deploy.yaml
	force *bool, // what is still at work then is a warning
	json *bool,
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WaitForUpdates(ctx, os.Stdout, value(deadline), set(force), set(json))
	})
}

// Resume lets updates start again; it refuses while a gradual rollback is not finished or the live release wrote wrong rows.
func (Updates) Resume(ctx context.Context,
	force *bool, // all the same
	yes *bool,
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	return operate(ctx, "updates:resume", checklist.Options{Force: set(force)}, yes, wait)
}
