package monitoring

import (
	"fmt"
	"regexp"
	"strconv"
)

// atAGlance is what to look at first.
var atAGlance = section{"ETF data", []panel{
	number.of("Since the last successful update", "s", "Prices come once a working day. While no process knows of an update there is nothing to show.",
		query{`time() - max(etf_last_update_timestamp > 0)`, ""}).above(26*3600, 50*3600).none("never"),
	number.of("Updates running", "short", "", query{`sum(etf_active_updates)`, ""}),
	number.of("Updates that failed", "percentunit", "Of those that ended in the time shown.",
		query{`sum(increase(etf_updates_total{status="failed"}[$__range])) / (sum(increase(etf_updates_total[$__range])) > 0)`, ""}).above(0.05, 0.5).none("no updates"),
	number.of("Errors", "short", "In the time shown, of all kinds.", query{`sum(increase(etf_errors_total[$__range]))`, ""}).above(1, 100),
}}

// updates is how the service's updates go.
var updates = section{"Updates", []panel{
	course.of("Updates by outcome", "opm", "Updates that ended, per minute.",
		query{`sum by (status) (rate(etf_updates_total[$__rate_interval])) * 60`, "{{status}}"}),
	course.of("Errors by kind", "opm", "Errors in updates, per minute.",
		query{`sum by (error_type) (rate(etf_errors_total[$__rate_interval])) * 60`, "{{error_type}}"}),
	course.of("Duration of updates", "s", "",
		quantile(0.5), quantile(0.9), quantile(0.99),
		query{`sum(rate(etf_update_duration_seconds_sum[$__rate_interval])) / sum(rate(etf_update_duration_seconds_count[$__rate_interval]))`, "mean"}),
	density.of("Durations, how many of each", "short", "",
		query{`sum by (le) (increase(etf_update_duration_seconds_bucket[$__rate_interval]))`, "{{le}}"}),
	course.of("Failing and incomplete updates", "percentunit", "As a share of all that ended.",
		query{`sum by (status) (rate(etf_updates_total{status!="completed"}[$__rate_interval])) / ignoring(status) group_left() sum(rate(etf_updates_total[$__rate_interval]))`, "{{status}}"}),
	course.of("Age of the newest update", "s", "", query{`time() - max(etf_last_update_timestamp > 0)`, "age"}),
	course.of("Updates running by machine", "short", "", query{`sum by (instance) (etf_active_updates)`, "{{instance}}"}).wide(gridWidth),
}}

func quantile(q float64) query {
	return query{fmt.Sprintf(`histogram_quantile(%g, sum by (le) (rate(etf_update_duration_seconds_bucket[$__rate_interval])))`, q), fmt.Sprintf("%g %%", q*100)}
}

// queue is what waits for workers, as the broker tells, or Celery's exporter.
func queue(e Environment) section {
	name := strconv.Quote(e.Queue)
	s := section{title: "Queue and workers"}
	add := func(p panel) { s.panels = append(s.panels, p) }
	switch {
	case e.Collects(JobRabbitMQ):
		add(course.of("Tasks in the queue", "short", "Waiting for a worker, and taken by one but not done.",
			query{fmt.Sprintf(`sum(rabbitmq_queue_messages_ready{queue=%s})`, name), "waiting"},
			query{fmt.Sprintf(`sum(rabbitmq_queue_messages_unacked{queue=%s})`, name), "taken"}))
		add(course.of("Workers at the queue", "short", "Connections that take tasks from it.",
			query{fmt.Sprintf(`sum(rabbitmq_queue_consumers{queue=%s})`, name), "workers"}))
	case e.Collects(JobCelery):
		add(course.of("Tasks in the queue", "short", "Waiting for a worker.",
			query{fmt.Sprintf(`sum(celery_queue_length{queue_name=%s})`, name), "waiting"}))
	case e.Collects(JobRedis):
		add(course.of("Tasks in the queue", "short", "Waiting for a worker. redis_exporter needs --check-single-keys for it.",
			query{fmt.Sprintf(`sum(redis_key_size{key=%s})`, name), "waiting"}))
	}
	if e.Collects(JobCelery) {
		add(course.of("Workers that answer", "short", "", query{`max by (hostname) (celery_worker_up)`, "{{hostname}}"}))
		add(course.of("Tasks that workers are at", "short", "", query{`max by (hostname) (celery_worker_tasks_active)`, "{{hostname}}"}))
	}
	return s
}

// suiteMetric is the name of one of the suite's metrics in an expression.
var suiteMetric = regexp.MustCompile(`etf_deploy_\w+`)

// deployments is what this program says of itself.
func deployments(e Environment) section {
	ask := func(expr, legend string) query {
		return query{suiteMetric.ReplaceAllStringFunc(expr, e.ofSuite), legend}
	}
	return section{"Deployments and rollbacks", []panel{
		number.of("Last operation of each kind", "dateTimeFromNow", "", ask(`max by (kind, outcome) (etf_deploy_last_operation_timestamp_seconds) * 1000`, "{{kind}} {{outcome}}")).wide(12),
		number.of("Operation begun and not ended", "bool_yes_no", "", ask(`max(etf_deploy_interrupted)`, "")).above(0.5, 1),
		number.of("That operation is silent for", "s", "Below zero: it is kept for its next stage.", ask(`(time() - max(etf_deploy_heard_timestamp_seconds > 0)) or max(etf_deploy_heard_timestamp_seconds)`, "")).above(90, 120),
		number.of("Updates paused for", "s", "", ask(`(time() - max(etf_deploy_updates_paused_timestamp_seconds > 0)) or max(etf_deploy_updates_paused_timestamp_seconds)`, "")).above(3600, 4*3600),
		bars.of("Steps of the last operation", "s", "", ask(`max by (step, outcome) (etf_deploy_step_duration_seconds)`, "{{step}} {{outcome}}")),
		course.of("Duration of operations", "s", "", ask(`max by (kind, outcome) (etf_deploy_last_operation_duration_seconds)`, "{{kind}} {{outcome}}")),
		number.of("Stopped in the last cut-over", "s", "", ask(`max by (part) (etf_deploy_stopped_seconds)`, "{{part}}")).above(300, 7200),
		number.of("Waited for running tasks", "s", "", ask(`max(etf_deploy_drained_seconds)`, "")),
		number.of("Rollbacks", "short", "Among the operations on record.", ask(`max(etf_deploy_rollbacks)`, "")),
		number.of("Rows restored by the last repair", "short", "", ask(`max(etf_deploy_rows_restored)`, "")),
		number.of("Age of the newest proven backup", "s", "", ask(`time() - max(etf_deploy_backup_timestamp_seconds > 0)`, "")).above(26*3600, 50*3600).none("none").wide(12),
		number.of("Size of the newest proven backup", "bytes", "", ask(`max(etf_deploy_backup_bytes)`, "")).wide(12),
	}}
}

// servers is what the service lives with, as their exporters tell.
func servers(e Environment) section {
	s := section{title: "What the service lives with"}
	for _, one := range []struct {
		job   string
		panel panel
	}{
		{JobPostgres, course.of("PostgreSQL: sessions", "short", "By state.", query{`sum by (state) (pg_stat_activity_count)`, "{{state}}"})},
		{JobPostgres, course.of("PostgreSQL: size", "bytes", "", query{`max by (datname) (pg_database_size_bytes)`, "{{datname}}"})},
		{JobRedis, course.of("Redis: memory", "bytes", "", query{`max by (instance) (redis_memory_used_bytes)`, "{{instance}}"})},
		{JobRedis, course.of("Redis: clients", "short", "", query{`max by (instance) (redis_connected_clients)`, "{{instance}}"})},
		{JobRabbitMQ, course.of("RabbitMQ: memory", "bytes", "", query{`sum by (instance) (rabbitmq_process_resident_memory_bytes)`, "{{instance}}"})},
		{JobNode, course.of("Machines: processor", "percentunit", "In use.",
			query{`1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[$__rate_interval]))`, "{{instance}}"})},
		{JobNode, course.of("Machines: memory", "percentunit", "In use.",
			query{`1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes`, "{{instance}}"})},
		{JobNode, course.of("Machines: disk", "percentunit", "In use.",
			query{`1 - node_filesystem_avail_bytes{fstype!~"tmpfs|overlay|squashfs"} / node_filesystem_size_bytes`, "{{instance}} {{mountpoint}}"})},
	} {
		if e.Collects(one.job) {
			s.panels = append(s.panels, one.panel)
		}
	}
	return s
}

// watching is whether what is shown, and what would call somebody, works.
func watching(e Environment) section {
	s := section{title: "Monitoring itself"}
	if len(e.Jobs) == 0 {
		return s
	}
	s.panels = []panel{
		number.of("Targets that answer", "bool_yes_no", "", query{`min by (job) (up)`, "{{job}}"}).below(1, 0.5).wide(gridWidth),
		number.of("Alerts that fire", "short", "Without the watchdog, which always does.", query{`count(ALERTS{alertstate="firing",alertname!="Watchdog"}) or vector(0)`, ""}).above(1, 1).wide(8),
	}
	if e.Collects(JobPrometheus) {
		s.panels = append(s.panels, number.of("Rules that could not be judged", "short", "In the time shown.",
			query{`sum(increase(prometheus_rule_evaluation_failures_total[$__range]))`, ""}).above(1, 1).wide(8))
	}
	if e.Collects(JobAlertmanager) {
		s.panels = append(s.panels, number.of("Notifications that failed", "short", "In the time shown.",
			query{`sum(increase(alertmanager_notifications_failed_total[$__range]))`, ""}).above(1, 1).wide(8))
	}
	return s
}
