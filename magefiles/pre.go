//go:build mage

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/checklist"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Pre is section 1 of the plan: pre-deployment checks.
type Pre mg.Namespace

// Migrations looks for what separates the database from the release: what each migration locks, and whether it can be taken back.
func (Pre) Migrations(ctx context.Context,
	ref *string, // look at this release, installed before by release:install
	sql *bool, // with the SQL of the migrations
	json, explain *bool,
) error {
	checks := checklist.PreDeployment.Only("pre:migrations")
	var text strings.Builder
	if set(sql) {
		checks = checks.WithSQL(&text)
	}
	err := check(ctx, checks, ref, json, explain)
	if !set(json) { // where it stands with its findings
		fmt.Print(host.Redact(text.String()))
	}
	return err
}

// Data looks at every row of the ETF data by the data rules.
func (Pre) Data(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.PreDeployment.Only("pre:data"), ref, json, explain)
}

// Rates looks whether every stored price is covered by an exchange rate.
func (Pre) Rates(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.PreDeployment.Only("pre:rates"), ref, json, explain)
}

// Config holds the target's .env against its declaration and the release's .env.example.
func (Pre) Config(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.PreDeployment.Only("pre:config"), ref, json, explain)
}

// Connections looks at every server and disk that the deployment needs.
func (Pre) Connections(ctx context.Context, ref *string, json, explain *bool) error {
	return check(ctx, checklist.PreDeployment.Only("pre:connections"), ref, json, explain)
}

// All runs the pre-deployment checks side by side.
func (Pre) All(ctx context.Context,
	ref *string, // look at this release, installed before by release:install
	json *bool,
	explain *bool, // name the command of the plan that each check stands for
	native *bool, // without pre:migrations, for which Alembic has to be started
) error {
	checks := checklist.PreDeployment
	if set(native) {
		checks = checks.Native()
	}
	return check(ctx, checks, ref, json, explain)
}
