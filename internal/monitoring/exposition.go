package monitoring

import (
	"fmt"
	"slices"
	"strings"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// Parse reads what a service exposes, in Prometheus' text form or OpenMetrics.
func Parse(text string) (map[string]*dto.MetricFamily, error) {
	if strings.HasSuffix(strings.TrimSpace(text), "# EOF") {
		text = fromOpenMetrics(text)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("reading metrics: %w", err)
	}
	return families, nil
}

// fromOpenMetrics names counters as the older form does, in which the type is
// that of the name with its _total, and leaves out exemplars.
func fromOpenMetrics(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		switch {
		case len(words) == 4 && words[0] == "#" && words[1] == "TYPE" && words[3] == "counter" && !strings.HasSuffix(words[2], "_total"):
			fmt.Fprintf(&b, "# TYPE %s_total counter\n", words[2])
		case len(words) > 1 && words[0] == "#" && words[1] != "TYPE":
		default:
			sample, _, exemplar := strings.Cut(line, " # {")
			if b.WriteString(sample); exemplar {
				b.WriteByte('\n')
			}
		}
	}
	return b.String()
}

// Problems are what is wrong with a metric as it is exposed.
type Problems struct {
	Faults   []string // it is not the metric that alerts and dashboards read
	Warnings []string
}

// Check holds what is exposed against the declaration.
func (m Metric) Check(family *dto.MetricFamily) (p Problems) {
	if got := family.GetType(); got != m.Type {
		p.Faults = append(p.Faults, fmt.Sprintf("has type %s, not %s", lower(got), lower(m.Type)))
	}
	said := map[string]bool{} // each problem once, however many series have it
	once := func(add func(string), format string, args ...any) {
		if text := fmt.Sprintf(format, args...); !said[text] {
			said[text] = true
			add(text)
		}
	}
	faults := func(text string) { p.Faults = append(p.Faults, text) }
	warnings := func(text string) { p.Warnings = append(p.Warnings, text) }
	for _, series := range family.GetMetric() {
		for _, pair := range series.GetLabel() {
			i := slices.IndexFunc(m.Labels, func(l Label) bool { return l.Name == pair.GetName() })
			switch {
			case i < 0 && pair.GetName() == "pid":
				once(faults, "has a label pid: each process is a series of its own, and stays when it dies; its multiprocess mode must be %s", m.Mode)
			case i < 0:
				once(faults, "has a label %s that it should not have", pair.GetName())
			case len(m.Labels[i].Values) > 0 && !slices.Contains(m.Labels[i].Values, pair.GetValue()):
				once(warnings, "has an unknown %s: %q", pair.GetName(), pair.GetValue())
			}
		}
		for _, l := range m.Labels {
			if !slices.ContainsFunc(series.GetLabel(), func(p *dto.LabelPair) bool { return p.GetName() == l.Name }) {
				once(faults, "lacks the label %s", l.Name)
			}
		}
		if m.Type == dto.MetricType_HISTOGRAM && family.GetType() == m.Type {
			if len(series.GetHistogram().GetBucket()) < 2 {
				once(faults, "has no buckets: quantiles cannot be had")
			} else if missing := m.missingBuckets(series.GetHistogram()); len(missing) > 0 {
				once(warnings, "lacks the buckets %v", missing)
			}
		}
	}
	return p
}

func (m Metric) missingBuckets(h *dto.Histogram) (missing []float64) {
	for _, bound := range m.Buckets {
		if !slices.ContainsFunc(h.GetBucket(), func(b *dto.Bucket) bool { return b.GetUpperBound() == bound }) {
			missing = append(missing, bound)
		}
	}
	return missing
}

func lower(t dto.MetricType) string { return strings.ToLower(t.String()) }
