package monitoring

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// TextfileName is the file that the suite writes into the folder of the node
// exporter's textfile collector. Each environment has its own: two on one host
// would overwrite each other's.
func TextfileName(environment string) string {
	return "etf_deploy_" + url.PathEscape(environment) + ".prom"
}

// pushJob is the job that pushed metrics belong to, unlike those that
// Prometheus collects itself.
const pushJob = "etf_deploy"

// Told is what the suite tells of itself, once: the metrics of the catalog
// whose source it is. It ends after each operation, so that these are no
// counters of a process but what stands on the target.
type Told struct {
	registry *prometheus.Registry
	gauges   map[string]*prometheus.GaugeVec
}

// NewTold begins with no value: what is not set is not told.
func NewTold() *Told {
	t := &Told{prometheus.NewRegistry(), map[string]*prometheus.GaugeVec{}}
	for _, m := range Of(Suite) {
		var labels []string
		for _, l := range m.Labels {
			labels = append(labels, l.Name)
		}
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.Name, Help: m.Meaning}, labels)
		t.registry.MustRegister(g)
		t.gauges[m.Name] = g
	}
	return t
}

// Set gives a metric of the catalog a value, with those of its labels in their
// order. It panics where the catalog has no such metric.
func (t *Told) Set(name string, value float64, labels ...string) {
	g, ok := t.gauges[name]
	if !ok {
		panic(fmt.Sprintf("%s is no metric of the suite's catalog", name))
	}
	g.WithLabelValues(labels...).Set(value)
}

// Text is what is told of an environment in Prometheus' text format. It is a
// label of each series, as it is where Push groups by it: one Prometheus may
// collect several environments.
func (t *Told) Text(environment string) ([]byte, error) {
	families, err := t.registry.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	name := labelEnvironment
	for _, f := range families {
		for _, m := range f.Metric {
			m.Label = append(m.Label, &dto.LabelPair{Name: &name, Value: &environment})
			slices.SortFunc(m.Label, func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
		}
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// Push replaces what the Pushgateway at address has of the environment.
func (t *Told) Push(ctx context.Context, client *http.Client, address, environment string) error {
	return t.pusher(client, address, environment).PushContext(ctx)
}

func (t *Told) pusher(client *http.Client, address, environment string) *push.Pusher {
	return push.New(address, pushJob).Grouping(labelEnvironment, environment).Gatherer(t.registry).Client(client)
}
