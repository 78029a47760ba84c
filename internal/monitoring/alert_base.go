package monitoring

import (
	"fmt"
	"slices"
	"time"
)

// watched are the jobs whose targets an alert can tell of: not Prometheus
// itself, whose rules are not looked at when it is down (Watchdog is for that).
func watched(e Environment) []Job {
	return slices.DeleteFunc(slices.Clone(e.Jobs), func(j Job) bool { return j.Name == JobPrometheus })
}

// urgent are the jobs without which the service does not work.
var urgent = []string{JobService, JobWorker}

func targetDown(e Environment) Alert {
	hold := e.hold("TargetDown", 2*time.Minute)
	at := e.at(1, hold)
	a := Alert{
		Name: "TargetDown", Severity: Warning, For: hold,
		Summary:     "{{ $labels.job }} does not answer Prometheus",
		Description: "{{ $labels.instance }} of the job {{ $labels.job }} cannot be collected since " + promDuration(hold) + "; without an instance, Prometheus does not know the job any more. What follows from its metrics is not known.",
		Runbook: Section{
			Means: "Prometheus gets no metrics from a target, or has lost the job from its configuration. Of etf_service: the API is down, or not reachable from there; this calls everybody. Of an exporter: alerts that rest upon it are blind.",
			Look: []string{
				"`verify:api`: does the API answer from the host itself?",
				"`services:status`: which processes run.",
				"The page Status → Targets in Prometheus: the error of the last try.",
				"`monitoring:generate -check`: is the configuration that Prometheus should run with the generated one?",
			},
			Run: []string{
				"The API is down: `services:start`; since a deployment: `rollback:immediate`.",
				"An exporter is down: start it on its machine.",
			},
		},
		Missing: "",
	}
	if len(watched(e)) == 0 {
		a.Missing = "no job is collected"
		return a
	}
	for _, j := range watched(e) {
		r := AlertRule{Expr: fmt.Sprintf("up{job=%[1]s} == 0 or absent(up{job=%[1]s})", promString(j.Name)), Labels: map[string]string{"job": j.Name}}
		if slices.Contains(urgent, j.Name) {
			r.Severity = Critical
		}
		a.Rules = append(a.Rules, r)
	}
	if e.Collects(JobService) {
		a.Inhibits = []string{"MetricsInconsistent", "UpdateStuck", "UpdatesFailing", "HighErrorRate",
			"ErrorBudgetBurnFast", "ErrorBudgetBurnSlow"}
	}
	var up []Series
	for _, j := range watched(e) {
		up = append(up, e.from(j.Name, "up", flat(1, forever)))
	}
	first := watched(e)[0]
	instance := map[string]string{"job": first.Name, "instance": e.instance(first.Name)}
	down := Scenario{Name: "the first target does not answer", At: at, Fires: []Firing{{Alert: a.Name, Labels: instance}},
		Series: append([]Series{e.from(first.Name, "up", flat(0, forever))}, up[1:]...)}
	lost := Scenario{Name: "Prometheus has lost a job", At: at, Fires: []Firing{{Alert: a.Name, Labels: map[string]string{"job": first.Name}}}, Series: up[1:]}
	a.Fires = []Scenario{down, lost}
	a.Silent = []Scenario{{Name: "the first target restarts", At: at, Series: append([]Series{e.from(first.Name, "up", then(flat(0, e.steps(hold)-1), flat(1, forever)))}, up[1:]...)}}
	return a
}

// A need is a series without which other alerts are silent.
type need struct {
	job, metric string
	labels      []string
}

// essential are the series that the alerts of an environment rest upon.
func essential(e Environment) (all []need) {
	if e.Collects(JobService) {
		for _, m := range []string{"etf_updates_total", "etf_errors_total", "etf_active_updates", "etf_last_update_timestamp"} {
			all = append(all, need{job: JobService, metric: m})
		}
	}
	for _, g := range []gauge{workersOf(e), queueOf(e)} {
		// celery-exporter knows no queue before it has seen a worker: that is NoWorkers.
		if g.missing == "" && g.job != JobWorker && g.job != JobCelery {
			all = append(all, need{job: g.job, metric: g.metric, labels: g.labels})
		}
	}
	if suiteMissing(e) == "" {
		for _, m := range []string{"etf_deploy_backup_timestamp_seconds", "etf_deploy_updates_paused_timestamp_seconds", "etf_deploy_heard_timestamp_seconds"} {
			all = append(all, need{job: suiteJob(e), metric: m})
		}
	}
	return all
}

func metricsMissing(e Environment) Alert {
	hold := e.hold("MetricsMissing", 10*time.Minute)
	at := e.at(1, hold)
	a := Alert{
		Name: "MetricsMissing", Severity: Warning, For: hold,
		Summary:     "{{ $labels.metric }} is not collected",
		Description: "The target answers, and {{ $labels.metric }} is not in what it says since " + promDuration(hold) + ". Alerts that look at it stay silent whatever happens.",
		Runbook: Section{
			Means: "A metric that alerts rest upon has been renamed, lost a label, or is not exposed by this release. The service may be perfectly well; nobody would hear if it were not.",
			Look: []string{
				"`verify:metrics`: which of the service's metrics are missing.",
				"A metric that begins with `etf_deploy_` comes from this suite: has it run since the metrics were configured?",
				"`rabbitmq_` with a queue: does Prometheus ask for `/metrics/per-object`? The default path knows no queues.",
			},
			Run: []string{
				"The release lost it: `monitoring:generate` writes the module that has all of them, `monitoring/metrics.py`.",
				"The suite's: `backup:create` writes them again.",
			},
		},
	}
	needs := essential(e)
	if len(needs) == 0 {
		a.Missing = "no job is collected whose metrics alerts rest upon"
		return a
	}
	var all []Series
	for _, n := range needs {
		selector := n.metric
		if len(n.labels) > 0 {
			selector += fmt.Sprintf("{%s=%s}", n.labels[0], promString(n.labels[1]))
		}
		a.Rules = append(a.Rules, AlertRule{Labels: map[string]string{"metric": n.metric},
			Expr: fmt.Sprintf("max(absent(%s) and on () max(up{job=%s}) == 1)", selector, promString(n.job))})
		all = append(all, e.from(n.job, n.metric, flat(1, forever), n.labels...))
	}
	up := e.from(needs[0].job, "up", flat(1, forever))
	a.Fires = []Scenario{{Name: "the target answers without one of its metrics", At: at, Series: append([]Series{up}, all[1:]...),
		Fires: []Firing{{Alert: a.Name, Labels: map[string]string{"metric": needs[0].metric}}}}}
	a.Silent = []Scenario{
		{Name: "all metrics are there", At: at, Series: append([]Series{up}, all...)},
		{Name: "the target itself is down", At: at, Series: []Series{e.from(needs[0].job, "up", flat(0, forever))}},
	}
	return a
}

func metricsInconsistent(e Environment) Alert {
	hold := e.hold("MetricsInconsistent", 5*time.Minute)
	at := e.at(0, e.resetsWindow(), hold)
	resets, process := map[string]string{"reason": "counters-fall"}, map[string]string{"reason": "series-per-process"}
	return Alert{
		Name: "MetricsInconsistent", Severity: Warning, For: hold,
		Rules: []AlertRule{
			{Expr: fmt.Sprintf("%s > %d", recordResets, resetsInRow), Labels: resets},
			{Expr: `count(etf_active_updates{pid!=""}) > 0`, Labels: process},
		},
		Summary:     "The service's metrics cannot be trusted: {{ $labels.reason }}",
		Description: "counters-fall: they go down again and again, as when two processes answer in turn, or one restarts all the time. series-per-process: gauges carry a pid, and one of a process that was killed never changes again.",
		Runbook: Section{
			Means: "The service runs in several processes and exposes the metrics of single ones. Rates are then wrong by orders of magnitude, in either direction; alerts on rates are held back while this lasts.",
			Look: []string{
				"`resets(etf_updates_total[5m])` and `etf_active_updates` in Prometheus.",
				"`services:status`: does a process restart all the time?",
				"The variable PROMETHEUS_MULTIPROC_DIR of the API's and the workers' processes: is it the same folder for all, and does it exist?",
			},
			Run: []string{
				"Use the metrics module that `monitoring:generate` writes, `monitoring/metrics.py`: it sums up over processes.",
				"A process dies again and again since a deployment: `rollback:immediate`.",
			},
		},
		Inhibits: []string{"UpdateStuck"},
		Fires: []Scenario{
			{Name: "scrapes alternate between two processes", At: at, Every: e.collected(),
				Series: []Series{e.of("etf_updates_total", e.alternating(at, 1000, 10), "status", "completed")},
				Fires:  []Firing{{Alert: "MetricsInconsistent", Labels: resets}}},
			{Name: "a gauge for each process", At: at, Series: []Series{e.of("etf_active_updates", flat(1, forever), "pid", "4711")},
				Fires: []Firing{{Alert: "MetricsInconsistent", Labels: process}}},
		},
		Silent: []Scenario{{Name: "one restart, and a gauge that is summed up", At: at, Series: []Series{
			e.of("etf_updates_total", then(grow(1000, 1, e.steps(e.resetsWindow())), grow(0, 1, forever)), "status", "completed"),
			e.of("etf_active_updates", flat(1, forever))}}},
	}
}

func notificationsFailing(e Environment) Alert {
	hold, w := e.hold("NotificationsFailing", 5*time.Minute), e.window(15*time.Minute)
	at := e.at(0, w, hold)
	a := Alert{
		Name: "NotificationsFailing", Severity: Warning, For: hold,
		Rules:       one(fmt.Sprintf("sum by (integration) (increase(alertmanager_notifications_failed_total[%s])) > 1", promDuration(w))),
		Summary:     "Alerts do not arrive by {{ $labels.integration }}",
		Description: "Alertmanager could not deliver notifications by {{ $labels.integration }} within the last " + promDuration(w) + ". It goes on trying; whoever is called by other ways still hears.",
		Runbook: Section{
			Means: "Somebody who should have been called was not. The way by which you have heard of this one works.",
			Look: []string{
				"Alertmanager's log: which receiver, and what it answered.",
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
	a.Fires = []Scenario{{Name: "a receiver refuses", At: at, Fires: []Firing{{Alert: a.Name, Labels: map[string]string{"integration": "webhook"}}},
		Series: []Series{e.from(JobAlertmanager, "alertmanager_notifications_failed_total", grow(0, 2, forever), "integration", "webhook")}}}
	a.Silent = []Scenario{{Name: "a receiver has refused, long ago", At: at,
		Series: []Series{e.from(JobAlertmanager, "alertmanager_notifications_failed_total", flat(40, forever), "integration", "webhook")}}}
	return a
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
