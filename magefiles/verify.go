//go:build mage

package main

import (
	"context"
	"os"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
)

// Verify is the post-deployment section of the plan.
type Verify mg.Namespace

// API asks every configured endpoint of the API.
func (Verify) API(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:api", json, explain)
}

// Tasks asks the workers for their tasks and looks whether the scheduler lives.
func (Verify) Tasks(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:tasks", json, explain)
}

// Update sends an update of one ETF through API, broker, worker and database.
func (Verify) Update(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:update", json, explain)
}

// Metrics looks for every required metric at the service and in Prometheus.
func (Verify) Metrics(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:metrics", json, explain)
}

// Logs judges what the service has logged since the cut-over.
func (Verify) Logs(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:logs", json, explain)
}

// Performance looks at the service's sessions in the database.
func (Verify) Performance(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:performance", json, explain)
}

// Alerts holds the rules and routes that are loaded against the generated ones, and looks at what fires.
func (Verify) Alerts(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:alerts", json, explain)
}

// Backups looks at the age and the proof of the newest backup.
func (Verify) Backups(ctx context.Context, json, explain *bool) error {
	return verify(ctx, "verify:backups", json, explain)
}

// Criteria holds the six success criteria against what the verification finds.
//
// Where an operation of ours in stages waits for it, it verifies the release.
func (Verify) Criteria(ctx context.Context, json, yes *bool, wait *time.Duration) error {
	isStage := false
	if err := on(ctx, func(ctx context.Context, t *checklist.Target) (err error) {
		isStage, err = t.CriteriaAreAStage(ctx)
		return err
	}); err != nil {
		return err
	}
	if isStage {
		return operate(ctx, "verify:criteria", checklist.Options{}, yes, wait)
	}
	return on(ctx, func(ctx context.Context, t *checklist.Target) error {
		return t.WriteCriteria(ctx, os.Stdout, set(json))
	})
}

func verify(ctx context.Context, name string, json, explain *bool) error {
	return check(ctx, checklist.Verification.Only(name), nil, json, explain)
}
