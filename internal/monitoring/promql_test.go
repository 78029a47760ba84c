package monitoring

import (
	"slices"
	"strings"
	"testing"
)

func TestMetricsIn(t *testing.T) {
	for expr, want := range map[string]string{
		`up`: "up",
		`sum by (status) (rate(etf_updates_total[5m])) * 60`:                                                          "etf_updates_total",
		`sum(rate(a_total{b="c",d=~"e|f"}[$__rate_interval])) by (g) / ignoring(h) group_left(i) sum(rate(j[1h30m]))`: "a_total j",
		`histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m] offset 1h)))`:                                        "x_bucket",
		`a and b unless on() c or absent(d)`:                                                                          "a b c d",
		`time() - max(max_over_time(t[1d:5m]) > 0) > bool 3600`:                                                       "t",
		`e{f="} g{"} + h{i='{j'}`:                                                                                     "e h",
		"a # b\n+ c":                                                                                                  "a c",
		`1e3 + 0x1F + Inf + NaN + vector(1)`:                                                                          "",
		`job:etf_errors:ratio5m @ end()`:                                                                              "job:etf_errors:ratio5m",
		`x + x`:                                                                                                       "x",
		`count_values("version", build_info)`:                                                                         "build_info",
		``:                                                                                                            "",
	} {
		if got := strings.Join(MetricsIn(expr), " "); got != want {
			t.Errorf("%s\n got %q\nwant %q", expr, got, want)
		}
	}
}

func TestWindows(t *testing.T) {
	got := Windows(`rate(a{b="[1m]"}[$__rate_interval]) + max_over_time(c[1d:5m])`)
	if want := []string{"$__rate_interval", "1d:5m"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}
