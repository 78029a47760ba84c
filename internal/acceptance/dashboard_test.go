package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// dashboardAnswers asks Prometheus for everything that the dashboard shows,
// while an update is fresh enough to have a rate.
func dashboardAnswers(t *testing.T, s *stack.Stack) {
	e, err := monitoring.Load(filepath.Join(s.Dir, "deploy.yaml"), config.DefaultEnvironment, s.Env)
	if err != nil {
		t.Fatal(err)
	}
	s.Mage(t, 0, "verify:update")
	queries := monitoring.DashboardQueries(e, "1h")
	if len(queries) < 15 {
		t.Errorf("only %d panels", len(queries))
	}
	for deadline := time.Now().Add(3 * e.Interval); ; time.Sleep(500 * time.Millisecond) {
		var without []string
		for title, all := range queries {
			for _, query := range all {
				if problem := askPrometheus(s.Env["ETF_PROMETHEUS_URL"], query); problem != "" {
					without = append(without, fmt.Sprintf("%s: %s: %s", title, query, problem))
				}
			}
		}
		if len(without) == 0 {
			return
		}
		if time.Now().After(deadline) {
			for _, one := range without {
				t.Error(one)
			}
			return
		}
	}
}

// askPrometheus says what is wrong with the answer to a query: an error, no
// series, or no number.
func askPrometheus(address, query string) string {
	res, err := http.Get(address + "/api/v1/query?query=" + url.QueryEscape(query))
	if err != nil {
		return err.Error()
	}
	defer res.Body.Close()
	var answer struct {
		Error string
		Data  struct {
			Result []struct{ Value [2]any }
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil || answer.Error != "" {
		return fmt.Sprint(answer.Error, err)
	}
	for _, r := range answer.Data.Result {
		if r.Value[1] != "NaN" {
			return ""
		}
	}
	return fmt.Sprintf("no number in %d series", len(answer.Data.Result))
}
