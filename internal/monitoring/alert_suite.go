package monitoring

import (
	"fmt"
	"time"
)

// suiteMissing says why the suite's own metrics do not reach Prometheus.
func suiteMissing(e Environment) string {
	if e.Collects(JobPushgateway, JobNode) {
		return ""
	}
	return "no job pushgateway or node is collected, so that the metrics of this suite do not reach Prometheus"
}

// suiteJob is a job that brings the suite's metrics.
func suiteJob(e Environment) string {
	if e.Collects(JobPushgateway) {
		return JobPushgateway
	}
	return JobNode
}

// since is an alert about a time that the suite exports: it fires when that
// is longer ago than the limit.
func since(metric string, limit time.Duration) []AlertRule {
	return one(fmt.Sprintf("time() - max(%s > 0) > %s", metric, seconds(limit)))
}

// sinceScenarios are those of such an alert.
func sinceScenarios(e Environment, alert, metric string, limit, hold time.Duration) (fires, silent Scenario) {
	begin := flat(e.step().Seconds(), forever)
	at := e.at(1, limit, hold)
	fires = Scenario{Days: e.days, At: at, Series: []Series{e.from(suiteJob(e), metric, begin)}, Fires: []Firing{{Alert: alert, Value: (at - e.step()).Seconds()}}}
	silent = Scenario{Days: e.days, At: e.after(e.steps(limit)), Series: fires.Series}
	return fires, silent
}

func updatesPaused(e Environment) Alert {
	const metric = "etf_deploy_updates_paused_timestamp_seconds"
	limit := e.hold("UpdatesPausedTooLong", 2*time.Hour)
	fires, silent := sinceScenarios(e, "UpdatesPausedTooLong", metric, limit, 0)
	fires.Name, silent.Name = "updates stay paused", "updates are paused for as long as they may be"
	return Alert{
		Name: "UpdatesPausedTooLong", Severity: Critical, For: limit, Since: true, Missing: suiteMissing(e),
		Rules:       since(metric, limit),
		Summary:     "ETF updates are paused and nobody has resumed them",
		Description: fmt.Sprintf("Updates are paused since {{ $value | humanizeDuration }}; nothing ends that by itself, and %s is the most that was meant.", promDuration(limit)),
		Runbook: Section{
			Means: "While the flag is set no update begins. It was set by a gradual rollback or by hand, and stays until somebody takes it away.",
			Look: []string{
				"`status`: who paused updates, when and why.",
				"`history`: has a gradual rollback failed? It leaves the updates paused on purpose.",
			},
			Run: []string{
				"A gradual rollback waits for its end: `resume`.",
				"`data:verify` says whether what the service has written is right; then `updates:resume`.",
			},
		},
		Inhibits: []string{"UpdatesStale", "FreshnessBudgetBurnFast", "FreshnessBudgetBurnSlow", "QueueGrowing"},
		Fires:    []Scenario{fires},
		Silent: []Scenario{silent, {Name: "updates are not paused", At: fires.At,
			Series: []Series{e.from(suiteJob(e), metric, flat(0, forever))}}},
	}
}

func backupTooOld(e Environment) Alert {
	e = e.inDays()
	const metric = "etf_deploy_backup_timestamp_seconds"
	limit, hold := e.Alerts.BackupAge, e.hold("BackupTooOld", 5*time.Minute)
	fires, silent := sinceScenarios(e, "BackupTooOld", metric, limit, hold)
	fires.Name, silent.Name = "the newest proven backup grows too old", "the newest proven backup is as old as it may be"
	return Alert{
		Name: "BackupTooOld", Severity: Warning, For: hold, Missing: suiteMissing(e),
		Rules:       since(metric, limit),
		Summary:     "The newest proven backup is too old",
		Description: fmt.Sprintf("The newest backup that was taken and proven is {{ $value | humanizeDuration }} old; there should be one every %s.", promDuration(limit)),
		Runbook: Section{
			Means: "What has been written since the last proven backup would be lost with the database. Backups are taken by cron and by each deployment; one that could not be proven does not count.",
			Look: []string{
				"`backup:list`: which backups there are, and which are proven.",
				"`verify:backups`: what is wrong with the newest one.",
				"The log of cron on the host, and the room on its disk.",
			},
			Run: []string{
				"`backup:create` takes one and proves it, while the service runs.",
				"No room: take away what is not needed; `retention.backups` in deploy.yaml says how many are kept.",
			},
		},
		Fires:  []Scenario{fires},
		Silent: []Scenario{silent},
	}
}

// heardOf is how long an operation that lives may be silent: it is heard of
// every 30 seconds, whatever the durations of the alerts are scaled by.
const heardOf = 90 * time.Second

func interruptedAfter(e Environment) time.Duration {
	return max(e.hold("DeploymentInterrupted", 5*time.Minute), heardOf)
}

func deploymentInterrupted(e Environment) Alert {
	const metric = "etf_deploy_heard_timestamp_seconds"
	limit := interruptedAfter(e)
	fires, silent := sinceScenarios(e, "DeploymentInterrupted", metric, limit, 0)
	fires.Name, silent.Name = "an operation that has not ended is heard of no more", "an operation is silent for as long as it may be"
	return Alert{
		Name: "DeploymentInterrupted", Severity: Critical, For: limit, Since: true, Missing: suiteMissing(e),
		Rules:       since(metric, limit),
		Summary:     "A deployment or rollback has begun and not ended",
		Description: fmt.Sprintf("An operation has begun and not ended, and was last heard of {{ $value | humanizeDuration }} ago; while it lives that is at most %s.", promDuration(heardOf)),
		Runbook: Section{
			Means: "An operation was killed, or its machine was lost, or it could not take the service back, or nobody went on with its next stage. The service is between two releases: workers may be stopped, the schema may be the new one.",
			Look: []string{
				"`status`: what was interrupted, at which step, and which ways there are.",
				"`lease:show`: does its holder still live?",
			},
			Run: []string{
				"`resume` goes on with it; `resume -undo` takes it back. Where there is nothing to resume it tells so again, and this alert ends: the operation's own end was not delivered.",
				"Do not start or stop services by hand before: both look at what they find.",
			},
		},
		Fires: []Scenario{fires},
		Silent: []Scenario{silent,
			{Name: "an operation that takes long, and is heard of", At: fires.At, Series: []Series{e.from(suiteJob(e), metric, grow(e.step().Seconds(), e.step().Seconds(), forever))}},
			{Name: "no operation is open", At: fires.At, Series: []Series{e.from(suiteJob(e), metric, flat(0, forever))}},
		},
	}
}
