package checklist

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// ownDrill is a target whose contacts are all the drill's own.
func ownDrill(t *testing.T, waits ...string) *Target {
	t.Helper()
	receiver, urls := own(t)
	target := drilling(t, urls, waits)
	target.Config.Monitoring.Receiver = receiver
	return target
}

// untold is such a target whose first contact is not told of ends.
func untold(t *testing.T) *Target {
	t.Helper()
	target := ownDrill(t, "1s", "2s", "4s")
	c := target.Config.Contacts
	am, err := testserver.StartAlertmanagerWith(t.TempDir(), strings.Replace(routesOf([3]string{"primary", "1s", c.Primary.Webhook},
		[3]string{"secondary", "2s", c.Secondary.Webhook}, [3]string{"escalation", "4s", c.Escalation.Webhook}), "send_resolved: true", "send_resolved: false", 1))
	must(t, err)
	t.Cleanup(am.Stop)
	target.Config.Monitoring.Alertmanager = am.URL
	return target
}

// before puts something before the target's Alertmanager that may answer in its
// place.
func (t *Target) before(tt *testing.T, answers func(w http.ResponseWriter, r *http.Request) bool) {
	tt.Helper()
	to, err := url.Parse(t.Config.Monitoring.Alertmanager)
	must(tt, err)
	pass := httputil.NewSingleHostReverseProxy(to)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answers(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
	tt.Cleanup(server.Close)
	t.Config.Monitoring.Alertmanager = server.URL
}

func nothingLeft(t *testing.T, target *Target) {
	t.Helper()
	if alerts, silences := left(t, target); alerts > 0 || silences > 0 {
		t.Errorf("left: %d alerts, %d silences", alerts, silences)
	}
}

// A drill that is broken off leaves nothing behind, and tells what it saw.
func TestDrillThatIsInterrupted(t *testing.T) {
	t.Parallel()
	target := ownDrill(t, "1s", "2s", "4s")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(1700*time.Millisecond, cancel)
	began := time.Now()
	seen, err := target.Drill(ctx, true)
	if took := time.Since(began); !errors.Is(err, context.Canceled) || took > 4*time.Second {
		t.Errorf("after %s: %v", took, err)
	}
	if seen == nil || seen.Contacts[0].After == nil || seen.Contacts[1].Fault != "" || seen.Contacts[1].Seen != "" || !seen.BrokenOff {
		t.Fatalf("%+v", seen)
	}
	var table bytes.Buffer
	must(t, seen.Write(&table, false))
	for _, want := range []string{"arrived", "not known", "broken off"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	nothingLeft(t, target)
}

// Also where it is broken off while a call is under way, which may have got
// through: the first alert, and the first silence.
func TestDrillThatIsInterruptedInACall(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/api/v2/alerts", "/api/v2/silences"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			target := ownDrill(t, "1s", "2s", "4s")
			direct := *target.Config
			ctx, cancel := context.WithCancel(t.Context())
			var calls atomic.Int32
			target.before(t, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost || r.URL.Path != path || calls.Add(1) > 1 {
					return false
				}
				res, err := http.Post(direct.Monitoring.Alertmanager+path, "application/json", r.Body)
				if err == nil {
					res.Body.Close()
				}
				cancel() // it has got through, and the answer comes too late
				<-r.Context().Done()
				return true
			})
			if _, err := target.Drill(ctx, true); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			if calls.Load() == 0 {
				t.Error("the call was not made")
			}
			target.Config = &direct
			nothingLeft(t, target)
		})
	}
}

// Whoever waits for the end to be heard may stop that.
func TestDrillThatIsInterruptedAtTheEnd(t *testing.T) {
	t.Parallel()
	target := untold(t)
	target.Config.Alerts.Interval = 5 * time.Minute // scaled to 30 s
	ctx, cancel := context.WithCancel(t.Context())
	var called atomic.Bool
	target.before(t, func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost && called.Swap(true) {
			time.AfterFunc(time.Second, cancel) // the last post ends the alert
		}
		return false
	})
	began := time.Now()
	seen, _ := target.Drill(ctx, false)
	if took := time.Since(began); seen == nil || took > 12*time.Second {
		t.Errorf("after %s: %+v", took, seen)
	}
	nothingLeft(t, target)
}

// One answer that fails within half an hour is no reason to give up; that none
// comes any more is.
func TestDrillWithAnAlertmanagerThatFails(t *testing.T) {
	t.Parallel()
	target := ownDrill(t, "1s", "2s", "4s")
	var asked, broken atomic.Int32
	broken.Store(3)
	target.before(t, func(w http.ResponseWriter, r *http.Request) bool {
		fails := r.Method == http.MethodGet && r.URL.Path == "/api/v2/alerts" && asked.Add(1) <= broken.Load()
		if fails {
			http.Error(w, "not now", http.StatusServiceUnavailable)
		}
		return fails
	})
	seen, err := target.Drill(t.Context(), false)
	if err != nil || seen.Contacts[0].After == nil || seen.Contacts[2].After == nil {
		t.Fatalf("%+v, %v", seen, err)
	}
	broken.Store(1 << 30)
	seen, err = target.Drill(t.Context(), false)
	if seen == nil || ExitCode(err) != 1 || !strings.Contains(err.Error(), "not now") || !seen.BrokenOff {
		t.Errorf("%+v, %v", seen, err)
	}
}

// Whatever this machine takes for the time, the alert begins and ends now.
func TestDrillByAnotherClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		target := ownDrill(t, "1s", "2s", "4s")
		target.Now = func() time.Time { return time.Now().Add(ahead) }
		seen, err := target.Drill(t.Context(), true)
		if err != nil || seen.Contacts[0].After == nil || *seen.Contacts[0].After > 3 {
			t.Errorf("%s ahead: %+v, %v", ahead, seen, err)
		}
		nothingLeft(t, target)
	}
}

// A contact of ours that is not told of the end is a fault; where nobody waits
// for that, it is said.
func TestDrillWhoseEndIsNotHeard(t *testing.T) {
	t.Parallel()
	target := untold(t)
	seen, err := target.Drill(t.Context(), false)
	if seen == nil || ExitCode(err) != 3 || !strings.Contains(err.Error(), "primary: did not hear within 5.0 s that it is over") || strings.Contains(err.Error(), "secondary") {
		t.Fatalf("%+v, %v", seen, err)
	}
	target.Config.Alerts.Interval = 20 * time.Minute // scaled to 2 m
	if seen, err = target.Drill(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	must(t, seen.Write(&table, false))
	if strings.Count(table.String(), "not seen") != 3 || !strings.Contains(table.String(), "within 2 min 00 s (alerts.interval), which was not waited for") {
		t.Errorf("%s", &table)
	}
}

// Nobody is called who was not named before, whatever Alertmanager runs with.
func TestMayDrill(t *testing.T) {
	t.Parallel()
	receiver, urls := own(t)
	strange := strings.Replace(routesOf([3]string{"primary", "1s", urls[0]}), "  routes:\n", "  routes:\n    - {receiver: pager, continue: true}\n", 1) +
		"  - {name: pager, webhook_configs: [{url: 'http://127.0.0.1:1/'}]}\n"
	am, err := testserver.StartAlertmanagerWith(t.TempDir(), strange)
	must(t, err)
	t.Cleanup(am.Stop)
	target := drilling(t, urls, []string{"1s", "2s", "4s"})
	asked := ""
	answering := func(answer string) func(context.Context, string) (string, error) {
		return func(_ context.Context, question string) (string, error) { asked = question; return answer, nil }
	}
	may := func(yes bool, ask func(context.Context, string) (string, error)) int {
		asked = ""
		return ExitCode(target.MayDrill(t.Context(), yes, ask))
	}
	if code := may(false, nil); code != 2 {
		t.Errorf("real contacts, without a terminal: %d", code)
	}
	if code := may(false, answering("n")); code != 1 || !strings.Contains(asked, "Ada (webhook), Bob (webhook), Eve (webhook)") {
		t.Errorf("declined: %d, asked %q", code, asked)
	}
	if code := may(false, answering("y")); code != 0 || asked == "" {
		t.Errorf("agreed: %d", code)
	}
	if code := may(true, answering("n")); code != 0 || asked != "" {
		t.Errorf("-yes: %d, asked %q", code, asked)
	}
	target.Config.Monitoring.Receiver = receiver
	if code := may(false, nil); code != 0 {
		t.Errorf("nobody is really called: %d", code)
	}
	target.Config.Monitoring.Alertmanager = am.URL
	if code := may(false, answering("n")); code != 1 || !strings.Contains(asked, "pager (webhook)") || strings.Contains(asked, "primary") {
		t.Errorf("Alertmanager calls somebody else: %d, asked %q", code, asked)
	}
	if err := target.MayDrill(t.Context(), false, nil); ExitCode(err) != 2 || !strings.Contains(err.Error(), "pager (webhook)") {
		t.Errorf("without a terminal: %v", err)
	}
	target.Config.Monitoring.Alertmanager = "http://127.0.0.1:1"
	if code := may(false, nil); code != 1 {
		t.Errorf("Alertmanager is down: %d", code)
	}
}
