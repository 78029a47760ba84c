//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Deploy takes the service through the whole plan: aside what can be done aside, every check, then the cut-over, verification and papers.
func Deploy(ctx context.Context,
	ref *string, // branch, tag or commit; default: source.ref of deploy.yaml
	dryrun *bool, // print what would be done, and change nothing
	force *bool, // also when the commit is live already, over workers that do not answer, or over an undo that failed
	yes *bool, // do not ask
	override *string, // reason for a cut-over outside the maintenance window
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	o := checklist.Options{Ref: value(ref), Force: set(force), Override: value(override)}
	if set(dryrun) {
		return plan(ctx, o, false, false)
	}
	return operate(ctx, "deploy", o, yes, wait)
}

// Plan prints every step of a deployment with what it would run, its commits and migrations, and changes nothing.
func Plan(ctx context.Context,
	ref *string, // branch, tag or commit; default: source.ref of deploy.yaml
	sql *bool, // with the SQL of the migrations
	json *bool, // for programs
) error {
	return plan(ctx, checklist.Options{Ref: value(ref)}, set(sql), set(json))
}

func plan(ctx context.Context, o checklist.Options, withSQL, asJSON bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		p, err := t.Plan(ctx, o, withSQL)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(p)
		}
		p.Text(os.Stdout)
		return nil
	})
}

// Status tells which release is live, what runs, and the one command to run next.
func Status(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		s := t.Status(ctx)
		if set(json) {
			return printJSON(s)
		}
		return s.Text(os.Stdout, t.Now())
	})
}

// History lists the operations on the target, newest first.
func History(ctx context.Context,
	operation *string, // the steps of one of them
	json *bool,
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteHistory(ctx, os.Stdout, value(operation), set(json))
	})
}

// Resume goes on with an interrupted operation; with -undo it takes the service back to the release before.
func Resume(ctx context.Context, undo, yes *bool,
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := confirm(ctx, t, "resume", yes); err != nil {
			return err
		}
		op, err := t.Resume(ctx, set(undo), value(wait))
		if op != nil {
			fmt.Fprintln(os.Stderr)
			if sumErr := t.Summary(os.Stderr, op); sumErr != nil {
				return errors.Join(err, sumErr)
			}
		}
		return err
	})
}

// Window shows the maintenance window and whether a cut-over fits into it now.
func Window(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteWindow(ctx, os.Stdout, set(json))
	})
}

// Contacts shows whom to call, in order.
func Contacts(ctx context.Context, json *bool) error {
	return on(ctx, func(_ context.Context, t *checklist.Target) error { return t.WriteContacts(os.Stdout, set(json)) })
}
