package monitoring

import (
	"regexp"
	"slices"
	"strings"
)

// A Metric is one of the catalog. Everything that names it (the service's
// metrics module, dashboard, rules and their tests) follows from here.
type Metric struct {
	Name   string
	Kind   Kind
	Unit   string // Grafana's name of it: s, short, bytes, dateTimeFromNow
	Help   string // what it means, as the service exposes it
	Labels []Label
	Source Source

	// Multiprocess is how prometheus_client sums a gauge up over the
	// service's processes. Without one it gets a label for each process, and
	// a worker that was killed goes on counting.
	Multiprocess string
	Buckets      []float64 // upper bounds of a histogram, +Inf left out
	Python       string    // the variable's name in the service's metrics module
}

// Kind is the type of a metric.
type Kind string

// The kinds of metrics.
const (
	Counter   Kind = "counter"
	Gauge     Kind = "gauge"
	Histogram Kind = "histogram"
)

// Source is who exposes a metric.
type Source string

// The sources of metrics.
const (
	Service Source = "service" // the ETF service, at api.metrics
	Suite   Source = "suite"   // this program, which ends: pushed, or written for node_exporter
)

// A Label of a metric has a bounded number of values.
type Label struct {
	Name   string
	Values []string // all of them, or none where Of says what they are
	Of     string
}

// Metrics is the catalog.
var Metrics = []Metric{
	{
		Name: "etf_updates_total", Kind: Counter, Unit: "short", Source: Service, Python: "UPDATES",
		Help:   "ETF updates that ended, by outcome",
		Labels: []Label{{Name: "status", Values: []string{"completed", "completed_with_errors", "failed"}}},
	},
	{
		Name: "etf_update_duration_seconds", Kind: Histogram, Unit: "s", Source: Service, Python: "DURATION",
		Help:    "Time spent on an ETF update",
		Buckets: []float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300},
	},
	{
		Name: "etf_active_updates", Kind: Gauge, Unit: "short", Source: Service, Python: "ACTIVE",
		Help: "ETF updates running now", Multiprocess: "livesum",
	},
	{
		Name: "etf_errors_total", Kind: Counter, Unit: "short", Source: Service, Python: "ERRORS",
		Help:   "Errors in ETF updates, by kind",
		Labels: []Label{{Name: "error_type", Values: []string{"price_missing", "info_incomplete", "api_error", "internal"}}},
	},
	{
		Name: "etf_last_update_timestamp", Kind: Gauge, Unit: "dateTimeFromNow", Source: Service, Python: "LAST_UPDATE",
		Help: "When an ETF update last succeeded, Unix seconds; 0 where no process knows of one", Multiprocess: "max",
	},

	// The suite ends after each operation: what it leaves are gauges of the
	// last one, never counters, which would begin again at nothing each time.
	{
		Name: "etf_deploy_last_operation_timestamp_seconds", Kind: Gauge, Unit: "dateTimeFromNow", Source: Suite,
		Help:   "When the last operation of a kind ended in this way, Unix seconds",
		Labels: []Label{kindLabel, outcomeLabel},
	},
	{
		Name: "etf_deploy_last_operation_duration_seconds", Kind: Gauge, Unit: "s", Source: Suite,
		Help:   "How long the last operation of a kind took that ended in this way",
		Labels: []Label{kindLabel, outcomeLabel},
	},
	{
		Name: "etf_deploy_step_duration_seconds", Kind: Gauge, Unit: "s", Source: Suite,
		Help:   "How long each step took in the last operation that had it",
		Labels: []Label{{Name: "step", Of: "the steps of operations, named like their targets"}, outcomeLabel},
	},
	{
		Name: "etf_deploy_stopped_seconds", Kind: Gauge, Unit: "s", Source: Suite,
		Help:   "How long a part of the service was stopped in the last operation that stopped it",
		Labels: []Label{{Name: "part", Values: []string{"workers", "api"}}},
	},
	{
		Name: "etf_deploy_drained_seconds", Kind: Gauge, Unit: "s", Source: Suite,
		Help: "How long the last operation that stopped workers waited for their tasks to end",
	},
	{
		Name: "etf_deploy_rollbacks", Kind: Gauge, Unit: "short", Source: Suite,
		Help: "Rollbacks that succeeded among the operations on record",
	},
	{
		Name: "etf_deploy_rows_restored", Kind: Gauge, Unit: "short", Source: Suite,
		Help: "Rows that the last restore of data put back",
	},
	{
		Name: "etf_deploy_backup_timestamp_seconds", Kind: Gauge, Unit: "dateTimeFromNow", Source: Suite,
		Help: "When the newest proven backup was taken, Unix seconds",
	},
	{
		Name: "etf_deploy_backup_bytes", Kind: Gauge, Unit: "bytes", Source: Suite,
		Help: "Size of the newest proven backup",
	},
	{
		Name: "etf_deploy_interrupted", Kind: Gauge, Unit: "bool_yes_no", Source: Suite,
		Help: "1 while an operation has begun and not ended, 0 otherwise",
	},
	{
		Name: "etf_deploy_heard_timestamp_seconds", Kind: Gauge, Unit: "dateTimeFromNow", Source: Suite,
		Help: "When the operation that has not ended was last heard of or, between two stages, until when it is kept, Unix seconds; 0 without one",
	},
	{
		Name: "etf_deploy_updates_paused_timestamp_seconds", Kind: Gauge, Unit: "dateTimeFromNow", Source: Suite,
		Help: "Since when updates are paused, Unix seconds; 0 while they are not",
	},
}

var (
	kindLabel    = Label{Name: "kind", Of: "the kinds of operations, named like their targets"}
	outcomeLabel = Label{Name: "outcome", Values: []string{"succeeded", "failed", "undone", "interrupted"}}
)

// Of returns the metrics of one source, in the order of the catalog.
func Of(source Source) []Metric {
	return slices.DeleteFunc(slices.Clone(Metrics), func(m Metric) bool { return m.Source != source })
}

// Find returns the metric that a series belongs to: those of a histogram and
// of recording rules have names of their own.
func Find(series string) (Metric, bool) {
	for _, m := range Metrics {
		if series == m.Name || m.Kind == Histogram && slices.Contains([]string{"_bucket", "_sum", "_count"}, strings.TrimPrefix(series, m.Name)) {
			return m, true
		}
	}
	return Metric{}, false
}

// MetricNames are the shape that Prometheus gives to the names of metrics.
var MetricNames = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
