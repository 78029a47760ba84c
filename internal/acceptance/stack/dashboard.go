package stack

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// DashboardAnswers asks Prometheus for everything that the dashboard shows,
// while an update is fresh enough to have a rate, and returns how many panels
// that were.
func (s *Stack) DashboardAnswers(t testing.TB) int {
	t.Helper()
	e, err := monitoring.Load(filepath.Join(s.Dir, "deploy.yaml"), config.DefaultEnvironment, s.Env)
	if err != nil {
		t.Fatal(err)
	}
	s.Mage(t, 0, "verify:update")
	queries := monitoring.DashboardQueries(e, "1h")
	for deadline := time.Now().Add(3 * e.Interval); ; time.Sleep(500 * time.Millisecond) {
		var without []string
		for title, all := range queries {
			for _, query := range all {
				if problem := s.askPrometheus(t, query); problem != "" {
					without = append(without, fmt.Sprintf("%s: %s: %s", title, query, problem))
				}
			}
		}
		if len(without) == 0 {
			return len(queries)
		}
		if time.Now().After(deadline) {
			for _, one := range without {
				t.Error(one)
			}
			return len(queries)
		}
	}
}

// askPrometheus says what is wrong with the answer to a query: an error, no
// series, or no number.
func (s *Stack) askPrometheus(t testing.TB, query string) string {
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	s.GetJSON(t, s.Env["ETF_PROMETHEUS_URL"]+"/api/v1/query?query="+url.QueryEscape(query), &answer)
	if answer.Error != "" {
		return answer.Error
	}
	for _, r := range answer.Data.Result {
		if r.Value[1] != "NaN" {
			return ""
		}
	}
	return fmt.Sprintf("no number in %d series", len(answer.Data.Result))
}

// GetJSON reads what a server answers, whatever its status.
func (s *Stack) GetJSON(t testing.TB, address string, into any) {
	t.Helper()
	res, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("%s: %v", address, err)
	}
}
