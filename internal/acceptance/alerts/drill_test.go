package alerts

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// A drilled contact is what alerts:drill says of one.
type drilledContact struct {
	Level, Seen, Fault string
	After, Resolved    *float64
}

func drilled(t *testing.T, s *stack.Stack, args ...string) []drilledContact {
	t.Helper()
	var seen struct {
		Drill struct{ Contacts []drilledContact }
	}
	r := s.Mage(t, 0, append([]string{"alerts:drill", "-json"}, args...)...)
	if err := json.Unmarshal([]byte(r.Stdout), &seen); err != nil || len(seen.Drill.Contacts) != 3 {
		t.Fatalf("%v: %s", err, r.Stdout)
	}
	return seen.Drill.Contacts
}

// drill sees each contact called, in the order of escalation.
func drill(t *testing.T, s *stack.Stack) {
	var order []float64
	for _, c := range drilled(t, s) {
		if c.Seen != "arrived" || c.After == nil || c.Resolved == nil || c.Fault != "" {
			t.Fatalf("%+v", c)
		}
		t.Logf("%s is called after %.1f s, told that it is over after %.1f s", c.Level, *c.After, *c.Resolved)
		order = append(order, *c.After)
	}
	if !slices.IsSorted(order) {
		t.Errorf("out of order: %v", order)
	}
	nothingLeft(t, s)
}

// silencedDrill sees that a silence stops the escalation.
func silencedDrill(t *testing.T, s *stack.Stack) {
	for i, c := range drilled(t, s, "-silence") {
		if called := c.After != nil; called != (i == 0) || c.Fault != "" {
			t.Errorf("%+v", c)
		}
	}
	nothingLeft(t, s)
}

// nothingLeft fails while Alertmanager still has a drill's alert or silence.
func nothingLeft(t *testing.T, s *stack.Stack) {
	t.Helper()
	address := s.Env["ETF_ALERTMANAGER_URL"]
	s.Await(t, 5*time.Second, "the drill to be gone", func() bool {
		var alerts []any
		var silences []struct {
			Comment string
			Status  struct{ State string }
		}
		s.GetJSON(t, address+`/api/v2/alerts?filter=alertname%3D%22AlertsDrill%22`, &alerts)
		s.GetJSON(t, address+"/api/v2/silences", &silences)
		for _, one := range silences {
			if strings.HasPrefix(one.Comment, "drill") && one.Status.State != "expired" {
				return false
			}
		}
		return len(alerts) == 0
	})
}
