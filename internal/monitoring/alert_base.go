package monitoring

import (
	"fmt"
	"time"
)

// rulesFailing is about what makes other alerts silent for good, and about
// nothing that is over soon: each evaluation within its duration has to fail.
func rulesFailing(e Environment) Alert {
	hold, w := e.hold("RulesFailing", 10*time.Minute), e.window(5*time.Minute)
	at := e.at(0, w, hold)
	a := Alert{
		Name: "RulesFailing", Severity: Warning, For: hold,
		Rules:       one(fmt.Sprintf("sum by (rule_group) (increase(prometheus_rule_evaluation_failures_total[%s])) > 0", promDuration(w))),
		Summary:     "Prometheus cannot judge all of its rules",
		Description: "Rules of the group {{ $labels.rule_group }} fail again and again since " + promDuration(hold) + ". Alerts of those rules stay silent whatever happens.",
		Runbook: Section{
			Means: "An expression cannot be evaluated with the series that there are now, such as two where one is expected, or it takes too long. Nobody would hear of what its alert is about.",
			Look: []string{
				"The page Status → Rule Health in Prometheus (Rules in versions before 3): the error of each rule.",
				"`verify:alerts`: are the rules those that are generated?",
			},
			Run: []string{
				"`alerts:generate` and `alerts:test`, then let Prometheus load the rules.",
				"Series are there twice, as of a target under two jobs: mend `monitoring.jobs` in deploy.yaml, then `monitoring:generate`.",
			},
		},
	}
	if !e.Collects(JobPrometheus) {
		a.Missing = "monitoring.prometheus is not configured"
		return a
	}
	failed := func(name string, v Values) Scenario {
		return Scenario{Name: name, At: at, Series: []Series{e.from(JobPrometheus, "prometheus_rule_evaluation_failures_total", v, "rule_group", "rules.yml;etf_service")}}
	}
	a.Fires = []Scenario{failed("a rule fails each time", grow(0, 1, forever))}
	a.Fires[0].Fires = []Firing{{Alert: a.Name, Labels: map[string]string{"rule_group": "rules.yml;etf_service"}}}
	a.Silent = []Scenario{
		failed("rules failed, once", then(flat(0, 2), flat(7, forever))),
		failed("no rule fails any more", flat(40, forever)),
	}
	return a
}

// notificationsFailing looks at both ways: from Prometheus to Alertmanager, and
// from there to the contacts.
func notificationsFailing(e Environment) Alert {
	hold := e.hold("NotificationsFailing", 5*time.Minute)
	// Alertmanager tries again after each alerts.interval; and what is counted
	// has to stay in sight for as long as the alert has to hold.
	w := max(e.window(15*time.Minute), 3*e.Alerts.Interval, 2*hold)
	at := e.at(0, w, hold)
	a := Alert{
		Name: "NotificationsFailing", Severity: Warning, For: hold,
		Summary:     "Alerts do not arrive by {{ $labels.integration }}",
		Description: "Alertmanager could not deliver two notifications or more by {{ $labels.integration }} within the last " + promDuration(w) + ". It goes on trying; whoever is called by other ways still hears.",
		Runbook: Section{
			Means: "Somebody who should have been called was not. The way by which you have heard of this one works.",
			Look: []string{
				"Alertmanager's log: which receiver, and what it answered. Where Prometheus could not deliver to it, that one's log.",
				"`contacts`: is the address right?",
			},
			Run: []string{
				"Mend the address in deploy.yaml, then `alerts:generate`, `alerts:test`, and let Alertmanager load it.",
				"A token or URL has expired: renew the file on Alertmanager's host that deploy.yaml names.",
			},
		},
	}
	if !e.Collects(JobAlertmanager) {
		a.Missing = "monitoring.alertmanager is not configured"
		return a
	}
	const metric = "alertmanager_notifications_failed_total"
	// Collected at times that do not fit the range, as they never do, so that the
	// increase is extrapolated; and seen for as long as the alert has to hold.
	every := e.collected() * 14 / 15
	begin := int((at-w)/every) + 2
	refused := func(name string, times float64, more ...Firing) Scenario {
		return Scenario{Name: name, At: at, Every: every, Fires: more, Series: []Series{
			e.from(JobAlertmanager, metric, then(flat(7, begin), flat(7+times, forever)), "integration", "webhook")}}
	}
	if e.Collects(JobPrometheus) {
		a.dropped(e, at)
	}
	// Ranges are extrapolated: of one failure they make a little more than one.
	a.Rules = append(a.Rules, AlertRule{Expr: fmt.Sprintf("sum by (integration) (increase(%s[%s])) > 1.5", metric, promDuration(w))})
	a.Fires = append(a.Fires, refused("a receiver refuses twice", 2, Firing{Alert: a.Name, Labels: map[string]string{"integration": "webhook"}}))
	a.Silent = append(a.Silent, refused("a receiver has refused once", 1), refused("a receiver has refused, long ago", 0))
	return a
}

// dropped adds what Prometheus could not deliver to any Alertmanager. It sends
// what fires every minute: while Alertmanager restarts some are lost,
// and come again.
func (a *Alert) dropped(e Environment, at time.Duration) {
	const metric = "prometheus_notifications_dropped_total"
	w, labels := promDuration(e.window(2*time.Minute)), map[string]string{"integration": "alertmanager"}
	a.Rules = append(a.Rules, AlertRule{Labels: labels, Expr: fmt.Sprintf("sum(increase(%s[%s])) > 0", metric, w),
		Summary:     "Alerts do not arrive at Alertmanager",
		Description: "Prometheus drops alerts again and again since " + promDuration(a.For) + ", because Alertmanager does not take them, or not as fast as they come. Some still arrive, as this one did."})
	lost := func(name string, v Values, more ...Firing) Scenario {
		return Scenario{Name: name, At: at, Fires: more, Series: []Series{e.from(JobPrometheus, metric, v)}}
	}
	a.Fires = append(a.Fires, lost("Prometheus drops alerts all the time", grow(0, 1, forever), Firing{Alert: a.Name, Labels: labels}))
	// One that holds for less than it looks back fires after a restart, too.
	if a.For > e.window(2*time.Minute)+2*e.step() {
		a.Silent = append(a.Silent, lost("alerts were dropped while Alertmanager restarted",
			then(flat(0, e.steps(at)-e.steps(a.For)), flat(12, forever))))
	}
}

func watchdog(Environment) Alert {
	return Alert{
		Name: "Watchdog", Severity: None,
		Rules:       one("vector(1)"),
		Summary:     "Alerts are judged and delivered",
		Description: "This one always fires. Where it does not arrive any more, neither would any other.",
		Runbook: Section{
			Means: "Nothing is wrong while it fires. It goes to the dead man's switch of alerts.watchdog in deploy.yaml, which calls when it stops: then Prometheus or Alertmanager is down, or they do not reach each other.",
			Look: []string{
				"`verify:alerts`: are the rules loaded, and does Prometheus know its Alertmanager?",
			},
			Run: []string{
				"Start Prometheus or Alertmanager on its machine; `alerts:test` says what is wrong with their files.",
			},
		},
		Fires: []Scenario{{Name: "always", Fires: []Firing{{Alert: "Watchdog"}}}},
	}
}
