package stack

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Status is what the program says of the service.
type Status struct {
	Live *struct {
		ID, Commit, State string
		Ref               string
		Head              string `json:"alembic_head"`
	}
	Database  string `json:"alembic_head"`
	Processes []struct {
		Name, State, Release string
		PID                  int
	}
	Operation *struct{ ID, Kind, Outcome, Text string }
	Paused    string
	Next      string
	Unseen    []string
}

// Status asks the program.
func (s *Stack) Status(t testing.TB) Status {
	t.Helper()
	var st Status
	if err := json.Unmarshal([]byte(s.Mage(t, 0, "status", "-json").Stdout), &st); err != nil {
		t.Fatal(err)
	}
	return st
}

// Serves fails unless the service runs whole on one verified release, whose id
// it returns: every process, the API's answers, the database's head.
func (s *Stack) Serves(t testing.TB) string {
	t.Helper()
	st := s.Status(t)
	if st.Live == nil || st.Live.State != "verified" || len(st.Unseen) > 0 {
		t.Fatalf("no verified release is live: %+v", st)
	}
	if st.Database != st.Live.Head {
		t.Errorf("the database is at %s, release %s at %s", st.Database, st.Live.ID, st.Live.Head)
	}
	if len(st.Processes) != 5 {
		t.Errorf("%d processes, want 5: %+v", len(st.Processes), st.Processes)
	}
	for _, p := range st.Processes {
		if p.State != "RUNNING" || p.Release != st.Live.ID {
			t.Errorf("%+v, want RUNNING on %s", p, st.Live.ID)
		}
	}
	for range 10 {
		if release, err := s.Ask(); err != nil || release != st.Live.ID {
			t.Errorf("the API answers as %q (%v), want %s", release, err, st.Live.ID)
		}
	}
	s.Mage(t, 0, "deps:celery")
	return st.Live.ID
}

// ServesAgain fails unless the service runs whole on the release that did
// before.
func (s *Stack) ServesAgain(t testing.TB, before string) {
	t.Helper()
	if after := s.Serves(t); after != before {
		t.Errorf("%s serves, want %s", after, before)
	}
}

// Ask asks the API's health once, on a connection of its own, and returns the
// release that answered.
func (s *Stack) Ask() (release string, err error) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(s.Env["ETF_API_URL"] + "/api/v1/etf/health")
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("health: %s", res.Status)
	}
	return res.Header.Get("X-ETF-Release"), nil
}

// Await waits until something is so.
func (s *Stack) Await(t testing.TB, limit time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(limit); !done(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s in vain for %s", limit, what)
		}
	}
}

// AwaitStep waits until the running operation has begun a step.
func (s *Stack) AwaitStep(t testing.TB, step string) {
	t.Helper()
	s.Await(t, 2*time.Minute, "the deployment to reach "+step, func() bool {
		return s.journalSays(`"type":"start","step":"` + step + `"`)
	})
	time.Sleep(300 * time.Millisecond) // from the record to the fault point
}

// AwaitOutcome waits until the last operation has ended in this way.
func (s *Stack) AwaitOutcome(t testing.TB, outcome string) {
	t.Helper()
	s.Await(t, 2*time.Minute, "the operation to end as "+outcome, func() bool { return s.Status(t).Operation.Outcome == outcome })
}

// journalSays looks into the newest journal, unless its operation has ended.
func (s *Stack) journalSays(text string) bool {
	content, err := os.ReadFile(s.Journal())
	return err == nil && strings.Contains(string(content), text) && !strings.Contains(string(content), `"type":"end"`)
}

// Journal is the file of the newest operation; "" before the first.
func (s *Stack) Journal() string {
	all, err := filepath.Glob(filepath.Join(s.Env["ETF_ROOT"], "ops", "journal", "*.jsonl"))
	if err != nil || len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}
