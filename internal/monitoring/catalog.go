// Package monitoring declares the service's metrics, once, and holds what
// Prometheus and Alertmanager have against what they should have.
package monitoring

import (
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// A Label of a metric. Its values are bounded, or each new one would be a
// series for good.
type Label struct {
	Name   string
	Values []string // all that there are; none: not bounded
}

// A Mode is how prometheus_client sums a gauge up over several processes.
type Mode string

// The modes that are in use. The mode "all" is not: it adds a label pid, by
// which a worker that was killed stays beside its successor.
const (
	LiveSum Mode = "livesum" // of the processes that live
	Max     Mode = "max"     // also over those that have ended
)

// A Metric as the service has to expose it.
type Metric struct {
	Name    string
	Type    dto.MetricType
	Unit    string // of its value
	Meaning string
	Labels  []Label
	Buckets []float64 // upper bounds of a histogram, without +Inf
	Mode    Mode      // of a gauge
}

var catalog = []Metric{
	{
		Name: "etf_updates_total", Type: dto.MetricType_COUNTER, Unit: "updates",
		Meaning: "ETF updates that ended, by outcome",
		Labels:  []Label{{"status", []string{"completed", "completed_with_errors", "failed"}}},
	},
	{
		Name: "etf_update_duration_seconds", Type: dto.MetricType_HISTOGRAM, Unit: "seconds",
		Meaning: "Time spent on an ETF update",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	},
	{
		Name: "etf_active_updates", Type: dto.MetricType_GAUGE, Unit: "updates", Mode: LiveSum,
		Meaning: "ETF updates running now",
	},
	{
		Name: "etf_errors_total", Type: dto.MetricType_COUNTER, Unit: "errors",
		Meaning: "Errors in ETF updates, by kind",
		Labels:  []Label{{"error_type", []string{"price_missing", "info_incomplete", "api_error", "internal"}}},
	},
	{
		Name: "etf_last_update_timestamp", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970", Mode: Max,
		Meaning: "When an ETF update last succeeded, Unix seconds",
	},
}

// Catalog is every metric of the service.
func Catalog() []Metric { return slices.Clone(catalog) }

// Lookup finds a metric by its name.
func Lookup(name string) (Metric, bool) {
	i := slices.IndexFunc(catalog, func(m Metric) bool { return m.Name == name })
	if i < 0 {
		return Metric{}, false
	}
	return catalog[i], true
}

// Series is a name under which Prometheus keeps values of the metric.
func (m Metric) Series() string {
	if m.Type == dto.MetricType_HISTOGRAM {
		return m.Name + "_count"
	}
	return m.Name
}
