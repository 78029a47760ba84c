package monitoring

import (
	"fmt"
	"time"
)

// A dependency is a server that the service does not work without, and the
// metric by which its exporter says whether it reaches it. Of RabbitMQ it is
// TargetDown that tells: what exposes its metrics ends with it.
type dependency struct{ job, metric, server string }

var dependencies = []dependency{{JobRedis, "redis_up", "Redis"}, {JobPostgres, "pg_up", "PostgreSQL"}}

func dependencyDown(e Environment) Alert {
	hold := e.hold("DependencyDown", 2*time.Minute)
	at := e.at(1, hold)
	a := Alert{
		Name: "DependencyDown", Severity: Critical, For: hold,
		Summary:     "{{ $labels.server }} is down",
		Description: "The exporter at {{ $labels.instance }} answers and cannot reach {{ $labels.server }} since " + promDuration(hold) + ". The service neither reads nor writes what it keeps there.",
		Runbook: Section{
			Means: "PostgreSQL or Redis is down, refuses connections or takes no more of them, or the exporter may not log in any more. Without PostgreSQL the API answers with errors and every update fails; without Redis its cache and flags are gone, and its queue where it is the broker.",
			Look: []string{
				"`pre:connections` asks each server with the service's own login: it tells a server that is down from an exporter's wrong password.",
				"`verify:performance`: how many sessions the database has, and what they wait for.",
				"The server's own log, and the room on its disk.",
			},
			Run: []string{
				"Start the server on its machine; the service connects again by itself, and `services:status` shows whether it did.",
				"`verify:update` sends one update through when it is back.",
				"The database is up and its data are not: `backup:list`, then `rollback:plan`.",
			},
		},
	}
	whole, restart := Scenario{Name: "all are up", At: at}, Scenario{Name: "they restart", At: at}
	for _, d := range dependencies {
		if !e.Collects(d.job) {
			continue
		}
		labels := map[string]string{"job": d.job, "server": d.server}
		a.Rules = append(a.Rules, AlertRule{Expr: fmt.Sprintf("%s{job=%s} == 0", d.metric, promString(d.job)), Labels: labels})
		one := Scenario{Name: d.server + " is down", At: at, Fires: []Firing{{Alert: a.Name,
			Labels: map[string]string{"job": d.job, "server": d.server, "instance": e.instance(d.job)}}}}
		// Another team's in the same Prometheus is none of ours.
		others := e.from(d.job, d.metric, flat(0, forever))
		others.Labels["job"] = "others"
		whole.Series = append(whole.Series, others)
		for _, other := range dependencies {
			up := 1.0
			if other == d {
				up = 0
			}
			one.Series = append(one.Series, e.from(other.job, other.metric, flat(up, forever)))
		}
		a.Fires = append(a.Fires, one)
		whole.Series = append(whole.Series, e.from(d.job, d.metric, flat(1, forever)))
		restart.Series = append(restart.Series, e.from(d.job, d.metric, then(flat(0, e.steps(hold)-1), flat(1, forever))))
	}
	if a.Silent = []Scenario{whole, restart}; len(a.Rules) == 0 {
		a.Missing = "no job redis or postgres is collected"
	}
	return a
}
