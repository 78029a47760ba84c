package monitoring

import (
	"cmp"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// Alerting is what the alerts of an environment need to know. Durations are
// scaled already.
type Alerting struct {
	Scale   float64
	Runbook string // address of RUNBOOK.md

	ErrorRate        float64 // a second
	FailedShare      float64
	MinUpdates       int
	StaleAfter       time.Duration
	StuckAfter       time.Duration
	BackupAge        time.Duration
	SuccessObjective float64
	FreshObjective   float64
	QueueDepth       int
	For              map[string]time.Duration // alert → how long it must hold

	Secondary  time.Duration
	Escalation time.Duration
	Interval   time.Duration
	Repeat     time.Duration

	Watchdog          string // URL; may be empty
	WatchdogTokenFile string
	SMTP              config.SMTP
	Contacts          []Contact // in calling order
}

// A Contact is one whom alerts are sent to.
type Contact struct {
	Level string // the name of its receiver: primary, secondary, escalation
	config.Contact
}

// alertingOf takes what concerns alerts from a configuration.
func alertingOf(c *config.Config, e Environment) Alerting {
	a := c.Alerts
	scaled := func(d time.Duration) time.Duration { return scale(d, a.Scale) }
	n := Alerting{
		Scale: a.Scale, Runbook: a.Runbook,
		ErrorRate: a.ErrorRate, FailedShare: a.FailedShare, MinUpdates: a.MinUpdates,
		StaleAfter: scaled(a.StaleAfter), StuckAfter: max(scaled(c.Thresholds.StuckAfter), 4*e.collected()), BackupAge: scaled(c.Thresholds.BackupAge),
		SuccessObjective: a.SuccessObjective, FreshObjective: a.FreshObjective, QueueDepth: a.QueueDepth,
		For:       map[string]time.Duration{},
		Secondary: scaled(a.Secondary), Escalation: scaled(a.Escalation), Interval: scaled(a.Interval), Repeat: scaled(a.Repeat),
		Watchdog: a.Watchdog, WatchdogTokenFile: a.WatchdogTokenFile, SMTP: a.SMTP,
	}
	for name, d := range a.For {
		n.For[name] = scaled(d)
	}
	for _, one := range c.Contacts.All() {
		n.Contacts = append(n.Contacts, Contact{one.Level, one.Contact})
	}
	return n
}

// scale shortens a duration, to whole milliseconds.
func scale(d time.Duration, by float64) time.Duration {
	short := time.Duration(float64(d) * by).Round(time.Millisecond)
	if d > 0 && short == 0 {
		return time.Millisecond
	}
	return short
}

// scaled shortens one of the catalog's own durations.
func (e Environment) scaled(d time.Duration) time.Duration {
	return scale(d, cmp.Or(e.Alerts.Scale, 1))
}

// window is the range that a rate is taken over: four collections or more,
// as with fewer one that failed leaves nothing to take it from.
func (e Environment) window(d time.Duration) time.Duration {
	return max(e.scaled(d), 4*e.collected())
}

// collected is the time between two collections of the service's metrics.
func (e Environment) collected() time.Duration {
	if j, ok := e.Job(JobService); ok {
		return j.Interval
	}
	return e.Interval
}

// hold is how long an alert must hold before it fires.
func (e Environment) hold(alert string, d time.Duration) time.Duration {
	if own, ok := e.Alerts.For[alert]; ok {
		return own
	}
	return e.scaled(d)
}
