package monitoring

import (
	"slices"
	"time"
)

// healthy is a service that runs well from the beginning, with everything
// that is collected of it; a job's series of one name are replaced by those given.
func healthy(e Environment, instead ...Series) []Series {
	var all []Series
	for _, j := range e.Jobs {
		all = append(all, e.from(j.Name, "up", flat(1, forever)))
	}
	all = append(all,
		e.of("etf_updates_total", grow(0, 1, forever), "status", "completed"),
		e.of("etf_updates_total", flat(0, forever), "status", "completed_with_errors"),
		e.of("etf_updates_total", flat(0, forever), "status", "failed"),
		e.of("etf_active_updates", flat(0, forever)),
		e.of("etf_last_update_timestamp", grow(e.step().Seconds(), e.step().Seconds(), forever)),
	)
	for _, kind := range errorKinds() {
		all = append(all, e.of("etf_errors_total", flat(0, forever), "error_type", kind))
	}
	if e.Collects(JobWorker) { // whose workers have had nothing to do
		for _, n := range essential(e) {
			if n.job == JobWorker {
				all = append(all, e.from(n.job, n.metric, flat(0, forever)))
			}
		}
	}
	for _, d := range dependencies {
		all = append(all, e.from(d.job, d.metric, flat(1, forever)))
	}
	if w := workersOf(e); w.missing == "" {
		all = append(all, w.series(e, flat(2, forever)))
	}
	if q := queueOf(e); q.missing == "" {
		all = append(all, q.series(e, flat(0, forever)))
	}
	if suiteMissing(e) == "" {
		all = append(all,
			e.suite("etf_deploy_backup_timestamp_seconds", grow(e.step().Seconds(), e.step().Seconds(), forever)),
			e.suite("etf_deploy_updates_paused_timestamp_seconds", flat(0, forever)),
			e.suite("etf_deploy_heard_timestamp_seconds", flat(0, forever)))
	}
	all = slices.DeleteFunc(all, func(s Series) bool {
		return slices.ContainsFunc(instead, func(i Series) bool { return i.Name == s.Name && i.Labels["job"] == s.Labels["job"] })
	})
	return append(all, instead...)
}

func errorKinds() []string {
	m, _ := Find("etf_errors_total")
	return m.Labels[0].Values
}

// alternating are the values of two counters that are collected in turn.
func (e Environment) alternating(until time.Duration, a, b float64) (v Values) {
	for range until/e.collected()/2 + 1 {
		v = then(v, flat(a, 1), flat(b, 1))
	}
	return v
}

// elsewhere is a series of another target of the service.
func elsewhere(s Series) Series {
	s.Labels["instance"] = "elsewhere:8000"
	return s
}

// Scenarios are the courses of events that the plan's own rules are held
// against: the ways in which those fail, and what is most likely to happen.
func Scenarios(e Environment) []Scenario {
	return append(traps(e), incidents(e)...)
}

// traps are the ways in which the plan's rules are silent when they should
// not be, or fire when they should not, by the number that they have there.
func traps(e Environment) []Scenario {
	s := e.step().Seconds()
	stuck := e.Alerts.StuckAfter
	hold := func(name string, d time.Duration) time.Duration { return e.hold(name, d) }
	stuckAt := e.at(0, stuck, hold("UpdateStuck", 10*time.Minute))
	none := []Series{e.of("etf_updates_total", flat(5, forever), "status", "completed")}
	hangAt := max(stuckAt, e.after(e.steps(2*stuck)))
	// Not as late as updates would be stale by then.
	late := e.steps(min(2*stuck, e.Alerts.StaleAfter/2))
	api, _ := e.Job(JobService)
	birth := e.steps(e.window(15*time.Minute)) + 2
	failAt, birthAt := e.at(e.Alerts.MinUpdates+1, hold("UpdatesFailing", 2*time.Minute)), e.at(birth, hold("UpdatesFailing", 2*time.Minute))
	counted := func(failed Values) []Series { return e.updates(flat(7, forever), failed, failed) }
	var perKind []Series
	for _, kind := range errorKinds() {
		perKind = append(perKind, e.of("etf_errors_total", grow(0, 0.8*e.Alerts.ErrorRate*s, forever), "error_type", kind))
	}
	all := []Scenario{
		{Trap: 1, Name: "an update hangs; the API shows that it runs, another process when one last succeeded", At: stuckAt,
			Series: append(none, e.of("etf_active_updates", flat(1, forever)), elsewhere(e.of("etf_last_update_timestamp", flat(s, forever)))),
			Fires: append(e.stale(stuckAt), Firing{Alert: "UpdateStuck", Value: stuckAt.Seconds() - s},
				Firing{Alert: "MetricsMissing", Labels: map[string]string{"job": JobService, "metric": "etf_last_update_timestamp"}})},
		{Trap: 3, Name: "the service has just started, and its first updates run", At: e.after(late + 15),
			Series: []Series{
				e.of("up", then(gone(late), flat(1, forever))),
				e.of("etf_updates_total", then(gone(late), flat(0, 4), grow(0, 1, forever)), "status", "completed_with_errors"),
				e.of("etf_active_updates", then(gone(late), flat(1, forever))),
				e.of("etf_last_update_timestamp", then(gone(late), flat(0, forever))),
			}, Plan: []string{"UpdateStuck"}},
		{Trap: 4, Name: "the API does not answer any more", At: e.at(10, hold("TargetDown", 2*time.Minute)),
			Series: []Series{
				e.of("up", then(flat(1, 10), flat(0, forever))),
				e.of("etf_updates_total", grow(0, 1, 10), "status", "completed"),
				e.of("etf_active_updates", flat(1, 10)), e.of("etf_last_update_timestamp", flat(s, 10)),
				e.of("etf_errors_total", flat(0, 10), "error_type", "api_error"),
			},
			Fires: []Firing{firing(reasonJobDown, api, "")}},
		{Trap: 5, Name: "three updates hang for two hours; what does the alert say?", At: hangAt,
			Series: append(none, e.of("etf_active_updates", flat(3, forever)), e.of("etf_last_update_timestamp", flat(s, forever))),
			Fires:  append(e.stale(hangAt), Firing{Alert: "UpdateStuck", Value: hangAt.Seconds() - s}), Plan: []string{"UpdateStuck"}},
		{Trap: 6, Name: "errors of every kind, each at four fifths of the limit", At: e.at(0, e.window(5*time.Minute), hold("HighErrorRate", 5*time.Minute)),
			Series: append(perKind, e.of("etf_updates_total", grow(0, 60, forever), "status", "completed")),
			Fires:  []Firing{{Alert: "HighErrorRate", Value: 0.8 * e.Alerts.ErrorRate * float64(len(perKind))}}},
		{Trap: 6, Name: "one update a minute, and each fails", At: failAt,
			Series: counted(grow(0, 1, forever)), Fires: append(e.burning(enoughUpdates, failAt), Firing{Alert: "UpdatesFailing", Value: 1})},
		{Trap: 7, Name: "500 updates failed before their counter was first collected", At: birthAt,
			Series: counted(then(gone(birth), flat(500, forever))), Fires: []Firing{{Alert: "UpdatesFailing", Value: 1}}},
		{Trap: 9, Name: "a worker was killed, and its gauge stays beside that of another, which has nothing to do", At: stuckAt,
			Series: append(none,
				e.of("etf_active_updates", flat(1, forever), "pid", "4711"), e.of("etf_active_updates", flat(0, forever), "pid", "4712"),
				e.of("etf_last_update_timestamp", flat(s, forever), "pid", "4711"), e.of("etf_last_update_timestamp", grow(s, s, forever), "pid", "4712"),
			),
			Fires: []Firing{{Alert: "MetricsInconsistent", Labels: map[string]string{"reason": "series-per-process"}}}, Plan: []string{"UpdateStuck"}},
	}
	for i := range all {
		all[i].Series, all[i].Whole = healthy(e, all[i].Series...), true
	}
	all = slices.Insert(all, 7, alternatingTrap(e))
	return slices.Insert(all, 1, schedulerTrap(e.inDays()))
}

// schedulerTrap takes longer than the others.
func schedulerTrap(e Environment) Scenario {
	at := e.at(0, e.Alerts.StaleAfter, e.hold("UpdatesStale", 5*time.Minute))
	begin := e.step().Seconds()
	return Scenario{Trap: 2, Name: "the scheduler is dead: no update is begun", Days: true, At: at, Whole: true,
		Series: healthy(e, e.of("etf_updates_total", flat(5, forever), "status", "completed"), e.of("etf_last_update_timestamp", flat(begin, forever))),
		Fires:  []Firing{{Alert: "UpdatesStale", Value: at.Seconds() - begin}}}
}

// alternatingTrap has more values than the others: one for each collection.
func alternatingTrap(e Environment) Scenario {
	at := e.at(0, e.resetsWindow(), e.hold("MetricsInconsistent", 5*time.Minute), e.hold("HighErrorRate", 5*time.Minute))
	s := e.collected().Seconds()
	t := Scenario{Trap: 8, Name: "two processes answer in turn, each with counters of its own", At: at, Every: e.collected(), Whole: true,
		Fires: []Firing{{Alert: "MetricsInconsistent", Labels: map[string]string{"reason": "counters-fall"}}}, Plan: []string{"HighErrorRate"}}
	t.Series = healthy(e,
		e.of("etf_errors_total", e.alternating(at, 1000, 10), "error_type", "api_error"),
		e.of("etf_last_update_timestamp", grow(s, s, forever)),
		e.suite("etf_deploy_backup_timestamp_seconds", grow(s, s, forever)))
	return t
}

// stale is what fires besides when updates are stale sooner than a course that
// has seen none since its first step is over: both are times of deploy.yaml.
func (e Environment) stale(at time.Duration) []Firing {
	if age := at - e.step(); age > e.Alerts.StaleAfter+e.hold("UpdatesStale", 5*time.Minute)+e.step() {
		return []Firing{{Alert: "UpdatesStale", Value: age.Seconds()}}
	}
	return nil
}

// burning is what fires besides when all updates have failed since a step:
// UpdatesFailing does not keep it back.
func (e Environment) burning(step int, at time.Duration) []Firing {
	if at-e.after(step) > e.hold("ErrorBudgetBurnSlow", time.Hour)+e.step() {
		return []Firing{{Alert: "ErrorBudgetBurnSlow", Value: 1}}
	}
	return nil
}

// nightlyFails is what the service's real traffic makes of a failure.
func nightlyFails(e Environment) Scenario {
	at := e.at(10+batch, max(min(e.scaled(time.Hour), failureStands(e)/2), e.hold("UpdatesFailing", 2*time.Minute)))
	failed := then(flat(0, 10), grow(10, 10, batch), flat(10*batch, forever))
	also := append(e.burning(10, at), e.stale(at)...)
	return Scenario{Name: "the nightly updates fail, and no others come; some time later", At: at,
		Series: append(e.updates(flat(50, forever), failed, failed), e.of("etf_last_update_timestamp", flat(e.step().Seconds(), forever))),
		Fires:  append([]Firing{{Alert: "UpdatesFailing", Value: 1}}, also...)}
}

// incidents are what is most likely to happen, beside the traps.
func incidents(e Environment) []Scenario {
	s := e.step().Seconds()
	all := []Scenario{nightlyFails(e)}
	if w := workersOf(e); w.missing == "" {
		all = append(all, Scenario{Name: "all workers are killed", At: e.at(5, e.hold("NoWorkers", 5*time.Minute)),
			Series: []Series{w.series(e, then(flat(2, 5), flat(0, forever))),
				e.of("etf_updates_total", then(grow(0, 1, 5), flat(4, forever)), "status", "completed"),
				e.of("etf_last_update_timestamp", then(grow(s, s, 5), flat(5*s, forever)))},
			Fires: []Firing{{Alert: "NoWorkers"}}})
	}
	if suiteMissing(e) == "" {
		limit := e.hold("UpdatesPausedTooLong", 2*time.Hour)
		at := e.at(1, limit)
		all = append(all, interruption(e),
			Scenario{Name: "updates are paused, and nobody resumes them", At: at,
				Series: []Series{e.suite("etf_deploy_updates_paused_timestamp_seconds", flat(s, forever)),
					e.of("etf_updates_total", flat(4, forever), "status", "completed"), e.of("etf_last_update_timestamp", flat(s, forever))},
				Fires: append(e.stale(at), Firing{Alert: "UpdatesPausedTooLong", Value: at.Seconds() - s})})
	}
	for i := range all {
		all[i].Series, all[i].Whole = healthy(e, all[i].Series...), true
	}
	e = e.inDays()
	return append(all, Scenario{Name: "nothing is wrong, for two days", Days: true, At: e.after(e.steps(e.scaled(48 * time.Hour))), Whole: true, Series: healthy(e)})
}
