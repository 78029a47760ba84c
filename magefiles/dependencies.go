//go:build mage

package main

import (
	"context"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Deps is section 2 of the plan: service dependencies.
type Deps mg.Namespace

// Celery asks every worker for an answer, over the broker.
func (Deps) Celery(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.ServiceDependencies.Only("deps:celery"), ref, json, explain)
}

// Redis looks at the cache's server and at what cache:clear would remove.
func (Deps) Redis(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.ServiceDependencies.Only("deps:redis"), ref, json, explain)
}

// All looks at the service's dependencies side by side.
func (Deps) All(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.ServiceDependencies, ref, json, explain)
}

// Cache is the service's Redis cache.
type Cache mg.Namespace

// Clear unlinks the cache's own keys, and nothing of Celery's and no flag.
func (Cache) Clear(ctx context.Context, yes *bool, wait *time.Duration) error {
	return operate(ctx, "cache:clear", checklist.Options{}, yes, wait)
}
