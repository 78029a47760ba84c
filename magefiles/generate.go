//go:build mage

package main

import (
	"cmp"
	"context"
	"os"

	"github.com/magefile/mage/mg"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// Monitoring is what is collected, and how it is shown.
type Monitoring mg.Namespace

// Generate writes Prometheus' configuration, the dashboard and the service's metrics module.
func (Monitoring) Generate(ctx context.Context,
	check *bool, // write nothing, show how what is there differs; exit 3 if it does
) error {
	return generate(ctx, monitoring.MonitoringPart, check)
}

// Logging is how the service logs.
type Logging mg.Namespace

// Generate writes the service's logging.conf and the module that it needs.
func (Logging) Generate(ctx context.Context,
	check *bool, // write nothing, show how what is there differs; exit 3 if it does
) error {
	return generate(ctx, monitoring.LoggingPart, check)
}

// Generate writes everything that follows from deploy.yaml and the catalog of metrics.
func Generate(ctx context.Context,
	check *bool, // write nothing, show how what is there differs; exit 3 if it does
) error {
	return generate(ctx, monitoring.Everything, check)
}

// generatedEnvironment is the one that ETF_ENV names or, if it names none, the
// one whose files are committed.
func generatedEnvironment() string { return cmp.Or(os.Getenv("ETF_ENV"), monitoring.Committed) }

func generate(ctx context.Context, part monitoring.Part, check *bool) error {
	return developing(ctx, func(context.Context) error {
		return monitoring.Run(configFile, generatedEnvironment(), part, set(check), os.Stdout)
	})
}
