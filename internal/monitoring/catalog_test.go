package monitoring

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// The conventions of Prometheus, and what a generated module relies on.
func TestCatalog(t *testing.T) {
	names := map[string]bool{}
	word := regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	prefix := map[Source]string{Service: "etf_", Suite: "etf_deploy_"}
	for _, m := range catalog {
		fault := func(is bool, what string) {
			if is {
				t.Errorf("%s: %s", m.Name, what)
			}
		}
		fault(names[m.Name], "stands twice")
		names[m.Name] = true
		fault(!word.MatchString(m.Name), "is not the name of a metric")
		fault(!strings.HasPrefix(m.Name, prefix[m.Source]) || prefix[m.Source] == "", "has a prefix that is not its source's")
		counter, gauge, histogram := m.Type == dto.MetricType_COUNTER, m.Type == dto.MetricType_GAUGE, m.Type == dto.MetricType_HISTOGRAM
		fault(!counter && !gauge && !histogram, "is of another type than counter, gauge and histogram")
		fault(counter != strings.HasSuffix(m.Name, "_total"), "a counter's name ends in _total, no other does")
		fault(counter && m.Source == Suite, "a program that ends cannot count up")
		fault(histogram != (len(m.Buckets) > 0), "a histogram has buckets, nothing else does")
		fault(!slices.IsSorted(m.Buckets), "its buckets are not in order")
		fault((m.Mode != "") != (gauge && m.Source == Service), "a gauge of the service has a multiprocess mode, nothing else does")
		fault(m.Mode != "" && m.Mode != LiveSum && m.Mode != Max, "an unknown mode")
		fault(m.Unit == "" || m.Meaning == "", "has no unit or no meaning")
		fault((m.Python == "") != (m.Source == Suite), "the service's have a name in its module, the suite's do not")
		for _, l := range m.Labels {
			fault(!word.MatchString(l.Name), l.Name+" is not the name of a label")
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
