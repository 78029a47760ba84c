package monitoring

import (
	"fmt"
	"slices"
	"time"
)

// A need is a series without which other alerts are silent.
type need struct {
	job, metric string
	labels      []string
	// each target of the job has it: one that lacks it is not made up for by the
	// others, as the API's zeros are not what a worker counts. Otherwise one of
	// them does.
	each bool
}

// essential are the series that the alerts of an environment rest upon.
func essential(e Environment) (all []need) {
	for _, job := range []string{JobService, JobWorker} {
		for _, m := range []string{"etf_updates_total", "etf_errors_total", "etf_active_updates", "etf_last_update_timestamp"} {
			all = append(all, need{job: job, metric: m, each: true})
		}
	}
	for _, d := range dependencies {
		all = append(all, need{job: d.job, metric: d.metric, each: true})
	}
	all = slices.DeleteFunc(all, func(n need) bool { return !e.Collects(n.job) })
	for _, g := range []gauge{workersOf(e), queueOf(e)} {
		// celery-exporter knows no queue before it has seen a worker: that is NoWorkers.
		if g.missing == "" && g.job != JobCelery {
			all = append(all, need{job: g.job, metric: g.metric, labels: g.labels})
		}
	}
	if suiteMissing(e) == "" {
		for _, m := range []string{"etf_deploy_backup_timestamp_seconds", "etf_deploy_updates_paused_timestamp_seconds", "etf_deploy_heard_timestamp_seconds"} {
			all = append(all, need{job: e.SuiteJob, metric: m, labels: []string{labelEnvironment, e.Name}})
		}
	}
	return all
}

// expr holds while a job answers without what is needed of it.
func (n need) expr() string {
	if n.each {
		return fmt.Sprintf("count by (job) (up{job=%s} == 1 unless on (job, instance) %s)", promString(n.job), n.metric)
	}
	return fmt.Sprintf("max(absent(%s{%s=%s}) and on () max(up{job=%s}) == 1)", n.metric, n.labels[0], promString(n.labels[1]), promString(n.job))
}

// series are those of the need at the job's targets, but for the last ones.
func (n need) series(e Environment, without int) (all []Series) {
	if !n.each {
		if without > 0 {
			return nil
		}
		if n.job == e.SuiteJob {
			return []Series{e.suite(n.metric, flat(1, forever))}
		}
		return []Series{e.from(n.job, n.metric, flat(1, forever), n.labels...)}
	}
	all = e.all(n.job, n.metric, flat(1, forever))
	return all[:len(all)-without]
}

func metricsMissing(e Environment) Alert {
	hold := e.hold("MetricsMissing", 10*time.Minute)
	at := e.at(1, hold)
	a := Alert{
		Name: "MetricsMissing", Severity: Warning, For: hold,
		Summary:     "{{ $labels.metric }} is not collected from {{ $labels.job }}",
		Description: "A target of the job {{ $labels.job }} answers, and {{ $labels.metric }} is not in what it says since " + promDuration(hold) + ". Alerts that look at it do not see what happens there.",
		Runbook: Section{
			Means: "A metric that alerts rest upon has been renamed, lost a label, or is not exposed by this release. The service may be perfectly well; nobody would hear if it were not.",
			Look: []string{
				"The job's targets on the page Status → Targets in Prometheus, and what each of them answers.",
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
	whole := Scenario{Name: "all metrics are there", At: at}
	down := Scenario{Name: "nothing answers", At: at}
	for i, n := range needs {
		labels := map[string]string{"job": n.job, "metric": n.metric}
		a.Rules = append(a.Rules, AlertRule{Labels: labels, Expr: n.expr()})
		if i == 0 || needs[i-1].job != n.job {
			whole.Series = append(whole.Series, e.all(n.job, "up", flat(1, forever))...)
			down.Series = append(down.Series, e.all(n.job, "up", flat(0, forever))...)
		}
		whole.Series = append(whole.Series, n.series(e, 0)...)
		a.Fires = append(a.Fires, Scenario{Name: n.job + " answers without " + n.metric, At: at,
			Series: without(e, needs, n), Fires: []Firing{{Alert: a.Name, Labels: labels}}})
	}
	a.Silent = []Scenario{whole, down}
	return a
}

// without is a job whose last target lacks one of its metrics, which others
// have: that of another job, or of another environment.
func without(e Environment, needs []need, lacks need) []Series {
	all := e.all(lacks.job, "up", flat(1, forever))
	for _, n := range needs {
		switch {
		case n.job == lacks.job && n.metric == lacks.metric:
			all = append(all, n.series(e, 1)...)
			if n.each {
				all = append(all, e.from("another", n.metric, flat(1, forever)))
			} else if n.job == e.SuiteJob {
				all = append(all, e.neighbour(n.metric, flat(1, forever)))
			}
		case n.job == lacks.job:
			all = append(all, n.series(e, 0)...)
		}
	}
	return all
}

func metricsInconsistent(e Environment) Alert {
	hold := e.hold("MetricsInconsistent", 5*time.Minute)
	at := e.at(0, e.resetsWindow(), hold)
	resets, process := map[string]string{"reason": "counters-fall"}, map[string]string{"reason": "series-per-process"}
	return Alert{
		Name: "MetricsInconsistent", Severity: Warning, For: hold,
		Rules: []AlertRule{
			{Expr: fmt.Sprintf("%s > %d", recordResets, resetsInRow), Labels: resets},
			{Expr: `count(etf_active_updates{pid!=""})`, Labels: process},
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
		Fires: []Scenario{
			{Name: "scrapes alternate between two processes", At: at, Every: e.collected(),
				Series: []Series{e.of("etf_updates_total", e.alternating(at, 1000, 10), "status", "completed")},
				Fires:  []Firing{{Alert: "MetricsInconsistent", Labels: resets}}},
			{Name: "a gauge for each process", At: at, Series: []Series{e.of("etf_active_updates", flat(1, forever), "pid", "4711")},
				Fires: []Firing{{Alert: "MetricsInconsistent", Labels: process}}},
		},
		Silent: []Scenario{
			{Name: "one restart, and a gauge that is summed up", At: at, Series: []Series{
				e.of("etf_updates_total", then(grow(1000, 1, e.steps(e.resetsWindow())), grow(0, 1, forever)), "status", "completed"),
				e.of("etf_active_updates", flat(1, forever))}},
		},
	}
}
