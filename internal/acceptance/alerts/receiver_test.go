package alerts

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// A call is what a contact was told of one alert.
type call struct {
	At       time.Time
	Contact  string // primary, secondary or escalation
	Status   string // firing or resolved
	Alert    string
	Severity string
}

// contacts are the webhooks of all contacts of the sandbox, the newest last:
// the address is given away now and then.
type contacts struct{ all []*monitoring.Webhook }

// listen answers at the address that the sandbox's contacts have.
func (c *contacts) listen(t *testing.T, address string) {
	t.Helper()
	w, err := monitoring.Listen(address, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	c.all = append(c.all, w)
}

func (c *contacts) close() { c.all[len(c.all)-1].Close() }

// since are the calls from a time on.
func (c *contacts) since(begin time.Time) (calls []call) {
	for _, w := range c.all {
		for _, one := range w.Calls() {
			if !one.At.Before(begin) {
				calls = append(calls, call{one.At, strings.Trim(one.Path, "/"), one.Status, one.Labels["alertname"], one.Labels["severity"]})
			}
		}
	}
	return calls
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
