package monitoring

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// What an expression asks for, and which labels are left of a, b, c and d.
func TestScanned(t *testing.T) {
	of := func(string) ([]string, bool) { return []string{"a", "b", "c", "d"}, true }
	for expr, want := range map[string]struct{ asks, visible string }{
		`up`:                                 {"up", "a b c d"},
		`sum(up)`:                            {"up", ""},
		`sum by (a, b) (rate(x{c="1"}[5m]))`: {"x{c=1}", "a b"},
		`sum(rate(x{c=~"1|2",d!='3"'}[$__rate_interval] offset 1d2h)) by (a)`: {`x{c=~1|2 d!=3"}`, "a"},
		`max without (a) (x)`: {"x", "b c d"},
		`sum by (a) (max by (a, b) (x)) / on (a) group_left (c) count(y) > bool 1e3`: {"x y", "a"},
		`histogram_quantile(0.9, sum by (a) (rate(x_bucket[5m])))`:                   {"x_bucket", "a"},
		`x or vector(1) # y{z="1"}`:                                                  {"x", "a b c d"},
		"x{c=`}`} and topk(3, y)":                                                    {"x{c=}} y", "a b c d"},
		`time()`:                                                                     {"", ""},
		`sum(`:                                                                       {"", ""},
	} {
		s := scanned(expr)
		var asks []string
		for _, one := range s.selectors {
			text := one.metric
			if len(one.asks) > 0 {
				var parts []string
				for _, m := range one.asks {
					parts = append(parts, m.label+m.op+m.value)
				}
				text += fmt.Sprintf("{%s}", strings.Join(parts, " "))
			}
			asks = append(asks, text)
		}
		visible, _ := s.visible(of, 0, s.size)
		slices.Sort(visible)
		if got := strings.Join(asks, " "); got != want.asks {
			t.Errorf("%s: asks for %q, want %q", expr, got, want.asks)
		}
		if got := strings.Join(slices.Compact(visible), " "); got != want.visible {
			t.Errorf("%s: has the labels %q, want %q", expr, got, want.visible)
		}
	}
	if s := scanned(`a unless on (x, y) b * ignoring(z) group_right(w) c`); !slices.Equal(s.joins, []string{"x", "y", "z", "w"}) {
		t.Errorf("joins by %v", s.joins)
	}
}
