package monitoring

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Only the whole job etf_service keeps other alerts back, and none of those
// that call everybody: others count updates, too, and are looked at with them.
func TestWhatADeadTargetInhibits(t *testing.T) {
	e := production(t)
	e.Jobs = slices.Clone(e.Jobs)
	for i, j := range e.Jobs {
		if j.urgent() {
			e.Jobs[i].Targets = append(slices.Clone(j.Targets), "second:1")
		}
	}
	down := targetDown(e)
	i := slices.IndexFunc(inhibitions(e), func(one inhibition) bool { return slices.Contains(one.Source, `alertname="TargetDown"`) })
	if i < 0 {
		t.Fatal("it inhibits nothing")
	}
	source := inhibitions(e)[i].Source
	sources := 0
	for _, r := range down.Rules {
		labels := down.labels(e, r)
		labels["alertname"] = down.Name
		is := matches(source, labels)
		if should := labels["job"] == JobService && labels["reason"] == reasonJobDown; is != should {
			t.Errorf("%v inhibits: %v", r.Labels, is)
		}
		if is {
			sources++
		}
	}
	if sources != 1 {
		t.Errorf("%d rules inhibit", sources)
	}
	for _, a := range Alerts(e) {
		if slices.Contains(down.Inhibits, a.Name) && a.Severity == Critical {
			t.Errorf("%s calls everybody, and is kept back", a.Name)
		}
	}
}

// Of each job that is gone exactly one rule tells; whom it calls follows from
// whether the service goes on.
func TestWhomADeadTargetCalls(t *testing.T) {
	e := collecting(JobService, JobWorker, JobRabbitMQ, JobRedis, JobPrometheus)
	e.Jobs[1].Targets = []string{"a:1", "b:1"}
	got := map[string]Severity{}
	for _, r := range targetDown(e).Rules {
		key := r.Labels["job"] + " " + r.Labels["reason"]
		if _, twice := got[key]; twice {
			t.Errorf("%s twice", key)
		}
		if _, named := r.Labels["instance"]; named == (r.Labels["job"] == JobWorker) {
			t.Errorf("%s: %v", key, r.Labels)
		}
		got[key] = r.Severity
	}
	want := map[string]Severity{
		"etf_service job-down": Critical, "etf_service job-flapping": Critical,
		"etf_worker job-down": Critical, "etf_worker instance-down": Warning,
		"etf_worker job-flapping": Critical, "etf_worker instance-flapping": Warning,
		"rabbitmq job-down": Critical, "rabbitmq job-flapping": Critical,
		"redis job-down": Warning,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
