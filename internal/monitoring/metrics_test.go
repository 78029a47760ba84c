package monitoring

import (
	"slices"
	"strings"
	"testing"
)

// The conventions of Prometheus, and what a generated module relies on.
func TestCatalog(t *testing.T) {
	names := map[string]bool{}
	modes := []string{"all", "liveall", "min", "livemin", "max", "livemax", "sum", "livesum", "mostrecent", "livemostrecent"}
	for _, m := range Metrics {
		fault := func(cond bool, what string) {
			if cond {
				t.Errorf("%s: %s", m.Name, what)
			}
		}
		fault(names[m.Name], "stands twice")
		names[m.Name] = true
		fault(!MetricNames.MatchString(m.Name), "is not the name of a metric")
		fault(!strings.HasPrefix(m.Name, map[Source]string{Service: "etf_", Suite: "etf_deploy_"}[m.Source]), "has a prefix that is not its source's")
		fault((m.Kind == Counter) != strings.HasSuffix(m.Name, "_total"), "a counter's name ends in _total, no other does")
		fault(m.Kind == Counter && m.Source == Suite, "a program that ends cannot count up")
		fault((m.Kind == Histogram) != (len(m.Buckets) > 0), "a histogram has buckets, nothing else does")
		fault(!slices.IsSorted(m.Buckets), "its buckets are not in order")
		fault((m.Multiprocess != "") != (m.Kind == Gauge && m.Source == Service), "a gauge of the service has a multiprocess mode, nothing else does")
		fault(m.Multiprocess != "" && !slices.Contains(modes, m.Multiprocess), "prometheus_client knows no mode "+m.Multiprocess)
		fault(strings.HasSuffix(m.Multiprocess, "all"), "mode "+m.Multiprocess+" gives a label for each process")
		fault(m.Unit == "" || m.Help == "", "has no unit or no help")
		fault((m.Python == "") != (m.Source == Suite), "the service's have a name in its module, the suite's do not")
		for _, l := range m.Labels {
			fault(!MetricNames.MatchString(l.Name), l.Name+" is not the name of a label")
			fault((len(l.Values) == 0) == (l.Of == ""), l.Name+": its values are listed or described")
			fault(m.Source == Service && len(l.Values) == 0, l.Name+": the service initialises each value of a label")
		}
	}
}

func TestFindKnowsTheSeriesOfAHistogram(t *testing.T) {
	for series, want := range map[string]bool{
		"etf_updates_total": true, "etf_update_duration_seconds_bucket": true, "etf_update_duration_seconds_sum": true,
		"etf_update_duration_seconds_count": true, "etf_updates_total_bucket": false, "etf_updates": false, "up": false, "": false,
	} {
		if m, ok := Find(series); ok != want || ok && !strings.HasPrefix(series, m.Name) {
			t.Errorf("%q: %v, %v", series, m.Name, ok)
		}
	}
}
