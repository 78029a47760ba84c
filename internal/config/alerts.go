package config

import (
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// Alerts is from when on something is worth calling people, and in which
// order they are called. What other sections hold already (stuck_after,
// backup_age) is not repeated here.
type Alerts struct {
	Scale   float64 `yaml:"scale"`   // of every duration of rules and routes; below 1 for tests
	Runbook string  `yaml:"runbook"` // address of RUNBOOK.md; each alert links to its section

	ErrorRate   float64       `yaml:"error_rate"`   // errors in updates, a second, all kinds together
	FailedShare float64       `yaml:"failed_share"` // of the updates that ended
	MinUpdates  int           `yaml:"min_updates"`  // that must have ended before a share of them means anything
	StaleAfter  time.Duration `yaml:"stale_after"`  // without a successful update

	SuccessObjective float64 `yaml:"success_objective"` // share of updates that succeed, over 30 days
	FreshObjective   float64 `yaml:"fresh_objective"`   // share of the time in which data are not stale, over 30 days

	QueueDepth int                      `yaml:"queue_depth"` // waiting tasks
	For        map[string]time.Duration `yaml:"for"`         // alert → how long it must hold, instead of its own time

	Secondary  time.Duration `yaml:"secondary"`  // until the second contact is called
	Escalation time.Duration `yaml:"escalation"` // until the third is
	Interval   time.Duration `yaml:"interval"`   // at least, between two messages about the same alert
	Repeat     time.Duration `yaml:"repeat"`     // while an alert goes on firing

	Watchdog          string `yaml:"watchdog"`            // URL that hears of the alert that always fires
	WatchdogTokenFile string `yaml:"watchdog_token_file"` // bearer token for it, on Alertmanager's host
	SMTP              SMTP   `yaml:"smtp"`
}

// HeldAlerts are the alerts that alerts.for can name: all of the catalog but
// Watchdog, which fires whatever it says there.
var HeldAlerts = []string{
	"HighErrorRate", "UpdateStuck", "UpdatesStale", "UpdatesFailing",
	"ErrorBudgetBurnFast", "ErrorBudgetBurnSlow", "FreshnessBudgetBurn",
	"NoWorkers", "QueueGrowing", "UpdatesPausedTooLong", "BackupTooOld", "DeploymentInterrupted",
	"TargetDown", "DependencyDown", "MetricsMissing", "MetricsInconsistent", "RulesFailing", "NotificationsFailing",
}

// SMTP is the server that Alertmanager sends e-mail through.
type SMTP struct {
	Host         string `yaml:"host"` // host:port; empty: alerts are not sent by e-mail
	From         string `yaml:"from"`
	User         string `yaml:"user"`
	PasswordFile string `yaml:"password_file"` // on Alertmanager's host
}

// MinimumObjective is the lowest share that the fast window of a budget alert
// can judge: it fires when 14.4 times the budget is used, which must be less
// than everything.
const MinimumObjective = 0.94

// maxUpdates is the most that alerts.min_updates can ask for: one update a
// minute ends 15 times within the quarter of an hour that is looked at.
const maxUpdates = 14

// maxFailedShare is the largest share of failures whose judgement, of a quarter
// of an hour, lasts longer than the five minutes that the fast budget looks at.
const maxFailedShare = 0.65

// longestStale bounds what UpdatesStale has to read again and again.
const longestStale = 72 * time.Hour

// The durations that Prometheus and Alertmanager both take and keep: they
// count milliseconds, and what is longer than a year is a mistake.
const (
	shortest = time.Millisecond
	longest  = 365 * 24 * time.Hour
)

// LongestRepeat is the longest alerts.repeat: what fires for days must not be
// forgotten.
const LongestRepeat = 24 * time.Hour

func (v *validator) alerts(a Alerts) {
	if a.Scale <= 0 || a.Scale > 1 {
		v.fault("alerts.scale", "is %g; write 1, or a fraction above 0 to shorten all durations for a test", a.Scale)
	}
	v.runbook(a.Runbook)
	if a.ErrorRate <= 0 {
		v.fault("alerts.error_rate", "is %g; write errors per second above 0, like 0.1", a.ErrorRate)
	}
	if a.FailedShare <= 0 || a.FailedShare > maxFailedShare {
		v.fault("alerts.failed_share", "is %g; write a fraction above 0, %g at most: above it ErrorBudgetBurnFast would outlast UpdatesFailing and call for what is mended", a.FailedShare, maxFailedShare)
	}
	if a.MinUpdates < 1 || a.MinUpdates > maxUpdates {
		v.fault("alerts.min_updates", "is %d; write a number from 1 to %d: updates that fail one a minute could never be more within a quarter of an hour", a.MinUpdates, maxUpdates)
	}
	if v.lasting("alerts.stale_after", a.StaleAfter); a.StaleAfter > longestStale && a.StaleAfter <= longest {
		v.fault("alerts.stale_after", "is %s; write %s or less: the rules look back for as long, at each judgement", a.StaleAfter, longestStale)
	}
	v.objective("alerts.success_objective", a.SuccessObjective)
	v.objective("alerts.fresh_objective", a.FreshObjective)
	v.between("alerts.queue_depth", a.QueueDepth, 1, 1e9)
	v.held(a.For)
	v.calls(a)
	if a.SMTP.Host != "" {
		if host, port, err := net.SplitHostPort(a.SMTP.Host); err != nil || host == "" || port == "" {
			v.fault("alerts.smtp.host", "%q is not host:port, like smtp.example.com:587", a.SMTP.Host)
		}
		if !email.MatchString(a.SMTP.From) {
			v.fault("alerts.smtp.from", "%q is not an e-mail address", a.SMTP.From)
		}
	}
	v.secretFile("alerts.smtp.password_file", a.SMTP.PasswordFile)
}

// runbook judges the address that the alerts link to: the alert's section is
// put behind it, and Prometheus takes braces for a template.
func (v *validator) runbook(address string) {
	const key = "alerts.runbook"
	v.required(key, address)
	if strings.ContainsAny(address, "# \t\n\"{}") {
		v.fault(key, "%q is not an address that a section can be put behind; write it without #, spaces, quotes and braces, like https://wiki.example.com/RUNBOOK.md", address)
	}
}

// held judges the alerts' own times.
func (v *validator) held(all map[string]time.Duration) {
	for _, name := range slices.Sorted(maps.Keys(all)) {
		switch key := "alerts.for." + name; {
		case name == "Watchdog":
			v.fault(key, "has no meaning: it always fires; remove it")
		case !slices.Contains(HeldAlerts, name):
			v.fault(key, "there is no alert of this name; RUNBOOK.md lists them")
		case all[name] != 0 && !keeps(all[name]):
			v.fault(key, "is %s; write 0s to fire at once, or a time from %s to a year (8760h)", all[name], shortest)
		}
	}
}

// calls judges when somebody is called, and who hears that nobody is.
func (v *validator) calls(a Alerts) {
	v.lasting("alerts.secondary", a.Secondary)
	v.lasting("alerts.escalation", a.Escalation)
	if a.Escalation <= a.Secondary {
		v.fault("alerts.escalation", "is %s, not after alerts.secondary, %s; write a longer time", a.Escalation, a.Secondary)
	}
	v.lasting("alerts.interval", a.Interval)
	v.lasting("alerts.repeat", a.Repeat)
	if a.Repeat > LongestRepeat {
		v.fault("alerts.repeat", "is %s; write %s or less: an alert that fires for days would be forgotten", a.Repeat, LongestRepeat)
	}
	v.plainURL("alerts.watchdog", a.Watchdog, "alerts.watchdog_token_file")
	v.secretFile("alerts.watchdog_token_file", a.WatchdogTokenFile)
	if a.WatchdogTokenFile != "" && a.Watchdog == "" {
		v.fault("alerts.watchdog_token_file", "belongs to an address that is not there; write alerts.watchdog")
	}
}

// lasting is a duration that rules and routes can have.
func (v *validator) lasting(key string, d time.Duration) {
	if !keeps(d) {
		v.fault(key, "is %s; write a time from %s to a year (8760h): Prometheus and Alertmanager cannot keep others", d, shortest)
	}
}

func keeps(d time.Duration) bool { return d >= shortest && d <= longest }

func (v *validator) objective(key string, share float64) {
	if share < MinimumObjective || share >= 1 {
		v.fault(key, "is %g; write a share of at least %g and below 1: under it the fast alert could never fire", share, MinimumObjective)
	}
}

// receiver judges where a contact's alerts go.
func (v *validator) receiver(key string, c Contact, cfg *Config) {
	v.plainURL(key+".webhook", c.Webhook, key+".webhook_token_file")
	v.secretFile(key+".webhook_token_file", c.WebhookTokenFile)
	v.secretFile(key+".chat_url_file", c.ChatURLFile)
	if c.WebhookTokenFile != "" && c.Webhook == "" {
		v.fault(key+".webhook_token_file", "belongs to a webhook that is not there; write %s.webhook", key)
	}
	if cfg.Monitoring.Alertmanager == "" || c.Webhook != "" || c.ChatURLFile != "" || v.has(v.at+"."+key+".webhook") {
		return
	}
	switch {
	case c.Email == "":
		v.fault(key, "has no address that an alert could be sent to; write email, webhook or chat_url_file")
	case cfg.Alerts.SMTP.Host == "":
		v.fault(key+".email", "cannot be written to without alerts.smtp.host; write that, or a webhook or chat_url_file")
	}
}

// plainURL is one that is written into files which are committed: it holds
// nothing that opens a door. A token goes into a file, which a key of its own
// names.
func (v *validator) plainURL(key, raw, tokenFile string) {
	switch u := v.url(key, raw, false, "http", "https"); {
	case u == nil:
	case u.User != nil:
		v.fault(key, "holds a user, and would be committed; write the address alone, and a token into the file of %s", tokenFile)
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		v.fault(key, "holds a query, where tokens stand, and would be committed; write the address alone, and a token into the file of %s", tokenFile)
	}
}

func (v *validator) secretFile(key, path string) {
	switch {
	case strings.Contains(path, "://"): // not shown: it may be the secret itself
		v.fault(key, "is an address; write the absolute path of a file that holds it")
	case path != "":
		v.absolute(key, path)
	}
}
