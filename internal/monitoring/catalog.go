package monitoring

import (
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
)

// A Source is who exposes a metric.
type Source string

// The sources.
const (
	Service Source = "service" // the ETF service, at api.metrics
	Suite   Source = "suite"   // this program, which ends: pushed, or written for node_exporter
)

// A Label of a metric. Its values are bounded, or each new one would be a
// series for good.
type Label struct {
	Name   string
	Values []string // all that there are; none: see Of
	Of     string   // what its values are, where they are not listed
}

// A Mode is how prometheus_client sums a gauge up over several processes.
type Mode string

// The modes that are in use. The mode "all" is not: it adds a label pid, by
// which a worker that was killed stays beside its successor.
const (
	LiveSum Mode = "livesum" // of the processes that live
	Max     Mode = "max"     // also over those that have ended
)

// A Metric as its source has to expose it. Whatever names it follows from
// here: the service's metrics module, the dashboard, rules and their tests.
type Metric struct {
	Source  Source
	Name    string
	Type    dto.MetricType
	Unit    string // of its value
	Meaning string
	Labels  []Label
	Buckets []float64 // upper bounds of a histogram, without +Inf
	Mode    Mode      // of a gauge of the service
	Python  string    // the service's variable for it
}

var catalog = []Metric{
	{
		Source: Service, Name: "etf_updates_total", Type: dto.MetricType_COUNTER, Unit: "updates", Python: "UPDATES",
		Meaning: "ETF updates that ended, by outcome",
		Labels:  []Label{{Name: "status", Values: []string{"completed", "completed_with_errors", "failed"}}},
	},
	{
		Source: Service, Name: "etf_update_duration_seconds", Type: dto.MetricType_HISTOGRAM, Unit: "seconds", Python: "DURATION",
		Meaning: "Time spent on an ETF update",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	},
	{
		Source: Service, Name: "etf_active_updates", Type: dto.MetricType_GAUGE, Unit: "updates", Mode: LiveSum, Python: "ACTIVE",
		Meaning: "ETF updates running now",
	},
	{
		Source: Service, Name: "etf_errors_total", Type: dto.MetricType_COUNTER, Unit: "errors", Python: "ERRORS",
		Meaning: "Errors in ETF updates, by kind",
		Labels:  []Label{{Name: "error_type", Values: []string{"price_missing", "info_incomplete", "api_error", "internal"}}},
	},
	{
		Source: Service, Name: "etf_last_update_timestamp", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970", Mode: Max, Python: "LAST_UPDATE",
		Meaning: "When an ETF update last succeeded, Unix seconds; 0 while no process knows of one",
	},

	// The suite ends after each operation: what it leaves are gauges of the
	// last one, never counters, which would begin again at nothing each time.
	{
		Source: Suite, Name: "etf_deploy_last_operation_timestamp_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970",
		Meaning: "When the last operation of a kind ended in this way, Unix seconds",
		Labels:  []Label{operationLabel, outcomeLabel},
	},
	{
		Source: Suite, Name: "etf_deploy_last_operation_duration_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds",
		Meaning: "How long the last operation of a kind took that ended in this way",
		Labels:  []Label{operationLabel, outcomeLabel},
	},
	{
		Source: Suite, Name: "etf_deploy_step_duration_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds",
		Meaning: "How long each step took in the last operation that had it",
		Labels:  []Label{{Name: "step", Of: "the steps of operations, named like their targets"}, outcomeLabel},
	},
	{
		Source: Suite, Name: "etf_deploy_stopped_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds",
		Meaning: "How long a part of the service was stopped in the last operation that stopped it",
		Labels:  []Label{{Name: "part", Values: []string{"workers", "api"}}},
	},
	{
		Source: Suite, Name: "etf_deploy_drained_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds",
		Meaning: "How long the last operation that stopped workers waited for their tasks to end",
	},
	{
		Source: Suite, Name: "etf_deploy_rollbacks", Type: dto.MetricType_GAUGE, Unit: "rollbacks",
		Meaning: "Rollbacks that succeeded among the operations on record",
	},
	{
		Source: Suite, Name: "etf_deploy_rows_restored", Type: dto.MetricType_GAUGE, Unit: "rows",
		Meaning: "Rows that the last restore of data put back",
	},
	{
		Source: Suite, Name: "etf_deploy_backup_timestamp_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970",
		Meaning: "When the newest proven backup was taken, Unix seconds",
	},
	{
		Source: Suite, Name: "etf_deploy_backup_bytes", Type: dto.MetricType_GAUGE, Unit: "bytes",
		Meaning: "Size of the newest proven backup",
	},
	{
		Source: Suite, Name: "etf_deploy_interrupted", Type: dto.MetricType_GAUGE, Unit: "0 or 1",
		Meaning: "1 while an operation has begun and not ended, 0 otherwise",
	},
	{
		Source: Suite, Name: "etf_deploy_heard_timestamp_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970",
		Meaning: "When the operation that has not ended was last heard of or, between two stages, until when it is kept; 0 without one",
	},
	{
		Source: Suite, Name: "etf_deploy_updates_paused_timestamp_seconds", Type: dto.MetricType_GAUGE, Unit: "seconds since 1970",
		Meaning: "Since when updates are paused, Unix seconds; 0 while they are not",
	},
}

var (
	operationLabel = Label{Name: "kind", Of: "the kinds of operations, named like their targets"}
	outcomeLabel   = Label{Name: "outcome", Values: []string{"succeeded", "failed", "undone", "interrupted"}}
)

// Catalog is every metric of the service.
func Catalog() []Metric { return Of(Service) }

// Of returns the metrics of one source.
func Of(source Source) []Metric {
	return slices.DeleteFunc(slices.Clone(catalog), func(m Metric) bool { return m.Source != source })
}

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

// Find returns the metric that a series belongs to: those of a histogram have
// names of their own.
func Find(series string) (Metric, bool) {
	i := slices.IndexFunc(catalog, func(m Metric) bool {
		return series == m.Name || m.Type == dto.MetricType_HISTOGRAM &&
			slices.Contains([]string{"_bucket", "_sum", "_count"}, strings.TrimPrefix(series, m.Name))
	})
	if i < 0 {
		return Metric{}, false
	}
	return catalog[i], true
}
