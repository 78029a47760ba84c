package monitoring

import (
	"fmt"
	"time"
)

// A gauge is where one number can be had from in an environment.
type gauge struct {
	expr    string
	job     string // whose metric it is
	metric  string
	labels  []string // of the series that counts, for tests
	missing string   // why it cannot be had
}

// workersOf is how many workers take tasks from the queue, from the best
// source that is collected. The service's own metrics cannot tell: without
// workers they stand still, as they do when there is nothing to do, and what
// exposes them on a machine with workers is a process of its own.
func workersOf(e Environment) gauge {
	switch {
	case e.Collects(JobCelery):
		// The exporter knows a queue from the workers that it has seen.
		return exporterGauge(e, JobCelery, "celery_active_worker_count", "queue_name", true)
	case e.Collects(JobRabbitMQ):
		return exporterGauge(e, JobRabbitMQ, "rabbitmq_queue_consumers", "queue", false)
	}
	return gauge{missing: "no job celery or rabbitmq is collected, and the service's own metrics do not count workers"}
}

// queueOf is how many tasks wait in the queue.
func queueOf(e Environment) gauge {
	switch {
	case e.Collects(JobCelery):
		return exporterGauge(e, JobCelery, "celery_queue_length", "queue_name", false)
	case e.Collects(JobRabbitMQ):
		return exporterGauge(e, JobRabbitMQ, "rabbitmq_queue_messages_ready", "queue", false)
	}
	return gauge{missing: "no job celery or rabbitmq is collected, and the service's own metrics do not know the queue"}
}

// exporterGauge is the sum of an exporter's series for the queue; with zero,
// it is 0 while the exporter answers and has none.
func exporterGauge(e Environment, job, metric, label string, zero bool) gauge {
	g := gauge{expr: fmt.Sprintf("sum(%s{%s=%s})", metric, label, promString(e.Queue)), job: job, metric: metric, labels: []string{label, e.Queue}}
	if zero {
		g.expr += fmt.Sprintf(" or (max(up{job=%s}) == 1) - 1", promString(job))
	}
	return g
}

func (g gauge) series(e Environment, v Values) Series { return e.from(g.job, g.metric, v, g.labels...) }

func noWorkers(e Environment) Alert {
	w := workersOf(e)
	hold := e.hold("NoWorkers", 5*time.Minute)
	at := e.at(0, hold)
	a := Alert{
		Name: "NoWorkers", Severity: Critical, For: hold, Missing: w.missing,
		Rules:       one(recordWorkers + " == 0"),
		Summary:     "No worker takes ETF updates",
		Description: "No worker takes tasks from the queue " + plain(e.Queue) + " since " + promDuration(hold) + ": updates are accepted and not carried out.",
		Runbook: Section{
			Means: "Every worker is gone, or has lost the broker. The API goes on accepting updates; they wait in the queue, and nothing is lost as long as the broker keeps it.",
			Look: []string{
				"`services:status`: which processes run, and on which release.",
				"`deps:celery`: which workers answer.",
				"`verify:logs`: why they ended.",
			},
			Run: []string{
				"`status` first: a deployment that was interrupted has stopped them on purpose, and `resume` brings them back.",
				"`services:start` starts workers and scheduler on the live release.",
				"They start and die at once since a deployment: `rollback:immediate`.",
			},
		},
		Inhibits: []string{"QueueGrowing"},
	}
	if w.missing != "" {
		return a
	}
	up := e.from(w.job, "up", flat(1, forever))
	fires := func(name string, series ...Series) Scenario {
		return Scenario{Name: name, At: at, Series: series, Fires: []Firing{{Alert: a.Name}}}
	}
	a.Fires = []Scenario{fires("the last worker is gone", up, w.series(e, flat(0, forever)))}
	a.Silent = []Scenario{
		{Name: "one worker is left", At: at, Series: []Series{up, w.series(e, flat(1, forever))}},
		{Name: "workers restart", At: at, Series: []Series{up, w.series(e, then(flat(0, e.steps(hold)-1), flat(2, forever)))}},
	}
	if w.job == JobCelery {
		a.Fires = append(a.Fires, fires("the exporter started after the last worker was gone, and knows of no queue", up))
		a.Silent = append(a.Silent, Scenario{Name: "the exporter itself is down", At: at, Series: []Series{e.from(w.job, "up", flat(0, forever))}})
	}
	return a
}

func queueGrowing(e Environment) Alert {
	q := queueOf(e)
	hold, w := e.hold("QueueGrowing", 5*time.Minute), e.window(15*time.Minute)
	k, limit := e.steps(w)+e.steps(hold), float64(e.Alerts.QueueDepth)
	at := e.at(2, w, hold)
	a := Alert{
		Name: "QueueGrowing", Severity: Warning, For: hold, Missing: q.missing,
		Rules: one(fmt.Sprintf("%[1]s\nand on () min_over_time(%[1]s[%[3]s]) > %[2]d\nand on () delta(%[1]s[%[3]s]) >= 0",
			recordQueue, e.Alerts.QueueDepth, promDuration(w))),
		Summary: "ETF updates come faster than they are carried out",
		Description: fmt.Sprintf(`{{ $value | printf "%%.0f" }} tasks wait in the queue %s, more than %d for %s, and they do not become fewer.`,
			plain(e.Queue), e.Alerts.QueueDepth, promDuration(w)),
		Runbook: Section{
			Means: "More updates are asked for than the workers get done. A long queue that becomes shorter, as after the daily start, is none of this alert's business.",
			Look: []string{
				"`verify:tasks`: are all workers there, and what do they do?",
				"`histogram_quantile(0.9, sum by (le) (rate(etf_update_duration_seconds_bucket[15m])))` in Prometheus: do updates take longer than they used to?",
				"`verify:performance`: does the database slow them down?",
			},
			Run: []string{
				"A worker is missing: `services:start`.",
				"The price source is slow: wait, or `updates:pause` until it is not.",
			},
		},
	}
	if q.missing != "" {
		return a
	}
	up := e.from(q.job, "up", flat(1, forever))
	a.Fires = []Scenario{
		{Name: "the queue is long and grows", At: at, Series: []Series{up, q.series(e, grow(limit+10, 5, forever))},
			Fires: []Firing{{Alert: a.Name, Value: limit + 10 + 5*float64(e.steps(at))}}},
		{Name: "the queue stays as long as it is", At: at, Series: []Series{up, q.series(e, flat(limit+1, forever))},
			Fires: []Firing{{Alert: a.Name, Value: limit + 1}}},
	}
	a.Silent = []Scenario{
		{Name: "a long queue becomes shorter", At: at, Series: []Series{up, q.series(e, grow(limit+10+20*float64(k), -5, forever))}},
		{Name: "a queue of exactly the length that is allowed", At: at, Series: []Series{up, q.series(e, flat(limit, forever))}},
		{Name: "many tasks at once, soon done", At: at, Series: []Series{up, q.series(e, then(flat(0, k-2), flat(limit*5, forever)))}},
	}
	return a
}
