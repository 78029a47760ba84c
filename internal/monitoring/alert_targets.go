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

// urgent are the jobs without which the service does not work. What tells of
// RabbitMQ is a part of RabbitMQ itself.
var urgent = []string{JobService, JobWorker, JobRabbitMQ}

func (j Job) urgent() bool { return slices.Contains(urgent, j.Name) }

// The reasons of TargetDown: one of several targets of a job is concerned, or
// the whole job is.
const (
	reasonInstanceDown     = "instance-down"
	reasonInstanceFlapping = "instance-flapping"
	reasonJobDown          = "job-down"
	reasonJobFlapping      = "job-flapping"
)

// flaps are so many changes of a target between up and down within ten minutes
// that it has gone down for the third time. A deployment that is taken back
// restarts it twice.
const flaps = 4

// flapsWindow holds enough collections of a job to see them, and to see them
// for as long as the alert has to hold.
func (e Environment) flapsWindow(j Job) time.Duration {
	return max(e.scaled(10*time.Minute), 16*j.Interval, 10*j.Interval+2*e.hold("TargetDown", 2*time.Minute))
}

func targetDown(e Environment) Alert {
	hold := e.hold("TargetDown", 2*time.Minute)
	a := Alert{
		Name: "TargetDown", Severity: Warning, For: hold,
		Summary:     "{{ $labels.job }} does not answer Prometheus",
		Description: "{{ $labels.instance }}, all there is of the job {{ $labels.job }}, cannot be collected since " + promDuration(hold) + ", or Prometheus does not know it any more. What follows from its metrics is not known.",
		Runbook: Section{
			Means: "Prometheus gets no metrics from a target, gets them now and then only, or has lost the job from its configuration. When the whole job etf_service, etf_worker or rabbitmq is concerned, the service does not work, and this calls everybody; while other machines of the same job answer, the service goes on. Of an exporter: alerts that rest upon it are blind.",
			Look: []string{
				"`verify:api`: does the API answer from the host itself?",
				"`services:status`: which processes run, and does one restart all the time?",
				"The page Status → Targets in Prometheus: the error of the last try; `changes(up[10m])` there: how often each went and came.",
				"`monitoring:generate -check`: is the configuration that Prometheus should run with the generated one?",
			},
			Run: []string{
				"The API is down, or dies again and again: `services:start`; since a deployment: `rollback:immediate`.",
				"The broker is down: start it on its machine; what waits in durable queues is there again.",
				"An exporter is down: start it on its machine.",
			},
		},
	}
	if len(watched(e)) == 0 {
		a.Missing = "no job is collected"
		return a
	}
	for _, j := range watched(e) {
		a.Rules = append(a.Rules, downRules(e, j)...)
	}
	if e.Collects(JobService) {
		// What has no data without the API. Other machines count updates, too, and
		// what calls everybody is never kept back.
		a.Inhibits = []string{"MetricsInconsistent", "HighErrorRate", "ErrorBudgetBurnSlow", "FreshnessBudgetBurn"}
	}
	a.Fires, a.Silent = downScenarios(e)
	return a
}

// downRules are those of one job. That it is gone is told by exactly one of
// them, which names its target where it has only one.
func downRules(e Environment, j Job) (all []AlertRule) {
	name, hold, w := promString(j.Name), promDuration(e.hold("TargetDown", 2*time.Minute)), promDuration(e.flapsWindow(j))
	severity := Warning
	if j.urgent() {
		severity = Critical
	}
	add := func(reason string, severity Severity, r AlertRule) {
		r.Severity, r.Labels = severity, map[string]string{"job": j.Name, "reason": reason}
		if len(j.Targets) == 1 {
			r.Labels["instance"] = j.Targets[0]
		}
		all = append(all, r)
	}
	flapping := AlertRule{
		Expr:        fmt.Sprintf("changes(up{job=%s}[%s]) > %d", name, w, flaps),
		Summary:     "{{ $labels.job }} goes down again and again",
		Description: "{{ $labels.instance }} of the job {{ $labels.job }} has gone down for the third time, or more often, within " + w + ": it dies and is started again all the time.",
	}
	if len(j.Targets) == 1 {
		add(reasonJobDown, severity, AlertRule{Expr: fmt.Sprintf("up{job=%[1]s} == 0 or absent(up{job=%[1]s})", name)})
		if j.urgent() {
			add(reasonJobFlapping, severity, flapping)
		}
		return all
	}
	add(reasonJobDown, severity, AlertRule{Expr: fmt.Sprintf("max by (job) (up{job=%[1]s}) == 0 or absent(up{job=%[1]s})", name),
		Description: "None of the " + fmt.Sprint(len(j.Targets)) + " targets of the job {{ $labels.job }} can be collected since " + hold + ", or Prometheus does not know the job any more. What follows from its metrics is not known."})
	add(reasonInstanceDown, Warning, AlertRule{Expr: fmt.Sprintf("up{job=%[1]s} == 0 and on (job) max by (job) (up{job=%[1]s}) == 1", name),
		Summary:     "One of several of {{ $labels.job }} does not answer Prometheus",
		Description: "{{ $labels.instance }} of the job {{ $labels.job }} cannot be collected since " + hold + "; another one answers."})
	if j.urgent() {
		add(reasonInstanceFlapping, Warning, flapping)
		// One that is down while the other one dies all the time is nothing to go on with.
		flapping.Expr = fmt.Sprintf("changes(max by (job) (up{job=%s})[%s:%s]) > %d", name, w, promDuration(j.Interval), flaps)
		flapping.Description = "The whole job {{ $labels.job }} has gone down for the third time, or more often, within " + w + ": what is started again dies again."
		add(reasonJobFlapping, severity, flapping)
	}
	return all
}

// downScenarios are those of each job's rules.
func downScenarios(e Environment) (fires, silent []Scenario) {
	hold := e.hold("TargetDown", 2*time.Minute)
	lost := Scenario{Name: "Prometheus has lost all jobs but itself", At: e.at(1, hold), Series: []Series{e.from(JobPrometheus, "up", flat(1, forever))}}
	restart := Scenario{Name: "each job restarts", At: e.at(1, hold)}
	for _, j := range watched(e) {
		gone := firing(reasonJobDown, j, "")
		lost.Fires = append(lost.Fires, gone)
		restart.Series = append(restart.Series, e.all(j.Name, "up", then(flat(0, e.steps(hold)-1), flat(1, forever)))...)
		fires = append(fires, Scenario{Name: j.Name + " does not answer", At: e.at(1, hold),
			Series: others(e, j, e.all(j.Name, "up", flat(0, forever))...), Fires: []Firing{gone}})
		if last := len(j.Targets) - 1; last > 0 {
			up := e.all(j.Name, "up", flat(1, forever))
			up[last].Values = flat(0, forever)
			fires = append(fires, Scenario{Name: "one of several of " + j.Name + " does not answer", At: e.at(1, hold),
				Series: others(e, j, up...), Fires: []Firing{firing(reasonInstanceDown, j, j.Targets[last])}})
		}
		if j.urgent() {
			f, s := flapScenarios(e, j)
			fires, silent = append(fires, f...), append(silent, s)
		}
	}
	return append(fires, lost), append(silent, restart)
}

// flapScenarios are those of a job that dies again and again: up in three of
// four collections, it is never down for long.
func flapScenarios(e Environment, j Job) (fires []Scenario, silent Scenario) {
	at := e.at(0, e.flapsWindow(j), e.hold("TargetDown", 2*time.Minute))
	var dies Values
	for range int(at/j.Interval)/4 + 1 {
		dies = then(dies, flat(1, 3), flat(0, 1))
	}
	begin := func(name string, up []Series) Scenario {
		return Scenario{Name: j.Name + name, At: at, Every: j.Interval, Series: others(e, j, up...)}
	}
	// As late as they can be seen as long as the alert has to hold.
	steady := int(at/j.Interval) - int(e.flapsWindow(j)/j.Interval)
	twice := then(flat(1, steady+1), flat(0, 1), flat(1, 3), flat(0, 1), flat(1, 3))
	whole := begin(" dies again and again", e.all(j.Name, "up", dies))
	third := begin(" goes down for the third time", e.all(j.Name, "up", then(twice, flat(0, 1), flat(1, forever))))
	whole.Fires = []Firing{firing(reasonJobFlapping, j, "")}
	if last := len(j.Targets) - 1; last > 0 {
		for _, target := range j.Targets {
			whole.Fires = append(whole.Fires, firing(reasonInstanceFlapping, j, target))
		}
		up := e.all(j.Name, "up", flat(1, forever))
		up[last].Values = dies
		one := begin(": one of several dies again and again", up)
		one.Fires = []Firing{firing(reasonInstanceFlapping, j, j.Targets[last])}
		up = e.all(j.Name, "up", flat(0, forever))
		up[last].Values = dies
		rest := begin(": the one that is left dies again and again", up)
		rest.Fires = []Firing{firing(reasonJobFlapping, j, ""), firing(reasonInstanceFlapping, j, j.Targets[last])}
		for _, target := range j.Targets[:last] {
			rest.Fires = append(rest.Fires, firing(reasonInstanceDown, j, target))
		}
		fires = append(fires, one)
		// In the moments in which that one is down, too, the others are no longer
		// one of several: with a long hold they are never told of for themselves.
		seen := e.step()%(2*j.Interval) != 0
		if !seen || e.hold("TargetDown", 2*time.Minute)+e.step() <= 3*j.Interval {
			fires = append(fires, rest)
		}
	}
	third.Fires = whole.Fires
	return append(fires, whole, third), begin(" restarts with a deployment, and once more when that is taken back",
		e.all(j.Name, "up", then(twice, flat(1, forever))))
}

// firing is one of TargetDown.
func firing(reason string, j Job, instance string) Firing {
	f := Firing{Alert: "TargetDown", Labels: map[string]string{"job": j.Name, "reason": reason}}
	if len(j.Targets) == 1 {
		instance = j.Targets[0]
	}
	if instance != "" {
		f.Labels["instance"] = instance
	}
	return f
}

// others are series of a job beside targets of all other ones that answer.
func others(e Environment, j Job, series ...Series) []Series {
	for _, other := range e.Jobs {
		if other.Name != j.Name {
			series = append(series, e.all(other.Name, "up", flat(1, forever))...)
		}
	}
	return series
}
