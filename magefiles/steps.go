//go:build mage

package main

import (
	"context"
	"os"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// Release is the code: fetched and installed aside, migrated to, activated.
type Release mg.Namespace

// asked is what the targets of one call share with those they depend on:
// Mage passes no optional arguments to dependencies.
var asked struct {
	ref  string
	yes  *bool
	wait *time.Duration
}

// Fetch gets a commit into a folder of its own; nothing running is touched.
func (Release) Fetch(ctx context.Context, ref *string, yes *bool, wait *time.Duration) error {
	return operate(ctx, "release:fetch", checklist.Options{Ref: value(ref)}, yes, wait)
}

// Install gives a fetched commit its virtual environment and its configuration.
func (Release) Install(ctx context.Context, ref *string, yes *bool, wait *time.Duration) error {
	return operate(ctx, "release:install", checklist.Options{Ref: value(ref)}, yes, wait)
}

func installAsked(ctx context.Context) error {
	return Release{}.Install(ctx, &asked.ref, asked.yes, asked.wait)
}
func stopAsked(ctx context.Context) error   { return ifNeeded(ctx, "services:stop") }
func backupAsked(ctx context.Context) error { return ifNeeded(ctx, "backup:create") }

func ifNeeded(ctx context.Context, kind string) error {
	return operate(ctx, kind, checklist.Options{IfNeeded: true}, asked.yes, asked.wait)
}

// Migrate brings the database to the installed release's head, behind a stop and a backup.
func (Release) Migrate(ctx context.Context, ref *string, yes *bool, wait *time.Duration) error {
	asked.ref, asked.yes, asked.wait = value(ref), yes, wait
	mg.SerialCtxDeps(ctx, installAsked, stopAsked, backupAsked)
	return operate(ctx, "release:migrate", checklist.Options{Ref: value(ref)}, yes, wait)
}

// Activate lets `current` name the installed release; services:start runs it.
func (Release) Activate(ctx context.Context, ref *string, yes *bool, wait *time.Duration) error {
	asked.ref, asked.yes, asked.wait = value(ref), yes, wait
	mg.SerialCtxDeps(ctx, installAsked)
	return operate(ctx, "release:activate", checklist.Options{Ref: value(ref)}, yes, wait)
}

// List shows the releases on the target.
func (Release) List(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteReleases(ctx, os.Stdout, set(json))
	})
}

// Services are the processes under supervisor.
type Services mg.Namespace

// Stop drains and stops workers and scheduler without killing a task; the API goes on.
func (Services) Stop(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "services:stop", checklist.Options{}, yes, wait)
}

// Start brings workers, scheduler and API up on the live release and waits until they answer.
func (Services) Start(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "services:start", checklist.Options{}, yes, wait)
}

// Status lists the processes with the release that each really runs.
func (Services) Status(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteServices(ctx, os.Stdout, set(json))
	})
}

// Backup is the database's dump and the configuration's copy.
type Backup mg.Namespace

// Create takes a backup and proves it.
func (Backup) Create(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "backup:create", checklist.Options{}, yes, wait)
}

// Verify checks a backup again: checksum, table of contents, row counts.
func (Backup) Verify(ctx context.Context,
	id *string, // default: the newest
	restore *bool, // into a scratch database too, whatever backup.verify says
	json *bool,
) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteVerifiedBackup(ctx, os.Stdout, value(id), set(restore), set(json))
	})
}

// List shows the backups on the target.
func (Backup) List(ctx context.Context, json *bool) error {
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteBackups(ctx, os.Stdout, set(json))
	})
}

// Docs are the papers of a deployment.
type Docs mg.Namespace

// Changelog adds the live release's commits to the changelog.
func (Docs) Changelog(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "docs:changelog", checklist.Options{}, yes, wait)
}

// Notes writes the notes of the live release's deployment, behind the changelog.
func (Docs) Notes(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "docs:notes", checklist.Options{}, yes, wait)
}

// Runbook writes RUNBOOK.md, a section for each alert; what is written by hand between the notes' lines is kept.
func (Docs) Runbook(ctx context.Context,
	check *bool, // write nothing, show how what is there differs; exit 3 if it does
) error {
	return generate(ctx, monitoring.RunbookPart, check)
}
