//go:build mage

package main

import (
	"context"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Rollback goes back to an earlier release.
type Rollback mg.Namespace

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
	return operate(ctx, "rollback:gradual", checklist.Options{
		To: value(to), Backup: value(backup), KeepRelease: set(keepRelease), BringBack: set(bringBack), Force: set(force), Reason: value(reason),
	}, yes, wait)
}
