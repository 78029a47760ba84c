package monitoring

import (
	"bytes"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// What always fires goes to the dead man's switch, with its token by file, and
// is sent again at each look at it; where there is none, to nobody, and that is
// said, and is no fault.
func TestWatchdogGoesToTheSwitch(t *testing.T) {
	for name, c := range map[string]struct {
		change   func(*Environment)
		receiver string
		notes    int
	}{
		"production": {func(*Environment) {}, receiverWatchdog, 0},
		"no switch":  {func(e *Environment) { e.Alerts.Watchdog, e.Alerts.WatchdogTokenFile = "", "" }, receiverNobody, 1},
		"shortened":  {func(e *Environment) { *e = shortened(t, 1.0/60) }, receiverWatchdog, 0},
		"no token":   {func(e *Environment) { e.Alerts.WatchdogTokenFile = "" }, receiverWatchdog, 0},
		"nobody to call": {func(e *Environment) {
			e.Alerts.Watchdog, e.Alertmanager = "", nil
		}, receiverNobody, 1},
		"no exporters": {func(e *Environment) {
			e.Jobs = slices.DeleteFunc(e.Jobs, func(j Job) bool { return j.Name == JobRedis || j.Name == JobPostgres })
		}, receiverWatchdog, 1},
	} {
		t.Run(name, func(t *testing.T) {
			e := production(t)
			c.change(&e)
			f, dir := generatedAlerts(t, e)
			if problems := f.lint(); len(problems) > 0 {
				t.Errorf("lint: %q", problems)
			}
			to := f.alertmanager.Route.Routes[0]
			if to.Receiver != c.receiver || durationOf(to.Repeat) >= durationOf(to.Interval) || durationOf(to.Repeat) == 0 {
				t.Errorf("goes to %+v", to)
			}
			i := slices.IndexFunc(f.routes.Routes, func(r routed) bool { return r.Labels["alertname"] == "Watchdog" })
			if got := f.routes.Routes[i].Reach; len(got) != 1 || got[0].Receiver != c.receiver {
				t.Errorf("routes.yml says that it reaches %v", got)
			}
			if hooks := f.receiver(c.receiver).Webhooks; c.receiver == receiverNobody && len(hooks) > 0 ||
				e.Alerts.Watchdog != "" && (hooks[0].URL != e.Alerts.Watchdog || (hooks[0].HTTP != nil) != (e.Alerts.WatchdogTokenFile != "")) {
				t.Errorf("is sent to %+v", hooks)
			}
			if notes := alertNotes(e); len(notes) != c.notes {
				t.Errorf("notes: %q", notes)
			}
			if out, err := exec.CommandContext(t.Context(), "amtool", "check-config", dir+"/"+AlertmanagerFile).CombinedOutput(); err != nil {
				t.Errorf("amtool: %v\n%s", err, out)
			}
		})
	}
}

// A note stands beside the verdicts and changes none.
func TestNotesAreNoFaults(t *testing.T) {
	e := production(t)
	e.Alerts.Watchdog, e.Alerts.WatchdogTokenFile = "", ""
	_, e.Folder = generatedAlerts(t, e)
	for _, file := range []string{TestsFile, DayTestsFile} { // what takes long is tested elsewhere
		rewrite(t, e.Folder+"/"+file, func(f *testFile) { f.Tests = f.Tests[:1] })
	}
	verdicts, _ := TestAlerts(t.Context(), e, host.Local{})
	var out bytes.Buffer
	if err := WriteVerdicts(&out, verdicts); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "\nnote   alerts.watchdog is empty: nobody hears when Prometheus or Alertmanager dies") {
		t.Errorf("no note in\n%s", &out)
	}
	for _, v := range verdicts {
		if v.Judge == judgeNote && !v.OK {
			t.Error("the note is a fault")
		}
	}
}

// Of each metric of an exporter it is known which labels it has.
func TestExportersLabelsAreKnown(t *testing.T) {
	for job, metrics := range Exporters {
		for _, name := range metrics {
			if _, known := exporterLabels[name]; !known {
				t.Errorf("%s (%s) has no entry in exporterLabels", name, job)
			}
		}
	}
}
