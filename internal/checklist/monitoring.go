package checklist

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyMetrics is “Check metrics”.
var verifyMetrics = Check{
	Name:    "verify:metrics",
	Command: "curl http://localhost:8000/metrics",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if t.Config.API.Metrics == "" {
			return []report.Finding{marked(fault("metrics", "api.metrics is empty: the service is configured to have none", "add the metrics to the service, and their path to "+t.Config.File), "metrics", nil)}
		}
		families, err := t.metrics(ctx)
		if err != nil {
			return []report.Finding{marked(fault(t.Config.API.Metrics, firstLine(err.Error()), "see the API's log"), "metrics", nil)}
		}
		findings := t.lookExposed(families)
		return append(findings, lookAll(ctx, t, look{"Prometheus", t.Config.Timeouts.Verify + t.Config.Timeouts.Check, func(ctx context.Context, t *Target) []report.Finding {
			return t.lookScraped(ctx, s.Since, t.collectable(families))
		}})...)
	},
}

// lookExposed holds what the service exposes against the catalog and the
// configuration.
func (t *Target) lookExposed(families map[string]*dto.MetricFamily) []report.Finding {
	looked := t.Config.API.Metrics
	do := "compare the service's metrics module with the catalog; metrics.required in " + t.Config.File + " lists those that must be there"
	var faults, warnings []string
	for _, name := range t.requiredMetrics() {
		family := families[name]
		if family == nil {
			faults = append(faults, name+" is missing")
			continue
		}
		metric, known := monitoring.Lookup(name)
		if !known {
			continue
		}
		p := metric.Check(family)
		for _, text := range p.Faults {
			faults = append(faults, name+" "+text)
		}
		for _, text := range p.Warnings {
			warnings = append(warnings, name+" "+text)
		}
	}
	counts := map[string]int64{"looked": int64(len(t.requiredMetrics())), "exposed": int64(len(families)), "violations": int64(len(faults)), "warnings": int64(len(warnings))}
	var findings []report.Finding
	if len(faults) > 0 {
		findings = append(findings, marked(fault(looked, fewOf(faults), do), "metrics", counts, faults...))
	}
	if len(warnings) > 0 {
		findings = append(findings, marked(warn(looked, fewOf(warnings), do), "metrics/labels", counts, warnings...))
	}
	if len(findings) == 0 {
		findings = append(findings, marked(found(looked, "%d metrics, all %d required ones with type and labels", len(families), len(t.requiredMetrics())), "metrics", counts))
	}
	return findings
}

// requiredMetrics are those of the configuration; where it names none, those
// of the catalog.
func (t *Target) requiredMetrics() []string {
	if len(t.Config.Metrics.Required) > 0 {
		return t.Config.Metrics.Required
	}
	var all []string
	for _, m := range monitoring.Catalog() {
		all = append(all, m.Name)
	}
	return all
}

// collectable are the required metrics that Prometheus can have a value of: not
// those that are exposed without one.
func (t *Target) collectable(families map[string]*dto.MetricFamily) []string {
	return slices.DeleteFunc(slices.Clone(t.requiredMetrics()), func(name string) bool {
		return families[name] != nil && len(families[name].GetMetric()) == 0
	})
}

// fewOf is the beginning of a list for people; programs get it whole.
func fewOf(all []string) string {
	text := strings.Join(all[:min(len(all), 5)], "; ")
	if n := len(all) - 5; n > 0 {
		text += fmt.Sprintf("; and %d more", n)
	}
	return text
}

func (t *Target) getJSON(ctx context.Context, address string, v any) error {
	res, body, err := t.get(ctx, address)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", res.Status, firstLine(body))
	}
	if err := json.Unmarshal([]byte(body), v); err != nil {
		return fmt.Errorf("what it answers cannot be read: %w: %s", err, firstLine(body))
	}
	return nil
}
