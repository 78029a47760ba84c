package alerts

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
)

// A maintenance is the silence of a deployment.
type maintenance struct {
	ID    string
	State string // of Alertmanager: active, pending or expired
	Noted string // its id in the journal, for whoever goes on
}

// theMaintenance is that of the newest deployment, which has made exactly one.
func theMaintenance(t *testing.T, s *stack.Stack) maintenance {
	t.Helper()
	logs, err := journal.Newest(t.Context(), host.Local{}, filepath.Join(s.Env["ETF_ROOT"], "ops", "journal"),
		func(log journal.Log) bool { return log.Header().Kind == "deploy" })
	if err != nil || len(logs) == 0 {
		t.Fatalf("%d journals, %v", len(logs), err)
	}
	log := logs[len(logs)-1]
	var m maintenance
	if _, err := log.Fact("silence", &m.Noted); err != nil {
		t.Fatal(err)
	}
	var silences []struct {
		ID, Comment string
		Status      struct{ State string }
	}
	s.GetJSON(t, s.Env["ETF_ALERTMANAGER_URL"]+"/api/v2/silences", &silences)
	for _, one := range silences {
		if !strings.HasSuffix(one.Comment, log.Header().ID) {
			continue
		}
		if m.ID != "" {
			t.Errorf("%s and %s are silences of one deployment", m.ID, one.ID)
		}
		m.ID, m.State = one.ID, one.Status.State
	}
	if m.ID == "" {
		t.Fatalf("%s has stopped the service and made no silence", log.Header().ID)
	}
	return m
}

// over fails unless the service was started with the silence in force, and it
// ended soon after: in two collections and judgements.
func (m maintenance) over(t *testing.T, s *stack.Stack) {
	t.Helper()
	if now := theMaintenance(t, s); now.ID != m.ID || now.Noted != "" {
		t.Errorf("the service runs again, and its silence, %s, is %+v", m.ID, now)
	}
	s.Await(t, 30*time.Second, "the silence to be over", func() bool { return theMaintenance(t, s).State == "expired" })
}
