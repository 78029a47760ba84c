package monitoring

import (
	"slices"
	"strings"
	"time"
)

// AlertmanagerFile is where Alertmanager's configuration is written.
const AlertmanagerFile = "alerts/alertmanager.yml"

// Receivers beside those of the contacts' levels: who hears of the alert that
// always fires. Without a dead man's switch that is nobody, and the file says so.
const (
	receiverWatchdog = "watchdog"
	receiverNobody   = "nobody"
)

func (e Environment) watchdogReceiver() string {
	if e.Alerts.Watchdog == "" {
		return receiverNobody
	}
	return receiverWatchdog
}

// An alertmanagerFile is the part of Alertmanager's configuration that
// versions from 0.25 on have in common.
type alertmanagerFile struct {
	Global    alertmanagerGlobal `yaml:"global"`
	Route     route              `yaml:"route"`
	Inhibit   []inhibition       `yaml:"inhibit_rules,omitempty"`
	Receivers []receiver         `yaml:"receivers"`
}

type alertmanagerGlobal struct {
	ResolveTimeout string `yaml:"resolve_timeout"`
	SMTPHost       string `yaml:"smtp_smarthost,omitempty"`
	SMTPFrom       string `yaml:"smtp_from,omitempty"`
	SMTPUser       string `yaml:"smtp_auth_username,omitempty"`
	SMTPPassword   string `yaml:"smtp_auth_password_file,omitempty"`
}

type route struct {
	Receiver string   `yaml:"receiver"`
	GroupBy  []string `yaml:"group_by,flow,omitempty"`
	Matchers []string `yaml:"matchers,omitempty"`
	Continue bool     `yaml:"continue,omitempty"`
	Wait     string   `yaml:"group_wait,omitempty"`
	Interval string   `yaml:"group_interval,omitempty"`
	Repeat   string   `yaml:"repeat_interval,omitempty"`
	Routes   []route  `yaml:"routes,omitempty"`

	last bool // in visit: no route below takes the alert
}

type inhibition struct {
	Source []string `yaml:"source_matchers"`
	Target []string `yaml:"target_matchers"`
	Equal  []string `yaml:"equal,flow,omitempty"`
}

type receiver struct {
	Name     string          `yaml:"name"`
	Email    []emailConfig   `yaml:"email_configs,omitempty"`
	Webhooks []webhookConfig `yaml:"webhook_configs,omitempty"`
	Slack    []slackConfig   `yaml:"slack_configs,omitempty"`
}

type emailConfig struct {
	To           string `yaml:"to"`
	SendResolved bool   `yaml:"send_resolved"`
}

type webhookConfig struct {
	URL          string      `yaml:"url"`
	SendResolved bool        `yaml:"send_resolved"`
	HTTP         *httpConfig `yaml:"http_config,omitempty"`
}

type httpConfig struct {
	Authorization struct {
		File string `yaml:"credentials_file"`
	} `yaml:"authorization"`
}

type slackConfig struct {
	URLFile      string `yaml:"api_url_file"`
	Channel      string `yaml:"channel,omitempty"`
	SendResolved bool   `yaml:"send_resolved"`
	Title        string `yaml:"title"`
	Text         string `yaml:"text"`
}

// What a chat shows of alerts.
const (
	chatTitle = `{{ .Status | toUpper }}: {{ .CommonAnnotations.summary }} ({{ .CommonLabels.environment }}, {{ .CommonLabels.severity }})`
	chatText  = `{{ range .Alerts }}{{ .Annotations.description }}
{{ .Annotations.runbook_url }}
{{ end }}`
)

// Alertmanager generates its configuration: who hears of what, and when.
func Alertmanager(e Environment) (File, error) {
	c := alertmanagerFile{Route: routes(e), Inhibit: inhibitions(e)}
	c.Global.ResolveTimeout = promDuration(e.scaled(5 * time.Minute))
	if s := e.Alerts.SMTP; s.Host != "" {
		c.Global = alertmanagerGlobal{c.Global.ResolveTimeout, s.Host, s.From, s.User, s.PasswordFile}
	}
	for _, one := range e.Alerts.Contacts {
		c.Receivers = append(c.Receivers, receiverOf(e, one))
	}
	dead := receiver{Name: e.watchdogReceiver()}
	if e.Alerts.Watchdog != "" {
		// Its end is no news: that it stops is what the switch waits for.
		dead.Webhooks = []webhookConfig{webhook(e.Alerts.Watchdog, e.Alerts.WatchdogTokenFile, false)}
	}
	c.Receivers = append(c.Receivers, dead)
	return yamlFile(AlertmanagerFile, "alerts:generate", c)
}

// routes has one for each contact, which all alerts that concern it pass in
// turn. Waits that grow are the escalation: whoever is called later is not
// called at all when the alert has ended or is silenced by then. Each alert is
// a group of its own; one that came into a group later would not wait.
//
// Alertmanager looks at a group once in its interval, and sends again what was
// sent longer than its repetition ago: were both a minute, the watchdog's last
// message would always be a little younger, and only every second look would
// send one.
func routes(e Environment) route {
	ours := matcher(labelService, "=", serviceName)
	r := route{
		Receiver: e.Alerts.Contacts[0].Level, GroupBy: []string{"..."},
		Wait: promDuration(e.delay(0)), Interval: promDuration(e.Alerts.Interval), Repeat: promDuration(e.Alerts.Repeat),
		Routes: []route{{Receiver: e.watchdogReceiver(), Matchers: []string{matcher("alertname", "=", "Watchdog")},
			Wait: "0s", Interval: promDuration(e.scaled(time.Minute)), Repeat: promDuration(e.scaled(50 * time.Second))}},
	}
	last := len(e.Alerts.Contacts) - 1
	for i, one := range e.Alerts.Contacts {
		r.Routes = append(r.Routes, route{Receiver: one.Level, Wait: promDuration(e.delay(i)), Continue: i < last,
			Matchers: []string{ours, matcher(labelSeverity, "=~", strings.Join(heardBy(i), "|"))}})
	}
	return r
}

// atOnce is how long the first contact waits: for what inhibits an alert to
// arrive, which Prometheus sends within the same evaluation.
const atOnce = 10 * time.Second

// delay is the time after which a contact is called.
func (e Environment) delay(contact int) time.Duration {
	return []time.Duration{e.scaled(atOnce), e.Alerts.Secondary, e.Alerts.Escalation}[contact]
}

// heardBy are the severities that a contact is called for: the last one is
// not woken for a warning.
func heardBy(contact int) []string {
	if contact == 2 {
		return []string{string(Critical)}
	}
	return []string{string(Critical), string(Warning)}
}

// inhibitions keep what follows from an alert from being sent while that one
// fires, within one environment.
func inhibitions(e Environment) (all []inhibition) {
	present := generated(e)
	for _, a := range present {
		targets := slices.DeleteFunc(slices.Clone(a.Inhibits), func(name string) bool {
			return !slices.ContainsFunc(present, func(p Alert) bool { return p.Name == name })
		})
		if len(targets) == 0 {
			continue
		}
		source := []string{matcher("alertname", "=", a.Name)}
		if a.Name == "TargetDown" { // that of an exporter, or of one machine of several, is no reason for anything
			source = append(source, matcher("job", "=", JobService), matcher("reason", "=", reasonJobDown))
		}
		slices.Sort(targets)
		all = append(all, inhibition{source, []string{matcher("alertname", "=~", strings.Join(targets, "|"))},
			[]string{labelEnvironment, labelService}})
	}
	return all
}

func matcher(label, op, value string) string { return label + op + promString(value) }

// receiverOf is how a contact is reached. Secrets stay in files on
// Alertmanager's host.
func receiverOf(e Environment, c Contact) receiver {
	r := receiver{Name: c.Level}
	if c.Email != "" && e.Alerts.SMTP.Host != "" {
		r.Email = []emailConfig{{To: c.Email, SendResolved: true}}
	}
	if c.Webhook != "" {
		r.Webhooks = []webhookConfig{webhook(c.Webhook, c.WebhookTokenFile, true)}
	}
	if c.ChatURLFile != "" {
		r.Slack = []slackConfig{{c.ChatURLFile, plain(c.Chat), true, chatTitle, chatText}}
	}
	return r
}

// webhook is an address that alerts are posted to, with the token of a file
// where there is one.
func webhook(url, tokenFile string, resolved bool) webhookConfig {
	hook := webhookConfig{URL: url, SendResolved: resolved}
	if tokenFile != "" {
		hook.HTTP = &httpConfig{}
		hook.HTTP.Authorization.File = tokenFile
	}
	return hook
}
