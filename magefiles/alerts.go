//go:build mage

package main

import (
	"context"
	"errors"
	"os"
	"strings"

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

// Test lets promtool, amtool and a lint of its own judge the files of alerts that lie there; exit 3 if they find a fault.
func (Alerts) Test(ctx context.Context,
	promtool *string, // another promtool that judges too, as that of a newer Prometheus
	json *bool,
) error {
	return developing(ctx, func(ctx context.Context) error {
		e, err := monitoring.Load(configFile, generatedEnvironment(), nil)
		if err != nil {
			return err
		}
		verdicts, err := monitoring.TestAlerts(ctx, e, host.Local{}, strings.Fields(value(promtool))...)
		if set(json) {
			return errors.Join(printJSON(verdicts), err)
		}
		return errors.Join(monitoring.WriteVerdicts(os.Stdout, verdicts), err)
	})
}
