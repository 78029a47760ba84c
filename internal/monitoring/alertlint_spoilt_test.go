package monitoring

import (
	"regexp"
	"slices"
	"strings"
)

func expr(alert, text string) func(*alertFiles) {
	return func(f *alertFiles) { f.alert(alert).Expr = text }
}

var spoiltRules = map[string]spoiling{
	"generated":                   {func(*alertFiles) {}, ""},
	"metric not in the catalog":   {expr("HighErrorRate", "sum(rate(etf_error_total[5m])) > 1"), "HighErrorRate: etf_error_total is neither in the catalog nor recorded"},
	"metric in a string":          {expr("HighErrorRate", `etf_errors_total{instance="no_metric"} > 1`), ""},
	"record that is not recorded": {expr("UpdatesFailing", "etf:nothing:rate > 1"), "UpdatesFailing: etf:nothing:rate is neither"},
	"metric of a job that is not collected": {func(f *alertFiles) {
		known := f.known
		f.known = func(s string) bool { return s != "celery_queue_length" && known(s) }
	}, "etf:queue_depth:sum: celery_queue_length is neither"},
	"series by name":        {expr("HighErrorRate", `sum({__name__=~"etf_.*"}) > 1`), "HighErrorRate: asks for series without naming the metric"},
	"series by label alone": {expr("HighErrorRate", `up == 1 or {job="x"}`), "HighErrorRate: asks for series without naming the metric"},
	"no metric":             {expr("HighErrorRate", `vector(1)`), "HighErrorRate: asks for no metric"},
	"no metric in a record": {func(f *alertFiles) { f.rules.Groups[0].Rules[0].Expr = "vector(0)" }, "etf:updates_active:sum: asks for no metric"},

	"a value that there is not": {expr("UpdatesFailing", `increase(etf_updates_total{status="fialed"}[15m]) > 1`),
		`UpdatesFailing: etf_updates_total never has the status "fialed"`},
	"one of two values that there is not": {expr("UpdatesFailing", `increase(etf_updates_total{status=~"failed|cancelled"}[15m]) > 1`),
		`UpdatesFailing: etf_updates_total never has the status "cancelled"`},
	"a value left out that there is not": {expr("UpdatesFailing", `increase(etf_updates_total{status!="complete"}[15m]) > 1`),
		`UpdatesFailing: etf_updates_total never has the status "complete"`},
	"values by a pattern":     {expr("UpdatesFailing", `increase(etf_updates_total{status!~"completed.*"}[15m]) > 1`), ""},
	"a value in a record":     {expr("UpdatesFailing", `sum(etf_updates_total{status='fialed'}) > 1`), `never has the status "fialed"`},
	"a job that there is not": {expr("HighErrorRate", `up{job="etf-service"} == 0`), `HighErrorRate: asks for the job "etf-service", which is not collected`},
	"a label that the metric does not have": {expr("HighErrorRate", `sum(rate(etf_errors_total{type="api_error"}[5m])) > 1`),
		"HighErrorRate: etf_errors_total has no label type"},
	"a label that is summed away": {expr("HighErrorRate", `etf:errors:rate5m{error_type="api_error"} > 1`),
		"HighErrorRate: etf:errors:rate5m has no label error_type"},
	"a label of another exporter": {expr("QueueGrowing", `celery_queue_length{queue="celery"} > 1`), "QueueGrowing: celery_queue_length has no label queue"},
	"labels of the target":        {expr("HighErrorRate", `sum by (job, instance, environment) (etf_errors_total{instance="x"}) > 1`), ""},
	"summed by a label that there is not": {expr("HighErrorRate", `sum by (kind) (rate(etf_errors_total[5m])) > 1`),
		"HighErrorRate: sums up by or without the label kind"},
	"joined by a label that there is not": {expr("HighErrorRate", `etf_errors_total > 1 unless on (host) up`), "HighErrorRate: joins by the label host"},
	"a label in a text": {func(f *alertFiles) {
		f.alert("HighErrorRate").Annotations["summary"] = "{{ $labels.error_type }} errors"
	},
		"HighErrorRate: its summary shows the label error_type, which its alerts do not have"},
}

var spoiltTests = map[string]spoiling{
	"alert without a firing test": {func(f *alertFiles) { f.without("NoWorkers", true) }, "NoWorkers: no test shows that it fires"},
	"alert without a silent test": {func(f *alertFiles) { f.without("BackupTooOld", false) }, "BackupTooOld: no test shows that it can be silent"},
	"silent without any series":   {func(f *alertFiles) { f.quietTest("NoWorkers").Input = nil }, "NoWorkers is silent without any series that it looks at"},
	"silent with other series": {func(f *alertFiles) {
		f.quietTest("HighErrorRate").Input = []inputSeries{{`push_time_seconds{job="pushgateway"}`, "0x99"}}
	}, "HighErrorRate is silent without any series that it looks at"},
	"silent too early": {func(f *alertFiles) { f.quietTest("HighErrorRate").Alerts[0].At = "4m" },
		"HighErrorRate is silent after 4m, when it could not have fired yet"},
	"a series with a value that there is not": {func(f *alertFiles) {
		f.quietTest("HighErrorRate").Input[0].Series = `etf_errors_total{error_type="timeout", job="etf_service"}`
	}, `etf_errors_total never has the error_type "timeout"`},
	"a series with a label that there is not": {func(f *alertFiles) {
		f.quietTest("HighErrorRate").Input[0].Series = `etf_errors_total{kind="timeout"}`
	}, "etf_errors_total has no label kind"},
	"a series that nobody exposes": {func(f *alertFiles) {
		t := f.quietTest("HighErrorRate")
		t.Input = append(t.Input, inputSeries{`etf_error_total{job="etf_service"}`, "0x9"})
	}, "etf_error_total is neither in the catalog nor exposed"},
}

func runbook(pattern, with string) func(*alertFiles) {
	return func(f *alertFiles) {
		f.runbook = regexp.MustCompile(pattern).ReplaceAllString(f.runbook, with)
	}
}

func link(alert, url string) func(*alertFiles) {
	return func(f *alertFiles) {
		for i, r := range f.rules.Groups[0].Rules {
			if r.Alert == alert {
				f.rules.Groups[0].Rules[i].Annotations["runbook_url"] = url
			}
		}
	}
}

var spoiltRunbook = map[string]spoiling{
	"alert without a section":       {link("NoWorkers", "https://example.com/"), "NoWorkers: has no runbook_url with a section"},
	"section that does not exist":   {runbook("## NoWorkers\n", "## Workers\n"), "NoWorkers: its runbook_url names the section noworkers, which RUNBOOK.md does not have"},
	"section of another alert":      {link("NoWorkers", "https://example.com/#updatestuck"), "NoWorkers: its runbook_url leads to the section updatestuck, which is not its own"},
	"section of no alert":           {link("NoWorkers", "https://example.com/#whom-to-call"), "NoWorkers: its runbook_url leads to the section whom-to-call"},
	"section without a word":        {runbook(`(?s)## NoWorkers\n.*## QueueGrowing\n`, "## NoWorkers\n\n## QueueGrowing\n"), "NoWorkers: its section in RUNBOOK.md says nothing"},
	"section of code and comments":  {runbook(`(?s)## NoWorkers\n.*## QueueGrowing\n`, "## NoWorkers\n\n```\nx\n```\n<!-- a\nb -->\n\n## QueueGrowing\n"), "NoWorkers: its section in RUNBOOK.md says nothing"},
	"section that parts make up":    {runbook(`(?s)## NoWorkers\n.*## QueueGrowing\n`, "## NoWorkers\n\n### Look\n\nhere\n\n## QueueGrowing\n"), ""},
	"heading in code":               {runbook("## NoWorkers\n", "```\n## NoWorkers\n```\n"), "NoWorkers: its runbook_url names the section noworkers, which"},
	"heading in longer fences":      {runbook("## NoWorkers\n", "~~~~sh\n~~~\n## NoWorkers\n~~~~\n"), "NoWorkers: its runbook_url names the section noworkers, which"},
	"heading in a comment":          {runbook("## NoWorkers\n", "<!--\n## NoWorkers\n-->\n"), "NoWorkers: its runbook_url names the section noworkers, which"},
	"heading behind code that ends": {runbook("## NoWorkers\n", "```\nx\n```\n## NoWorkers\n"), ""},
	"heading twice":                 {runbook("<!-- notes: UpdateStuck -->\n", "<!-- notes: UpdateStuck -->\n### NoWorkers\n"), "RUNBOOK.md has its heading twice, on lines"},
	"heading below another":         {runbook("## NoWorkers\n", "### NoWorkers\n"), "below another"},
}

var spoiltRoutes = map[string]spoiling{
	"receiver that is not used": {func(f *alertFiles) {
		f.alertmanager.Receivers = append(f.alertmanager.Receivers, receiver{Name: "night", Email: []emailConfig{{To: "a@b"}}})
	}, "the receiver night is named by no route"},
	"receiver without a way to send": {func(f *alertFiles) { f.receiver("escalation").Email = nil }, "the receiver escalation has no way to send"},
	"switch without a way to send":   {func(f *alertFiles) { f.receiver(receiverWatchdog).Webhooks = nil }, "the receiver watchdog has no way to send"},
	"receiver where nothing is sent": {func(f *alertFiles) { f.receiver("escalation").Email, f.called = nil, false }, ""},
	"alert that nobody hears of": {func(f *alertFiles) {
		f.alertmanager.Receivers = append(f.alertmanager.Receivers, receiver{Name: receiverNobody})
		f.alertmanager.Route.Routes[1].Receiver = receiverNobody
	}, "the receiver nobody gets HighErrorRate"},
	"contact that nothing reaches": {func(f *alertFiles) { f.alertmanager.Route.Routes[3].Matchers = []string{`severity="page"`} },
		"no alert reaches the contact escalation"},
	"route behind one without continue": {func(f *alertFiles) { f.alertmanager.Route.Routes[1].Continue = false },
		"route.routes[2] to secondary: no alert gets there"},
	"route whose labels no alert has": {func(f *alertFiles) { f.alertmanager.Route.Routes[3].Matchers = []string{`severity="page"`} },
		"route.routes[3] to escalation: no alert gets there"},
	"alerts in one group":      {func(f *alertFiles) { f.alertmanager.Route.GroupBy = []string{"alertname"} }, "route.routes[2] to secondary: is grouped by [alertname]"},
	"alerts of a route in one": {func(f *alertFiles) { f.alertmanager.Route.Routes[2].GroupBy = []string{"job"} }, "route.routes[2] to secondary: is grouped by [job]"},
	"no groups":                {func(f *alertFiles) { f.alertmanager.Route.GroupBy = nil }, "route to primary: is grouped by []"},
	"repetition after days":    {func(f *alertFiles) { f.alertmanager.Route.Repeat = "25h" }, "route to primary: repeat_interval 25h is longer than a day"},
	"repetition after days of one": {func(f *alertFiles) { f.alertmanager.Route.Routes[3].Repeat = "3d" },
		"route.routes[3] to escalation: repeat_interval 3d is longer than a day"},
	"every second message": {func(f *alertFiles) { f.alertmanager.Route.Routes[0].Repeat = "1m" },
		"route.routes[0] to watchdog: repeat_interval 1m is not below group_interval 1m"},
	"alert that routes.yml leaves out": {func(f *alertFiles) { f.routes.Routes = f.routes.Routes[1:] },
		"BackupTooOld: nothing is said about whom it reaches"},
	"contact that is called too late": {func(f *alertFiles) { f.alertmanager.Route.Routes[2].Wait = "1h" },
		"reaches [{primary 10s} {secondary 1h}"},
}

var spoiltInhibitions = map[string]spoiling{
	"inhibition without equal": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Equal = nil }, "inhibit_rules[0]: has no equal"},
	"inhibition equal by a label that alerts lack": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Equal = []string{"cluster"} },
		"may lack the label cluster"},
	"inhibition of itself": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Target = []string{`severity="critical"`} },
		"would inhibit others of its own name"},
	"inhibition by an alert that does not exist": {func(f *alertFiles) { f.alertmanager.Inhibit[0].Source = []string{`alertname="Gone"`} },
		"no alert is its source, or none its target"},
	"inhibition of each other": {func(f *alertFiles) {
		f.inhibit("NoWorkers", "DeploymentInterrupted")
		f.inhibit("DeploymentInterrupted", "NoWorkers")
	}, "they keep each other back"},
	"inhibition in a circle": {func(f *alertFiles) {
		f.inhibit("BackupTooOld", "MetricsMissing")
		f.inhibit("MetricsMissing", "NotificationsFailing")
		f.inhibit("NotificationsFailing", "BackupTooOld")
	}, "inhibit_rules: BackupTooOld → MetricsMissing"},
	"inhibition by the watchdog": {func(f *alertFiles) { f.inhibit("Watchdog", "QueueGrowing") }, "Watchdog always fires: QueueGrowing would never be sent"},
	"inhibition by what always fires": {func(f *alertFiles) {
		f.alert("BackupTooOld").Expr = "vector(1)"
		f.inhibit("BackupTooOld", "MetricsMissing")
	}, "BackupTooOld always fires: MetricsMissing would never be sent"},
	"inhibition of what is more urgent": {func(f *alertFiles) { f.inhibit("BackupTooOld", "DeploymentInterrupted") },
		"BackupTooOld (warning) would keep DeploymentInterrupted (critical) back"},
	"inhibition of what differs in equal": {func(f *alertFiles) {
		f.inhibit("BackupTooOld", "DeploymentInterrupted")
		f.alertmanager.Inhibit[len(f.alertmanager.Inhibit)-1].Equal = []string{labelSeverity}
	}, ""},
}

var spoiltDashboard = map[string]spoiling{
	"panel without a unit": {func(f *alertFiles) { f.dashboard.Panels[1].FieldConfig = nil },
		DashboardFile + `: panel 2 "Since the last successful update": has no unit`},
	"panel with a unit that Grafana does not have": {func(f *alertFiles) { f.dashboard.Panels[1].FieldConfig.Defaults.Unit = "sec" }, "has the unit sec"},
	"panel with a label that nobody has": {func(f *alertFiles) {
		panelNamed(f, "Errors by kind").Targets[0].LegendFormat = "{{ kind }}"
	}, "shows the label kind, which its series do not have"},
	"panel that sums up by a label that nobody has": {func(f *alertFiles) {
		panelNamed(f, "Errors by kind").Targets[0].Expr = "sum by (kind) (rate(etf_errors_total[$__rate_interval]))"
	}, "sums up by or without the label kind"},
	"panel with a value that there is not": {func(f *alertFiles) {
		t := &panelNamed(f, "Failing and incomplete updates").Targets[0]
		t.Expr = strings.Replace(t.Expr, `"completed"`, `"complete"`, 1)
	}, `etf_updates_total never has the status "complete"`},
	"annotation with a label that nobody has": {func(f *alertFiles) { f.dashboard.Annotations.List[0].TitleFormat = "{{operation}}" },
		"shows the label operation"},
}

func panelNamed(f *alertFiles, title string) *panel {
	return &f.dashboard.Panels[slices.IndexFunc(f.dashboard.Panels, func(p panel) bool { return p.Title == title })]
}
