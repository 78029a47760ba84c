//go:build mage

package main

import (
	"context"
	"os"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Data is what the service has stored: looked at, compared with a backup, repaired row by row.
type Data mg.Namespace

// Verify looks at the present rows by the data rules.
func (Data) Verify(ctx context.Context, json, explain *bool) error {
	return check(ctx, checklist.GradualRollback.Only("data:verify"), nil, json, explain)
}

// Inconsistencies finds the rows that differ from a backup, judges which are wrong and who wrote them, and lists them in a CSV and an SQL file.
func (Data) Inconsistencies(ctx context.Context,
	backup *string, // its id; default: the one from before the live release
	json *bool,
	yes *bool,
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	o := checklist.Options{Backup: value(backup)}
	return operateThen(ctx, "data:inconsistencies", o, yes, wait, func(t *checklist.Target, op *step.Operation) error {
		return t.WriteInconsistencies(os.Stdout, op, set(json))
	})
}

// Restore restores and quarantines the rows that data:inconsistencies has judged wrong, or those chosen by hand.
func (Data) Restore(ctx context.Context,
	table *string, // with -where: the rows of this table, whatever their class
	where *string, // for which this SQL condition holds
	csv *string, // the lines of a reviewed file of data:inconsistencies
	bringBack *bool, // also the rows that were deleted since the backup
	dryrun *bool, // print the SQL, and change nothing
	yes *bool,
	wait *time.Duration, // how long to wait for a lease that somebody else holds
) error {
	o := checklist.Options{Table: value(table), Where: value(where), CSV: value(csv), BringBack: set(bringBack)}
	if set(dryrun) {
		return on(ctx, func(ctx context.Context, t *checklist.Target) error { return t.WriteRestoreSQL(ctx, os.Stdout, o) })
	}
	return operate(ctx, "data:restore", o, yes, wait)
}

// VerifyRestoration proves that the restored rows equal the backup, that no other row was touched, and that the data rules hold.
func (Data) VerifyRestoration(ctx context.Context, json, explain *bool) error {
	return check(ctx, checklist.GradualRollback.Only("data:verifyRestoration"), nil, json, explain)
}
