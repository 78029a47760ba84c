//go:build mage

package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// Alerts are the rules that call somebody, and whom they call.
type Alerts mg.Namespace

// Generate writes Prometheus' rules with their tests, Alertmanager's configuration, and who hears of what.
func (Alerts) Generate(ctx context.Context,
	check *bool, // write nothing, show how what is there differs; exit 3 if it does
) error {
	return generate(ctx, monitoring.AlertsPart, check)
}

// nextPromtool is where alerts:test builds the promtool of Prometheus 3.
const nextPromtool = "./bin/promtool-3"

// Test lets promtool, amtool and a lint judge the generated files as they lie there; exit 3 if they find a fault.
func (Alerts) Test(ctx context.Context,
	next *bool, // promtool of Prometheus 3 judges too; it is built from source, the first time for minutes
	json *bool,
) error {
	return developing(ctx, func(ctx context.Context) error {
		e, err := monitoring.Load(configFile, generatedEnvironment(), nil)
		if err != nil {
			return err
		}
		var further []string
		if set(next) {
			further = []string{nextPromtool}
			if err := run(ctx, 20*time.Minute, "go", "build", "-modfile=.ci/promtool.mod", "-o", nextPromtool, "github.com/prometheus/prometheus/cmd/promtool"); err != nil {
				return err
			}
		}
		verdicts, err := monitoring.TestAlerts(ctx, e, host.Local{}, further...)
		if set(json) {
			return errors.Join(printJSON(verdicts), err)
		}
		return errors.Join(monitoring.WriteVerdicts(os.Stdout, verdicts), err)
	})
}
