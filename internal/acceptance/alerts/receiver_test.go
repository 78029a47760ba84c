package alerts

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A call is what a contact was told of one alert.
type call struct {
	At       time.Time
	Contact  string // primary, secondary or escalation
	Status   string // firing or resolved
	Alert    string
	Severity string
}

// contacts are the webhooks of all contacts of the sandbox.
type contacts struct {
	server *http.Server

	mu    sync.Mutex
	calls []call
}

// listen answers at the address that the sandbox's contacts have.
func (c *contacts) listen(t *testing.T, address string) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	c.server = &http.Server{Handler: c, ReadTimeout: 10 * time.Second}
	go c.server.Serve(l)
}

func (c *contacts) close() { c.server.Close() }

func (c *contacts) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var message struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(req.Body).Decode(&message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, a := range message.Alerts {
		c.calls = append(c.calls, call{time.Now(), strings.Trim(req.URL.Path, "/"), a.Status, a.Labels["alertname"], a.Labels["severity"]})
	}
}

// since are the calls from a time on.
func (c *contacts) since(begin time.Time) []call {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(c.calls), func(one call) bool { return one.At.Before(begin) })
}

// told is when a contact was first told of an alert with that status.
func (c *contacts) told(begin time.Time, contact, alert, status string) (time.Time, bool) {
	for _, one := range c.since(begin) {
		if one.Contact == contact && one.Alert == alert && one.Status == status {
			return one.At, true
		}
	}
	return time.Time{}, false
}

// pages are the alerts that called somebody out of bed.
func (c *contacts) pages(begin time.Time) (alerts []string) {
	for _, one := range c.since(begin) {
		if one.Severity == "critical" && one.Status == "firing" {
			alerts = append(alerts, one.Alert)
		}
	}
	slices.Sort(alerts)
	return slices.Compact(alerts)
}
