package checklist

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// maintained is a target with an Alertmanager, an operation on it, and what is
// said. Silences are short and often prolonged.
func maintained(t *testing.T, address string) (*maintenance, *step.Run, *strings.Builder) {
	t.Helper()
	target := filed(t)
	var said strings.Builder
	target.Observer = report.NewPrinter(&said)
	target.Config.Environment = "sandbox"
	target.Config.Timeouts.Connect, target.Config.Window.CutOver = time.Second, time.Hour
	target.Config.Monitoring = config.Monitoring{Alertmanager: address, Interval: time.Second, Evaluation: time.Second}
	j, err := journal.Create(t.Context(), target.Host, target.journalDir(), journal.Header{ID: journal.NewID("deploy", time.Now()), Kind: "deploy"}, time.Now)
	must(t, err)
	m := newMaintenance(target)
	m.lasts, m.every = 3*time.Second, 300*time.Millisecond
	t.Cleanup(func() { m.hand(context.Background()) })
	return m, &step.Run{Operation: step.NewOperation(j, target.Observer, time.Now)}, &said
}

// another process that goes on with the operation of m.
func (m *maintenance) another(t *testing.T) *maintenance {
	n := newMaintenance(m.t)
	n.lasts, n.every = m.lasts, m.every
	t.Cleanup(func() { n.hand(context.Background()) })
	return n
}

func (m *maintenance) inJournal(t *testing.T, r *step.Run) (id string) {
	t.Helper()
	_, err := r.Operation.Fact(factSilence, &id)
	must(t, err)
	return id
}

// silence is the one that an operation has noted, as Alertmanager has it.
func (m *maintenance) silence(t *testing.T, id string) monitoring.Silence {
	t.Helper()
	s, err := m.am.Silence(t.Context(), id)
	must(t, err)
	return s
}

// until waits for something that another goroutine or a server does.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); {
		if time.Now().After(end) {
			t.Fatalf("after 10 s still not: %s", what)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func startAlertmanager(t *testing.T) string {
	t.Helper()
	server, err := testserver.StartAlertmanager(t.TempDir())
	must(t, err)
	t.Cleanup(server.Stop)
	return server.URL
}

// fires gives Alertmanager an alert.
func (m *maintenance) fires(t *testing.T, name, environment string) {
	t.Helper()
	labels := monitoring.AlertLabels(environment)
	labels["alertname"] = name
	must(t, m.am.Post(t.Context(), monitoring.PostedAlert{Labels: labels, StartsAt: time.Now().Add(-time.Minute), EndsAt: time.Now().Add(time.Minute)}))
}

// A cut-over silences what it causes, as long as it takes, and nothing else.
func TestMaintenanceSilences(t *testing.T) {
	t.Parallel()
	m, r, said := maintained(t, startAlertmanager(t))
	for _, name := range []string{"NoWorkers", "TargetDown", "Watchdog", "DeploymentInterrupted", monitoring.DrillAlert, "DependencyDown"} {
		m.fires(t, name, "sandbox")
	}
	m.fires(t, "NoWorkers", "production")
	m.begin(t.Context(), r)
	until(t, "noted", func() bool { return m.inJournal(t, r) != "" })
	id := m.inJournal(t, r)
	quiet := func() string {
		all, err := m.am.Alerts(t.Context(), `service="etf_service"`)
		must(t, err)
		var names []string
		for _, a := range all {
			if len(a.Status.SilencedBy) > 0 {
				names = append(names, a.Labels["environment"]+" "+a.Labels["alertname"])
			}
		}
		return strings.Join(names, ", ")
	}
	until(t, "silenced", func() bool { return quiet() != "" })
	for _, want := range []string{"sandbox NoWorkers", "sandbox TargetDown"} {
		if got := quiet(); !strings.Contains(got, want) || strings.Count(got, ",") != 1 {
			t.Errorf("silenced: %s; want %s, and two in all", got, want)
		}
	}
	first := m.silence(t, id)
	if first.CreatedBy != Whoami() || !strings.Contains(first.Comment, r.ID()) {
		t.Errorf("%+v", first)
	}
	until(t, "prolonged", func() bool { return m.silence(t, id).EndsAt.After(first.EndsAt.Add(time.Second)) })
	m.begin(t.Context(), r) // the undo stops the workers once more
	if got := m.inJournal(t, r); got != id {
		t.Errorf("another silence, %s, beside %s", got, id)
	}

	// The service runs again: what has not been judged since is not sent yet.
	m.over(t.Context())
	if got := m.silence(t, id); got.Status.State != "active" || time.Until(got.EndsAt) > 4*time.Second || m.inJournal(t, r) != "" {
		t.Errorf("after the start: %+v, noted %q", got, m.inJournal(t, r))
	}
	m.end(t.Context())
	if got := m.silence(t, id); got.Status.State != "active" {
		t.Errorf("removed while it holds alerts back: %+v", got)
	}
	until(t, "ended by itself", func() bool { return m.silence(t, id).Status.State == "expired" })
	if said.Len() > 0 {
		t.Error(said)
	}
}

// What ends, also without having started the service again, takes its silence
// away at once; where nothing is held back any more, too.
func TestMaintenanceIsRemovedAtTheEnd(t *testing.T) {
	t.Parallel()
	m, r, _ := maintained(t, startAlertmanager(t))
	m.begin(t.Context(), r)
	until(t, "noted", func() bool { return m.inJournal(t, r) != "" })
	id := m.inJournal(t, r)
	m.over(t.Context())
	m.end(t.Context())
	if got := m.silence(t, id); got.Status.State != "expired" {
		t.Errorf("nothing is held back: %+v", got)
	}

	n, r, _ := maintained(t, m.t.Config.Monitoring.Alertmanager)
	n.begin(t.Context(), r)
	until(t, "noted", func() bool { return n.inJournal(t, r) != "" })
	id = n.inJournal(t, r)
	n.fires(t, "NoWorkers", "sandbox")
	must(t, r.End(t.Context(), journal.Stuck, "workers do not start"))
	must(t, n.am.Expire(t.Context(), id)) // Alertmanager may lose it; another one follows
	quiet := func() bool {
		held, err := n.am.Alerts(t.Context(), `alertname="NoWorkers"`)
		must(t, err)
		return len(held) == 1 && len(held[0].Status.SilencedBy) > 0
	}
	until(t, "silenced again", quiet)
	n.end(t.Context())
	if quiet() {
		t.Error("the service is stopped and nobody is called")
	}
	if got := r.Journal().Log().Outcome(); got != journal.Stuck {
		t.Errorf("the operation was opened again: %q", got)
	}
}

// A process that was killed leaves a silence that ends by itself; whoever goes
// on with the operation in time prolongs it, later makes another.
func TestMaintenanceOfAKilledProcess(t *testing.T) {
	t.Parallel()
	m, r, _ := maintained(t, startAlertmanager(t))
	m.begin(t.Context(), r)
	until(t, "noted", func() bool { return m.inJournal(t, r) != "" })
	id := m.inJournal(t, r)
	m.hand(t.Context()) // nothing is prolonged any more, and nothing is tidied up

	next := m.another(t)
	must(t, next.takeOver(t.Context(), r.Operation))
	before := m.silence(t, id)
	until(t, "prolonged by the next process", func() bool { return m.silence(t, id).EndsAt.After(before.EndsAt.Add(time.Second)) })
	next.hand(t.Context())

	until(t, "ended by itself", func() bool { return m.silence(t, id).Status.State == "expired" })
	late := m.another(t)
	must(t, late.takeOver(t.Context(), r.Operation))
	until(t, "another one", func() bool { return m.inJournal(t, r) != id })
	if got := m.silence(t, m.inJournal(t, r)); got.Status.State != "active" {
		t.Errorf("%+v", got)
	}
	late.over(t.Context())
	none := m.another(t)
	must(t, none.takeOver(t.Context(), r.Operation))
	if none.hand(t.Context()) {
		t.Error("a silence of a service that runs again is taken over")
	}
}

// When the silence of a killed process goes, what it kept back is not sent:
// DeploymentInterrupted fires by then, and inhibits it.
func TestSilenceOutlastsTheLookForTheInterrupted(t *testing.T) {
	e, err := monitoring.Load("../../deploy.yaml", monitoring.Committed, nil)
	must(t, err)
	alerts := monitoring.Alerts(e)
	i := slices.IndexFunc(alerts, func(a monitoring.Alert) bool { return a.Name == "DeploymentInterrupted" })
	late := alerts[i].For + 2*(e.Interval+e.Evaluation) // as an alert may be, after the last sign of life
	if left := silenceLasts - silenceEvery; left <= late {
		t.Errorf("a kill leaves %s of silence, DeploymentInterrupted may fire after %s", left, late)
	}
	if tellEvery >= alerts[i].For {
		t.Errorf("heard of every %s, interrupted after %s", tellEvery, alerts[i].For)
	}
	if !slices.Contains(alerts[i].Inhibits, "NoWorkers") {
		t.Errorf("it inhibits %v", alerts[i].Inhibits)
	}
}
