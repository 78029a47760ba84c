// Package alerts breaks a deployed service in one way after the other, and
// looks who is called: by the sandbox's own Prometheus and Alertmanager, with
// the generated rules and routes, their durations shortened.
package alerts

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

var theStack *stack.Stack

func TestMain(m *testing.M) {
	os.Exit(stack.With(2, func(s *stack.Stack) int {
		theStack = s
		return m.Run()
	}))
}

// A minute of production is a second here: of what rules and routes wait for,
// and of how often updates run.
const (
	shortened = `      interval: 1s
      evaluation: 1s
`
	shortenedAlerts = `      scale: 0.016666667
      secondary: 3m
      escalation: 6m
      interval: 2m
      for: {UpdatesPausedTooLong: 10m, TargetDown: 4m}
`
)

func TestAlerts(t *testing.T) {
	s := theStack
	ticking(t, s)
	s.Mage(t, 0, "deploy", "-ref=ticking")
	s.Mage(t, 0, "verify:alerts", "verify:metrics")
	t.Run("what the dashboard asks for is there, of the suite too", func(t *testing.T) {
		if n := s.DashboardAnswers(t); n < 25 {
			t.Errorf("only %d panels", n)
		}
	})

	s.Changed(t, "      interval: 5s\n      evaluation: 5s\n", shortened,
		"      scale: ${ETF_ALERT_SCALE:-1}\n      secondary: 20s\n      escalation: 40s\n      interval: 10s\n", shortenedAlerts)
	if err := s.Revive(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Prometheus looks for its Alertmanager only some seconds after it has read
	// its configuration again.
	s.Await(t, 30*time.Second, "the shortened alerts to be in force", func() bool {
		r, err := s.Call(nil, "verify:alerts")
		return err == nil && r.Code == 0
	})
	t.Run("a drill reaches each contact in order", func(t *testing.T) { drill(t, s) })
	w := &watch{stack: s, contacts: &contacts{}}
	w.contacts.listen(t, s.Env["ETF_ALERT_RECEIVER_URL"])
	defer w.contacts.close()
	for _, trouble := range []trouble{killWorkers, stopAPI, stopPrices, leavePaused, interruptDeployment, freezeBeat} {
		if !t.Run(trouble.name, func(t *testing.T) { w.see(t, trouble) }) {
			t.Fatal("the parts to come build on this one")
		}
	}
}

// A trouble calls somebody.
type trouble struct {
	name  string
	alert string
	// late is how much later than Prometheus could see it the source tells.
	late time.Duration
	// window is what of its ranges has to fill before the alert's condition holds.
	window func(monitoring.Environment) time.Duration
	// begin makes it and returns what mends it.
	begin func(*testing.T, *stack.Stack) (mend func())
	// meanwhile passes the time of an alert that takes long, with the contacts'
	// address to itself.
	meanwhile func(*testing.T, *stack.Stack)
}

// patience is what a busy machine may add to a time.
const patience = 3 * time.Second

type watch struct {
	stack    *stack.Stack
	contacts *contacts
}

// see makes a trouble and fails unless exactly the right alert fires in time,
// calls the contacts in their order, and is over when the trouble is.
func (w *watch) see(t *testing.T, tr trouble) {
	s := w.stack
	quiet := func() bool { return len(w.firing(t)) == 0 }
	s.Await(t, time.Minute, "all alerts to be over", quiet)
	mend := tr.begin(t, s)
	mended := false
	defer func() {
		if !mended {
			mend()
		}
	}()
	began := time.Now()
	if tr.meanwhile != nil {
		w.contacts.close()
		tr.meanwhile(t, s)
		w.contacts.listen(t, s.Env["ETF_ALERT_RECEIVER_URL"])
	}
	e := environment(t, s)
	due := w.due(t, e, tr)
	allowed := due + tr.late + 2*(e.Interval+e.Evaluation)
	s.Await(t, allowed+patience-time.Since(began), tr.alert+" to fire", func() bool { return slices.Contains(w.firing(t), tr.alert) })
	fired := time.Since(began)
	var called []time.Duration
	for i, contact := range []string{"primary", "secondary", "escalation"} {
		s.Await(t, e.CalledAfter(i)+patience, contact+" to be called", func() bool {
			at, ok := w.contacts.told(began, contact, tr.alert, "firing")
			if ok {
				called = append(called, at.Sub(began))
			}
			return ok
		})
	}
	since := time.Now() // it may be over before what mends it has ended
	mend()
	mended = true
	s.Await(t, time.Minute, tr.alert+" to be over", func() bool {
		_, ok := w.contacts.told(since, "primary", tr.alert, "resolved")
		return ok
	})
	over := time.Since(since)
	// What the alert has kept back comes out of it now, if it is not over too.
	s.Await(t, time.Minute, "all alerts to be over", quiet)
	time.Sleep(e.ToldOver() + e.CalledAfter(0))
	if pages := w.contacts.pages(began); !slices.Equal(pages, []string{tr.alert}) {
		t.Errorf("called for %v, want %s alone", pages, tr.alert)
	}
	if !slices.IsSorted(called) {
		t.Errorf("called out of order: %v", called)
	}
	if fired > allowed {
		t.Errorf("%s fired after %s, want %s at most", tr.alert, fired, allowed)
	}
	t.Logf("%s fired after %.1f s (its own duration %.1f s, at most %.1f s), called %s; over %.1f s after the repair; all: %v",
		tr.alert, fired.Seconds(), due.Seconds(), allowed.Seconds(), inSeconds(called), over.Seconds(), alerts(w.contacts.since(began)))
}

func (w *watch) due(t *testing.T, e monitoring.Environment, tr trouble) time.Duration {
	t.Helper()
	for _, a := range monitoring.Alerts(e) {
		if a.Name == tr.alert && a.Missing == "" {
			due := a.For
			if tr.window != nil {
				due += tr.window(e)
			}
			return due
		}
	}
	t.Fatalf("there is no alert %s", tr.alert)
	return 0
}

// firing are the alerts that somebody would be called for, as Prometheus has them.
func (w *watch) firing(t *testing.T) (names []string) {
	t.Helper()
	var answer struct {
		Data struct {
			Alerts []struct {
				State  string
				Labels map[string]string
			}
		}
	}
	w.stack.GetJSON(t, w.stack.Env["ETF_PROMETHEUS_URL"]+"/api/v1/alerts", &answer)
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" && a.Labels["severity"] == "critical" {
			names = append(names, a.Labels["alertname"])
		}
	}
	return names
}

func environment(t *testing.T, s *stack.Stack) monitoring.Environment {
	t.Helper()
	e, err := monitoring.Load(filepath.Join(s.Dir, "deploy.yaml"), config.DefaultEnvironment, s.Env)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
