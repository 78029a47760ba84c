package monitoring

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

// collecting is an environment with these jobs.
func collecting(jobs ...string) Environment {
	e := Environment{Name: "test", Interval: 15 * time.Second, Evaluation: 15 * time.Second, Queue: `cel"ery`}
	for _, name := range jobs {
		if name == JobPushgateway || name == JobNode && e.SuiteJob == "" {
			e.SuiteJob = name
		}
		e.Jobs = append(e.Jobs, Job{Name: name, Scheme: "http", Path: "/metrics", Targets: []string{"h:1"}, Interval: e.Interval})
	}
	return e
}

// Whatever an environment collects, its dashboard asks for that alone.
func TestDashboardFollowsTheJobs(t *testing.T) {
	all := []string{JobService, JobWorker, JobRedis, JobPostgres, JobRabbitMQ, JobNode, JobCelery, JobPushgateway, JobPrometheus, JobAlertmanager}
	environments := []Environment{production(t), collecting(), collecting(all...), collecting("own")}
	for _, job := range all {
		environments = append(environments, collecting(job),
			collecting(slices.DeleteFunc(slices.Clone(all), func(j string) bool { return j == job })...))
	}
	for _, e := range environments {
		if problems := lintDashboard(alertFiles{known: e.Known, dashboard: dashboardOf(e)}); problems != nil {
			t.Errorf("%+v:\n%q", e.Jobs, problems)
		}
	}
}

// What the issue of a dashboard is: each of these is asked for in production.
func TestDashboardShowsTheWholeCatalog(t *testing.T) {
	var asked []string
	for _, exprs := range DashboardQueries(production(t), "1h") {
		for _, expr := range exprs {
			if strings.Contains(expr, "$") {
				t.Errorf("a variable of Grafana's is left: %s", expr)
			}
			for _, name := range MetricsIn(expr) {
				if m, ok := Find(name); ok {
					asked = append(asked, m.Name)
				}
				asked = append(asked, name)
			}
		}
	}
	want := []string{"up", "rabbitmq_queue_messages_ready", "etf_update_duration_seconds_bucket"}
	for _, m := range catalog {
		want = append(want, m.Name)
	}
	for _, name := range want {
		if !slices.Contains(asked, name) {
			t.Errorf("no panel shows %s", name)
		}
	}
}

func TestDashboardIsGrafanas(t *testing.T) {
	f, err := Dashboard(production(t))
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		SchemaVersion int
		Title, UID    string
		Description   string
		Annotations   struct{ List []map[string]any }
		Panels        []map[string]any
	}
	if err := json.Unmarshal(f.Content, &d); err != nil {
		t.Fatal(err)
	}
	if d.SchemaVersion != 42 || d.UID != "etf-service-production" || len(d.Annotations.List) != 1 || len(d.Panels) < 20 ||
		!strings.Contains(d.Description, "monitoring:generate") {
		t.Errorf("version %d, uid %q, %d annotations, %d panels", d.SchemaVersion, d.UID, len(d.Annotations.List), len(d.Panels))
	}
	again, _ := Dashboard(production(t))
	if string(again.Content) != string(f.Content) {
		t.Error("the same environment gives other bytes")
	}
}

func TestDashboardLintFindsEachFault(t *testing.T) {
	e := collecting(JobService, JobRabbitMQ, JobPrometheus)
	const panelOf = 1 // the first is a row
	for name, test := range map[string]struct {
		spoil func(d *dashboard)
		want  string
	}{
		"no variable":            {func(d *dashboard) { d.Templating.List = nil }, "no variable for its data source"},
		"another schema":         {func(d *dashboard) { d.SchemaVersion = 39 }, "schema version"},
		"no title":               {func(d *dashboard) { d.Panels[panelOf].Title = "" }, "has no title"},
		"a title twice":          {func(d *dashboard) { d.Panels[panelOf].Title = d.Panels[panelOf+1].Title }, "one that another has"},
		"a number twice":         {func(d *dashboard) { d.Panels[panelOf].ID = 1 }, "the number of another"},
		"no unit":                {func(d *dashboard) { d.Panels[panelOf].FieldConfig = &fieldConfig{} }, "has no unit"},
		"no query":               {func(d *dashboard) { d.Panels[panelOf].Targets = nil }, "has no query"},
		"off the grid":           {func(d *dashboard) { d.Panels[panelOf].GridPos.X = 20 }, "does not fit on the grid"},
		"upon another":           {func(d *dashboard) { d.Panels[panelOf+1].GridPos.X = 2 }, "lies upon panel 2"},
		"a fixed source":         {func(d *dashboard) { d.Panels[panelOf].Datasource = &datasource{"prometheus", "abc"} }, "a data source of its own"},
		"a fixed source, query":  {func(d *dashboard) { d.Panels[panelOf].Targets[0].Datasource.UID = "abc" }, "a data source of its own"},
		"a fixed time":           {func(d *dashboard) { d.Panels[panelOf].Targets[0].Expr = "rate(etf_updates_total[5m])" }, "looks at [5m]"},
		"not in the catalog":     {func(d *dashboard) { d.Panels[panelOf].Targets[0].Expr = "etf_updates" }, "etf_updates stands neither"},
		"of what nobody exposes": {func(d *dashboard) { d.Panels[panelOf].Targets[0].Expr = "redis_up" }, "redis_up stands neither"},
		"of the suite's":         {func(d *dashboard) { d.Panels[panelOf].Targets[0].Expr = "etf_deploy_rollbacks" }, "etf_deploy_rollbacks stands neither"},
		"asks for nothing":       {func(d *dashboard) { d.Panels[panelOf].Targets[0].Expr = "vector(1)" }, "asks for nothing"},
		"an annotation": {func(d *dashboard) {
			d.Annotations.List = []annotation{{Name: "x", Datasource: source, Expr: "nothing_known"}}
		}, "x: nothing_known stands neither"},
		"two without a legend": {func(d *dashboard) {
			d.Panels[panelOf].Targets = append(d.Panels[panelOf].Targets, d.Panels[panelOf].Targets[0])
		}, "does not say which is which"},
	} {
		t.Run(name, func(t *testing.T) {
			d := dashboardOf(e)
			if problems := lintDashboard(alertFiles{known: e.Known, dashboard: d}); problems != nil {
				t.Fatalf("before: %q", problems)
			}
			// The panels of a section are shared: what is spoilt here must not stay.
			d.Panels[panelOf].Targets = slices.Clone(d.Panels[panelOf].Targets)
			test.spoil(&d)
			if problems := lintDashboard(alertFiles{known: e.Known, dashboard: d}); !strings.Contains(strings.Join(problems, "\n"), test.want) {
				t.Errorf("problems %q, want one with %q", problems, test.want)
			}
		})
	}
}
