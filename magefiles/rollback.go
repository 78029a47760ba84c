//go:build mage

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Rollback takes the service back to a verified release.
type Rollback mg.Namespace

// Plan shows where a rollback would go to, how, and which rows were written since the backup; it changes nothing.
func (Rollback) Plan(ctx context.Context,
	to *string, // release, by its id or the short commit in it; default: the verified one that was live last
	path *string, // code, downgrade or restore; default: the one that costs least
	backup *string, // default: the newest proven one that was taken while that release was live
	json *bool,
) error {
	o := checklist.Options{To: value(to), Path: checklist.Way(value(path)), Backup: value(backup)}
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := checklist.CheckRollback(o); err != nil {
			return err
		}
		p, err := t.PlanRollback(ctx, o, true)
		if err != nil {
			return err
		}
		if set(json) {
			return printJSON(p)
		}
		return p.Text(os.Stdout, t.Now())
	})
}

// Immediate goes back at once: code, and database by the path that costs least; what is replaced is kept whole.
func (Rollback) Immediate(ctx context.Context,
	to *string, // release, by its id or the short commit in it; default: the verified one that was live last
	path *string, // code, downgrade or restore; default: the one that costs least
	backup *string, // default: the newest proven one that was taken while that release was live
	carry *string, // rows written since a backup that is restored: all, none or ask; default: ask at a terminal, else none
	yes *bool, // do not ask
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	o := checklist.Options{
		To: value(to), Path: checklist.Way(value(path)), Backup: value(backup), Carry: value(carry),
	}
	asks := o.Carry == "ask" || o.Carry == "" && !set(yes)
	if o.Carry == "ask" {
		o.Carry = ""
	}
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := checklist.CheckRollback(o); err != nil {
			return err
		}
		if err := firstScreen(ctx, t, &o, asks, yes); err != nil {
			return err
		}
		_, err := perform(ctx, t, "rollback:immediate", o, yes, wait)
		return err
	})
}

// firstScreen shows what a rollback is going to do and asks what only a person
// can say. Where nobody is there it goes on; over an interrupted operation the
// operation itself says which ways there are.
func firstScreen(ctx context.Context, t *checklist.Target, o *checklist.Options, askCarry bool, yes *bool) error {
	if interrupted, err := t.Interrupted(ctx); err != nil || interrupted {
		return err
	}
	p, err := t.PlanRollback(ctx, *o, askCarry || !set(yes))
	if err != nil {
		return err
	}
	if err := p.Text(os.Stderr, t.Now()); err != nil {
		return err
	}
	if askCarry && atTerminal() && p.WouldLeaveRows() {
		answer, err := ask(ctx, "Carry these rows over into the restored database? [y/N] ")
		if err != nil {
			return err
		}
		if o.Carry = checklist.CarryNone; strings.HasPrefix(answer, "y") {
			o.Carry = checklist.CarryAll
		}
	}
	fmt.Fprintln(os.Stderr)
	return nil
}

// Gradual pauses the updates, repairs only the rows that are wrong, goes back to the code before, and lets updates start again; the API answers throughout.
func (Rollback) Gradual(ctx context.Context,
	to *string, // release to go back to; default: the verified one that was live before
	backup *string, // to compare with and restore from; default: the one that holds that release's data
	keepRelease *bool, // the fault came from elsewhere: the code stays
	bringBack *bool, // also the rows that were deleted since the backup
	force *bool, // go on over what updates:wait is waiting for
	reason *string, // why, for whoever looks at status
	yes *bool, // do not ask
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	o := checklist.Options{
		To: value(to), Backup: value(backup), KeepRelease: set(keepRelease), BringBack: set(bringBack), Force: set(force), Reason: value(reason),
	}
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := checklist.CheckRollback(o); err != nil {
			return err
		}
		if interrupted, err := t.Interrupted(ctx); err == nil && !interrupted {
			p, err := t.PlanGradual(ctx, o, atTerminal() && !set(yes))
			if err != nil {
				return err
			}
			if err := p.Text(os.Stderr, t.Now()); err != nil {
				return err
			}
			fmt.Fprintln(os.Stderr)
		}
		_, err := perform(ctx, t, "rollback:gradual", o, yes, wait)
		return err
	})
}
