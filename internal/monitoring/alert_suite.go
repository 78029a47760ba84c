package monitoring

import (
	"fmt"
	"time"
)

// suiteMissing says why the suite's own metrics do not reach Prometheus.
func suiteMissing(e Environment) string {
	switch {
	case e.SuiteJob == "":
		return "neither monitoring.pushgateway nor monitoring.textfile is configured, so that the metrics of this suite go nowhere"
	case !e.Collects(e.SuiteJob):
		key := map[string]string{JobPushgateway: "pushgateway", JobNode: "textfile"}[e.SuiteJob]
		return "no job " + e.SuiteJob + " is collected, so that the metrics of this suite, which go where monitoring." + key + " says, do not reach Prometheus"
	}
	return ""
}

// ofSuite selects a metric of the suite: others' environments may lie on the
// same Pushgateway or machine.
func (e Environment) ofSuite(metric string) string {
	return fmt.Sprintf("%s{%s=%s}", metric, labelEnvironment, promString(e.Name))
}

// suite is a series of the suite's as it arrives. What was pushed keeps the job
// that it was pushed for and has no instance.
func (e Environment) suite(metric string, values Values) Series {
	s := e.from(e.SuiteJob, metric, values, labelEnvironment, e.Name)
	if e.SuiteJob == JobPushgateway {
		s.Labels["job"] = pushJob
		delete(s.Labels, "instance")
	}
	return s
}

// neighbour is the same of another environment.
func (e Environment) neighbour(metric string, values Values) Series {
	s := e.suite(metric, values)
	s.Labels[labelEnvironment] = e.Name + "-next-door"
	return s
}

// since is an alert about a time that the suite exports: it fires when that
// is longer ago than the limit.
func since(e Environment, metric string, limit time.Duration) []AlertRule {
	return one(fmt.Sprintf("time() - max(%s > 0) > %s", e.ofSuite(metric), seconds(limit)))
}

// sinceScenarios are those of such an alert.
func sinceScenarios(e Environment, alert, metric string, limit, hold time.Duration) (fires, silent Scenario) {
	begin := flat(e.step().Seconds(), forever)
	at := e.at(1, limit, hold)
	fires = Scenario{Days: e.days, At: at, Series: []Series{e.suite(metric, begin), e.neighbour(metric, flat(at.Seconds(), forever))}, Fires: []Firing{{Alert: alert, Value: (at - e.step()).Seconds()}}}
	last := 1 + int(limit/e.step())
	if e.days {
		last -= last % 2
	}
	silent = Scenario{Days: e.days, At: e.after(last), Series: fires.Series}
	return fires, silent
}

func updatesPaused(e Environment) Alert {
	const metric = "etf_deploy_updates_paused_timestamp_seconds"
	limit := e.hold("UpdatesPausedTooLong", 2*time.Hour)
	fires, silent := sinceScenarios(e, "UpdatesPausedTooLong", metric, limit, 0)
	fires.Name, silent.Name = "updates stay paused", "updates are paused for as long as they may be"
	return Alert{
		Name: "UpdatesPausedTooLong", Severity: Critical, For: limit, Since: true, Missing: suiteMissing(e),
		Rules:       since(e, metric, limit),
		Summary:     "ETF updates are paused and nobody has resumed them",
		Description: fmt.Sprintf("Updates are paused since {{ $value | humanizeDuration }}; nothing ends that by itself, and %s is the most that was meant.", promDuration(limit)),
		Runbook: Section{
			Means: "While the flag is set no update begins. It was set by a gradual rollback or by hand, and stays until somebody takes it away. One that was set in Redis by hand is seen, and counts, from the next operation on (a backup is one).",
			Look: []string{
				"`status`: who paused updates, when and why.",
				"`history`: has a gradual rollback failed? It leaves the updates paused on purpose.",
			},
			Run: []string{
				"A gradual rollback waits for its end: `resume`.",
				"`data:verify` says whether what the service has written is right; then `updates:resume`.",
			},
		},
		Inhibits: []string{"QueueGrowing"},
		Fires:    []Scenario{fires},
		Silent: []Scenario{silent, {Name: "updates are not paused", At: fires.At,
			Series: []Series{e.suite(metric, flat(0, forever))}}},
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
		Rules:       since(e, metric, limit),
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

// interruptedAfter is shorter than what a killed operation leaves of its
// silence, so that this alert comes first, and alone: it says what to do about
// the workers that are stopped.
func interruptedAfter(e Environment) time.Duration {
	return max(e.hold("DeploymentInterrupted", 2*time.Minute), heardOf)
}

func deploymentInterrupted(e Environment) Alert {
	const metric = "etf_deploy_heard_timestamp_seconds"
	limit := interruptedAfter(e)
	fires, silent := sinceScenarios(e, "DeploymentInterrupted", metric, limit, 0)
	fires.Name, silent.Name = "an operation that has not ended is heard of no more", "an operation is silent for as long as it may be"
	return Alert{
		Name: "DeploymentInterrupted", Severity: Critical, For: limit, Since: true, Missing: suiteMissing(e),
		Rules:       since(e, metric, limit),
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
		Inhibits: []string{"NoWorkers", "QueueGrowing"},
		Fires:    []Scenario{fires},
		Silent: []Scenario{silent, stopped(e),
			{Name: "an operation that takes long, and is heard of", At: fires.At, Series: []Series{e.suite(metric, grow(e.step().Seconds(), e.step().Seconds(), forever))}},
			{Name: "no operation is open", At: fires.At, Series: []Series{e.suite(metric, flat(0, forever))}},
		},
	}
}

// stopped is a deployment that stops the workers and lives, for longer than
// NoWorkers bears: it is the suite's silence that keeps that one back.
func stopped(e Environment) Scenario {
	s, begin := e.step().Seconds(), 2
	at := e.at(begin, e.hold("NoWorkers", 5*time.Minute))
	out := Scenario{Name: "a deployment has stopped the workers, and is heard of", At: at,
		Series: []Series{e.suite("etf_deploy_heard_timestamp_seconds", then(flat(0, begin), grow(float64(begin)*s, s, forever)))}}
	if w := workersOf(e); w.missing == "" {
		out.Series = append(out.Series, w.series(e, then(flat(2, begin), flat(0, forever))))
		out.Fires = []Firing{{Alert: "NoWorkers"}}
	}
	return out
}

// interruption is the same deployment, killed then. By the end of this
// scenario its silence goes, and DeploymentInterrupted takes its place.
func interruption(e Environment) Scenario {
	killed := e.steps(stopped(e).At)
	heard := float64(killed) * e.step().Seconds()
	at := e.after(killed + e.steps(interruptedAfter(e)) + 1)
	out := Scenario{Name: "a deployment that has stopped the workers is killed", At: at, Series: stopped(e).Series,
		Fires: []Firing{{Alert: "DeploymentInterrupted", Value: at.Seconds() - heard}}}
	out.Series[0].Values = then(flat(0, 2), grow(2*e.step().Seconds(), e.step().Seconds(), killed-2), flat(heard, forever))
	if workersOf(e).missing == "" {
		out.Inhibited = []string{"NoWorkers"}
	}
	return out
}
