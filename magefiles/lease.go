//go:build mage

package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Lease is the right to change the target: one operation has it at a time.
type Lease mg.Namespace

// Show tells who holds the lease, since when and what for.
func (Lease) Show(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteLease(ctx, os.Stdout, set(json))
	})
}

// Release frees a lease that nobody keeps alive; it refuses while the holder's heart beats.
func (Lease) Release(ctx context.Context, yes *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		if err := t.WriteLease(ctx, os.Stderr, false); err != nil {
			fmt.Fprintln(os.Stderr, err) // a damaged one is what this is for
		}
		if !set(yes) {
			if !atTerminal() {
				return fmt.Errorf("%w: lease:release asks a person: say -yes where there is none", checklist.ErrUsage)
			}
			answer, err := ask(ctx, "Free it? What its operation has begun stays as it is until `resume`. [y/N] ")
			if err != nil {
				return err
			}
			if answer != "y" && answer != "yes" {
				return errors.New("declined: nothing was changed")
			}
		}
		return t.ReleaseLease(ctx, os.Stdout)
	})
}
