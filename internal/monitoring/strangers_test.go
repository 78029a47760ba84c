package monitoring

import (
	"slices"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// Whom an Alertmanager would call that is not as generated is named, and nobody
// else.
func TestStrangers(t *testing.T) {
	e := production(t)
	hook := func(level string) Contact {
		return Contact{Level: level, Contact: config.Contact{Webhook: "http://127.0.0.1:9/" + level}}
	}
	e.Alerts.Contacts = []Contact{hook("primary"), hook("secondary"), hook("escalation")}
	e.Alerts.Watchdog = ""
	generated, err := Alertmanager(e)
	if err != nil {
		t.Fatal(err)
	}
	const pager = "  - name: pager\n    webhook_configs: [{url: http://pager.example.com}]\n"
	for name, c := range map[string]struct {
		change []string // old and new in turn
		more   string   // receivers
		want   []string
	}{
		"as generated":             {},
		"masked":                   {change: []string{"http://127.0.0.1:9/primary", "<secret>"}},
		"another address":          {change: []string{"http://127.0.0.1:9/secondary", "http://pager.example.com"}, want: []string{"secondary (webhook)"}},
		"a further way":            {change: []string{"  - name: escalation\n", "  - name: escalation\n    email_configs: [{to: boss@example.com}]\n"}, want: []string{"escalation (email, webhook)"}},
		"another one takes it":     {change: []string{"  routes:\n", "  routes:\n    - {receiver: pager, continue: true}\n"}, more: pager, want: []string{"pager (webhook)"}},
		"another one does not":     {change: []string{"  routes:\n", "  routes:\n    - {receiver: pager, matchers: ['team=\"b\"']}\n"}, more: pager},
		"an older form":            {change: []string{"  routes:\n", "  routes:\n    - {receiver: pager, match: {team: b}}\n"}, more: pager, want: []string{"pager (webhook)"}},
		"a matcher not to be read": {change: []string{"  routes:\n", "  routes:\n    - {receiver: pager, matchers: ['\"t m\"=b']}\n"}, more: pager, want: []string{"pager (webhook)"}},
		"one that reaches nobody":  {change: []string{"  routes:\n", "  routes:\n    - {receiver: none, continue: true}\n"}, more: "  - name: none\n"},
	} {
		text := strings.NewReplacer(c.change...).Replace(string(generated.Content)) + c.more
		got, err := e.Strangers([]byte(text), DrillLabels("production", "x"))
		if err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, %v, want %v", name, got, err, c.want)
		}
	}
	if _, err := e.Strangers([]byte("route: ["), nil); err == nil {
		t.Error("what cannot be read is nobody")
	}
}
