package monitoring

import "slices"

// Exporters are the metrics that we ask others for, by the job that exposes
// them; "" are those that Prometheus makes for each job, or for its rules.
var Exporters = map[string][]string{
	"":          {"up", "ALERTS", "ALERTS_FOR_STATE", "scrape_samples_scraped"},
	JobRedis:    {"redis_up", "redis_memory_used_bytes", "redis_connected_clients", "redis_key_size"},
	JobPostgres: {"pg_up", "pg_stat_activity_count", "pg_database_size_bytes"},
	JobRabbitMQ: {"rabbitmq_queue_messages_ready", "rabbitmq_queue_messages_unacked", "rabbitmq_queue_consumers",
		"rabbitmq_process_resident_memory_bytes"},
	JobNode: {"node_cpu_seconds_total", "node_memory_MemAvailable_bytes", "node_memory_MemTotal_bytes",
		"node_filesystem_avail_bytes", "node_filesystem_size_bytes"},
	JobCelery:      {"celery_queue_length", "celery_active_worker_count", "celery_worker_up", "celery_worker_tasks_active"},
	JobPushgateway: {"push_time_seconds"},
	JobPrometheus: {"prometheus_rule_evaluation_failures_total", "prometheus_notifications_dropped_total",
		"prometheus_notifications_errors_total"},
	JobAlertmanager: {"alertmanager_notifications_total", "alertmanager_notifications_failed_total"},
}

// Known reports whether an environment has somebody who exposes a series: the
// service, this program, or an exporter that is collected.
func (e Environment) Known(series string) bool {
	if m, ok := Find(series); ok {
		return m.Source == Suite && e.HearsTheSuite() || m.Source == Service && e.Collects(JobService, JobWorker)
	}
	for job, all := range Exporters {
		if slices.Contains(all, series) && (job == "" || e.Collects(job)) {
			return true
		}
	}
	return false
}

// exporterLabels are the labels that we know of the metrics of Exporters,
// beside those that Prometheus gives to each series.
var exporterLabels = map[string][]string{
	"up": {}, "scrape_samples_scraped": {},
	"ALERTS": {"alertname", "alertstate"}, "ALERTS_FOR_STATE": {"alertname"}, // and those of the rules
	"redis_up": {}, "redis_memory_used_bytes": {}, "redis_connected_clients": {}, "redis_key_size": {"db", "key"},
	"pg_up": {}, "pg_stat_activity_count": {"datname", "state"}, "pg_database_size_bytes": {"datname"},
	"rabbitmq_queue_messages_ready": {"queue", "vhost"}, "rabbitmq_queue_messages_unacked": {"queue", "vhost"},
	"rabbitmq_queue_consumers": {"queue", "vhost"}, "rabbitmq_process_resident_memory_bytes": {},
	"node_cpu_seconds_total": {"cpu", "mode"}, "node_memory_MemAvailable_bytes": {}, "node_memory_MemTotal_bytes": {},
	"node_filesystem_avail_bytes": {"device", "fstype", "mountpoint"}, "node_filesystem_size_bytes": {"device", "fstype", "mountpoint"},
	"celery_queue_length": {"queue_name"}, "celery_active_worker_count": {"queue_name"},
	"celery_worker_up": {"hostname"}, "celery_worker_tasks_active": {"hostname"},
	"push_time_seconds":                         {},
	"prometheus_rule_evaluation_failures_total": {"rule_group"}, "prometheus_notifications_dropped_total": {},
	"prometheus_notifications_errors_total": {"alertmanager"},
	"alertmanager_notifications_total":      {"integration"}, "alertmanager_notifications_failed_total": {"integration"},
}
