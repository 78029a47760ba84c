package checklist

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var levels = []string{"primary", "secondary", "escalation"}

// routesOf is an Alertmanager's configuration with a route for each contact:
// level, wait and URL of each.
func routesOf(contacts ...[3]string) string {
	routes, receivers := "", ""
	for _, c := range contacts {
		routes += fmt.Sprintf("    - {receiver: %s, group_wait: %s, continue: true, matchers: ['severity=\"critical\"']}\n", c[0], c[1])
		receivers += fmt.Sprintf("  - {name: %s, webhook_configs: [{url: %q, send_resolved: true}]}\n", c[0], c[2])
	}
	return "route:\n  receiver: nobody\n  group_by: ['...']\n  group_interval: 1s\n  routes:\n" + routes + "receivers:\n  - {name: nobody}\n" + receivers
}

// drilling is a target whose contacts should be called after 1, 2 and 4
// seconds, and whose Alertmanager calls them by these URLs as waits say.
func drilling(t *testing.T, urls, waits []string) *Target {
	t.Helper()
	var routes [][3]string
	for i, level := range levels {
		if waits[i] != "" {
			routes = append(routes, [3]string{level, waits[i], urls[i]})
		}
	}
	am, err := testserver.StartAlertmanagerWith(t.TempDir(), routesOf(routes...))
	must(t, err)
	t.Cleanup(am.Stop)
	target := monitored(config.Monitoring{Alertmanager: am.URL, Interval: time.Second, Evaluation: time.Second})
	target.Observer = report.NewPrinter(io.Discard)
	target.Config.Environment = "sandbox"
	target.Config.Alerts = config.Alerts{Scale: 0.1, Secondary: 20 * time.Second, Escalation: 40 * time.Second}
	target.Config.Contacts = config.Contacts{
		Primary:    config.Contact{Name: "Ada", Webhook: urls[0]},
		Secondary:  config.Contact{Name: "Bob", Webhook: urls[1]},
		Escalation: config.Contact{Name: "Eve", Webhook: urls[2]},
	}
	return target
}

// own are the URLs of contacts that are nobody's, and where the drill listens.
func own(t *testing.T) (receiver string, urls []string) {
	t.Helper()
	port, err := testserver.Port()
	must(t, err)
	receiver = fmt.Sprintf("http://127.0.0.1:%d", port)
	for _, level := range levels {
		urls = append(urls, receiver+"/"+level)
	}
	return receiver, urls
}

func init() { drillPatience = 3 * time.Second }

// left is what a drill leaves at Alertmanager.
func left(t *testing.T, target *Target) (alerts, silences int) {
	t.Helper()
	am, _ := target.alertmanager()
	all, err := am.Alerts(t.Context(), `alertname="AlertsDrill"`)
	must(t, err)
	var list []monitoring.Silence
	must(t, target.getJSON(t.Context(), am.URL+"/api/v2/silences", &list))
	for _, s := range list {
		if s.Status.State != "expired" {
			silences++
		}
	}
	return len(all), silences
}

func TestDrillReachesAllInTurn(t *testing.T) {
	t.Parallel()
	receiver, urls := own(t)
	target := drilling(t, urls, []string{"1s", "2s", "4s"})
	target.Config.Monitoring.Receiver = receiver
	if real, err := target.RealContacts(t.Context()); len(real) > 0 || err != nil {
		t.Errorf("really called: %v, %v", real, err)
	}
	seen, err := target.Drill(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range seen.Contacts {
		due := []float64{1, 2, 4}[i]
		if c.Level != levels[i] || c.Seen != SeenArrived || c.Due != due || c.After == nil || *c.After < due-0.1 || *c.After > due+1.5 || c.Resolved == nil || *c.Resolved < *c.After {
			t.Errorf("%+v", c)
		}
	}
	if alerts, silences := left(t, target); alerts > 0 || silences > 0 {
		t.Errorf("left: %d alerts, %d silences", alerts, silences)
	}
	var table, asJSON bytes.Buffer
	must(t, errors.Join(seen.Write(&table, false), seen.Write(&asJSON, true)))
	for _, want := range []string{"primary", "Ada", "webhook", "arrived"} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, &table)
		}
	}
	var read struct {
		Version int
		Drill   DrillReport
	}
	if err := json.Unmarshal(asJSON.Bytes(), &read); err != nil || read.Version != 1 || len(read.Drill.Contacts) != 3 {
		t.Errorf("%v\n%s", err, &asJSON)
	}
}

func TestDrillThatIsSilenced(t *testing.T) {
	t.Parallel()
	receiver, urls := own(t)
	target := drilling(t, urls, []string{"1s", "2s", "4s"})
	target.Config.Monitoring.Receiver = receiver
	seen, err := target.Drill(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !seen.Silenced || seen.Contacts[0].After == nil || seen.Contacts[1].After != nil || seen.Contacts[2].After != nil {
		t.Errorf("%+v", seen)
	}
	if alerts, silences := left(t, target); alerts > 0 || silences > 0 {
		t.Errorf("left: %d alerts, %d silences", alerts, silences)
	}
}

// What does not arrive as it should is a fault, and says why as far as
// Alertmanager knows.
func TestDrillThatFindsFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		waits   []string
		silence bool
		spoil   func(*testing.T, *Target)
		says    []string
	}{
		"no route to one": {waits: []string{"1s", "", "4s"},
			says: []string{"secondary: not called; Alertmanager sends it to primary, escalation only"}},
		"the last is called at once":      {waits: []string{"1s", "2s", "0s"}, says: []string{"escalation: called too early: 4.0 s was to be waited"}},
		"late":                            {waits: []string{"1s", "6s", "4s"}, says: []string{"secondary: not called within 5.0 s"}},
		"held back by somebody's silence": {waits: []string{"1s", "2s", "4s"}, spoil: silenceAll, says: []string{"primary: not called within 4.0 s; held back by silence"}},
		"called in spite of a silence":    {waits: []string{"1s", "1s", "4s"}, silence: true, says: []string{"secondary: called though the alert was silenced"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			receiver, urls := own(t)
			target := drilling(t, urls, c.waits)
			target.Config.Monitoring.Receiver = receiver
			if c.spoil != nil {
				c.spoil(t, target)
			}
			seen, err := target.Drill(t.Context(), c.silence)
			if seen == nil || ExitCode(err) != 3 {
				t.Fatalf("%+v, %v", seen, err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v; want %q", err, want)
				}
			}
			if alerts, _ := left(t, target); alerts > 0 {
				t.Error("its alert is left")
			}
		})
	}
}

func silenceAll(t *testing.T, target *Target) {
	am, _ := target.alertmanager()
	_, err := am.Set(t.Context(), monitoring.Silence{StartsAt: time.Now(), EndsAt: time.Now().Add(time.Hour), CreatedBy: "me", Comment: "all",
		Matchers: []monitoring.Matcher{{Name: "severity", Value: "critical", IsEqual: true}}})
	must(t, err)
}

// Whether a real contact hears it cannot be seen, but whether Alertmanager got
// rid of it.
func TestDrillOfRealContacts(t *testing.T) {
	t.Parallel()
	pager := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/escalation" {
			http.Error(w, "who?", http.StatusForbidden)
		}
	}))
	defer pager.Close()
	var urls []string
	for _, level := range levels {
		urls = append(urls, pager.URL+"/"+level)
	}
	target := drilling(t, urls, []string{"1s", "2s", "4s"})
	real, err := target.RealContacts(t.Context())
	if err != nil || len(real) != 3 || real[0] != "Ada (webhook)" {
		t.Errorf("really called: %v, %v", real, err)
	}
	seen, err := target.Drill(t.Context(), false)
	if seen == nil || ExitCode(err) != 3 || !strings.Contains(err.Error(), "escalation: not called within 7.0 s; ") || !strings.Contains(err.Error(), "by webhook failed") {
		t.Fatalf("%+v, %v", seen, err)
	}
	for i, c := range seen.Contacts[:2] {
		if c.Seen != SeenSent || c.After == nil || *c.After < c.Due-0.1 || *c.After > c.Due+2.5 || c.Fault != "" {
			t.Errorf("%d: %+v", i, c)
		}
	}
	var table bytes.Buffer
	must(t, seen.Write(&table, false))
	if !strings.Contains(table.String(), "Ask the contacts whether it arrived") {
		t.Errorf("it claims more than it knows:\n%s", &table)
	}
}

func TestDrillThatCannotBegin(t *testing.T) {
	t.Parallel()
	receiver, urls := own(t)
	none := monitored(config.Monitoring{})
	if _, err := none.Drill(t.Context(), false); ExitCode(err) != 2 {
		t.Errorf("without Alertmanager: %v", err)
	}
	target := drilling(t, urls, []string{"1s", "2s", "4s"})
	target.Config.Monitoring.Receiver = receiver
	target.Config.Contacts.Secondary.Webhook = ""
	if _, err := target.Drill(t.Context(), false); ExitCode(err) != 2 || !strings.Contains(err.Error(), "contacts.secondary") {
		t.Errorf("a contact without an address: %v", err)
	}
	target.Config.Contacts.Secondary.Webhook = urls[1]
	l, err := net.Listen("tcp", strings.TrimPrefix(receiver, "http://"))
	must(t, err)
	if _, err := target.Drill(t.Context(), false); ExitCode(err) != 1 || !strings.Contains(err.Error(), "another drill runs") {
		t.Errorf("its port is taken: %v", err)
	}
	must(t, l.Close())
	target.Config.Monitoring.Alertmanager = "http://127.0.0.1:1"
	if _, err := target.Drill(t.Context(), false); ExitCode(err) != 1 || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("Alertmanager is down: %v", err)
	}
}
