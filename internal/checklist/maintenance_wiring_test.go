package checklist

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Between two stages no process lives that could prolong it.
func TestMaintenanceBetweenStages(t *testing.T) {
	t.Parallel()
	m, r, _ := maintained(t, startAlertmanager(t))
	m.rest(t.Context()) // of a stage that stopped nothing
	m.begin(t.Context(), r)
	until(t, "noted", func() bool { return m.inJournal(t, r) != "" })
	m.rest(t.Context())
	id := m.inJournal(t, r)
	if left := time.Until(m.silence(t, id).EndsAt); left < 59*time.Minute || left > time.Hour {
		t.Errorf("it ends in %s, want window.cut_over", left)
	}
	next := m.another(t)
	must(t, next.takeOver(t.Context(), r.Operation))
	until(t, "short again", func() bool { return time.Until(m.silence(t, id).EndsAt) < time.Minute })
}

// An operation does not wait for an Alertmanager that does not answer, nor
// fail for it.
func TestMaintenanceWithoutAlertmanager(t *testing.T) {
	t.Parallel()
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	for _, c := range []struct{ address, says string }{
		{"http://127.0.0.1:1", "connection refused"},
		{"http://" + silent.Addr().String(), "asking Alertmanager"},
	} {
		m, r, said := maintained(t, c.address)
		began := time.Now()
		m.begin(t.Context(), r)
		if took := time.Since(began); took > 100*time.Millisecond {
			t.Errorf("%s: the stop waited %s", c.address, took)
		}
		time.Sleep(2500 * time.Millisecond)
		began = time.Now()
		m.over(t.Context())
		m.end(t.Context())
		if took := time.Since(began); took > 2*time.Second {
			t.Errorf("%s: the end waited %s", c.address, took)
		}
		if n := strings.Count(said.String(), "warning"); n != 1 || !strings.Contains(said.String(), c.says) {
			t.Errorf("said %d times, want once, and %q:\n%s", n, c.says, said)
		}
	}
	target := filed(t)
	none := newMaintenance(target)
	none.begin(t.Context(), nil) // without one configured
	none.rest(t.Context())
	none.over(t.Context())
	none.end(t.Context())
}

// The silence is in force at once, and ends when it should, whatever this
// machine takes for the time.
func TestMaintenanceByAnotherClock(t *testing.T) {
	t.Parallel()
	address := startAlertmanager(t)
	for _, ahead := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		m, r, said := maintained(t, address)
		m.t.Now = func() time.Time { return time.Now().Add(ahead) }
		m.begin(t.Context(), r)
		until(t, "noted", func() bool { return m.inJournal(t, r) != "" })
		if s := m.silence(t, m.inJournal(t, r)); s.Status.State != "active" || time.Until(s.EndsAt) > m.lasts+2*time.Second {
			t.Errorf("%s ahead: it is %s, and ends in %s", ahead, s.Status.State, time.Until(s.EndsAt))
		}
		m.end(t.Context())
		if said.Len() > 0 {
			t.Error(said)
		}
	}
}

// One operation after another under one lease goes on with the silence, and
// notes it where who goes on with that operation looks.
func TestMaintenanceOfTheNextOperation(t *testing.T) {
	t.Parallel()
	m, first, said := maintained(t, startAlertmanager(t))
	m.begin(t.Context(), first)
	until(t, "noted", func() bool { return m.inJournal(t, first) != "" })
	id := m.inJournal(t, first)
	must(t, first.End(t.Context(), journal.Stuck, "workers do not start"))
	j, err := journal.Create(t.Context(), m.t.Host, m.t.journalDir(), journal.Header{ID: journal.NewID("deploy", time.Now()), Kind: "deploy"}, time.Now)
	must(t, err)
	next := &step.Run{Operation: step.NewOperation(j, m.t.Observer, time.Now)}
	m.begin(t.Context(), next)
	until(t, "noted by the next one", func() bool { return m.inJournal(t, next) != "" })
	if got := m.inJournal(t, next); got != id {
		t.Errorf("another silence, %s, beside %s", got, id)
	}
	until(t, "prolonged for the next one", func() bool { return strings.Contains(m.silence(t, id).Comment, next.ID()) })
	// What comes too late does not open an operation again.
	must(t, next.End(t.Context(), journal.Succeeded, ""))
	m.over(t.Context())
	for _, r := range []*step.Run{first, next} {
		if r.Journal().Log().Outcome() == "" {
			t.Errorf("%s was opened again", r.ID())
		}
	}
	if strings.Contains(said.String(), "warning") {
		t.Error(said)
	}
}

// The stop begins it, and the end of the lease ends it.
func TestMaintenanceOfAStop(t *testing.T) {
	t.Parallel()
	m, _, _ := maintained(t, startAlertmanager(t))
	m.t.Config.Services = config.Services{Socket: "/nowhere.sock", Beat: "celery_beat", Worker: "celery_worker"}
	held, op := m.t.begunFast(t)
	n, r := held.t.maintenance, &step.Run{Operation: op}
	if err := held.t.stopWorkers(t.Context(), r); err == nil {
		t.Error("there is no supervisor")
	}
	until(t, "noted", func() bool { return n.inJournal(t, r) != "" })
	if got := m.silence(t, n.inJournal(t, r)).Status.State; got != "active" {
		t.Errorf("while the service is stopped: %s", got)
	}
	held.release()
	if got := m.silence(t, n.inJournal(t, r)).Status.State; got != "expired" {
		t.Errorf("after the end: %s", got)
	}
}
