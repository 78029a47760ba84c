package celery_test

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Whoever answers is seen, also one that nobody expected, and nobody is waited
// for longer than a moment once all that were expected have answered.
func TestSurveySeesStrays(t *testing.T) {
	brokers(t, func(t *testing.T, c celery.Control, url string, nodes []string) {
		alone, err := c.Survey(t.Context(), nodes, 10*time.Second)
		if err != nil || !slices.Equal(alone.Nodes(), nodes) || alone.ByCommand {
			t.Fatalf("Survey = %+v, %v", alone, err)
		}
		stop, err := startWorker(filepath.Join(t.TempDir(), "stray.log"), url, "old@laptop")
		if err != nil {
			t.Fatal(err)
		}
		defer stop()
		ready(t, c, []string{"old@laptop"})
		began := time.Now()
		survey, err := c.Survey(t.Context(), nodes, 10*time.Second)
		took := time.Since(began)
		if err != nil || len(survey.Workers) != len(nodes)+1 || took > 2*time.Second {
			t.Errorf("Survey = %v, %v after %v", survey.Nodes(), err, took)
		}
		t.Logf("%s: %v", t.Name(), took)
		stray := survey.Workers["old@laptop"]
		v := stray.Versions
		if stray.PID == 0 || len(stray.Silent) > 0 || !strings.HasPrefix(v.Celery, "5.") || !strings.HasPrefix(v.Kombu, "5.") || !strings.HasPrefix(v.Python, "3.") ||
			!slices.Contains(stray.Registered, "app.tasks.nap") || len(stray.Queues) != 1 || stray.Queues[0].Name != "celery" || !stray.Queues[0].Durable {
			t.Errorf("the stray: %+v", stray)
		}
	})
}

// A worker that is frozen is missing, and the others are heard all the same.
func TestSurveyOfFrozenWorkers(t *testing.T) {
	c := open(t, host.Local{}, rabbit.URL())
	ready(t, c, nodes)
	stats, err := c.Stats(t.Context(), nodes)
	if err != nil {
		t.Fatal(err)
	}
	for frozen := 1; frozen <= len(nodes); frozen++ {
		pid := stats[nodes[frozen-1]].PID
		syscall.Kill(pid, syscall.SIGSTOP)
		defer syscall.Kill(pid, syscall.SIGCONT)
		began := time.Now()
		survey, err := c.Survey(t.Context(), nodes, 2*time.Second)
		var missing *celery.MissingError
		if !errors.As(err, &missing) || !slices.Equal(missing.Missing, nodes[:frozen]) || !slices.Equal(survey.Nodes(), nodes[frozen:]) {
			t.Errorf("%d frozen: %+v, %v", frozen, survey.Nodes(), err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%d frozen: %v", frozen, took)
		}
	}
}

func TestScheduledTasksAreSeen(t *testing.T) {
	brokers(t, func(t *testing.T, c celery.Control, url string, nodes []string) {
		call(t, url, "app.tasks.nap", "--args=[0]", "--countdown=3600")
		for end := time.Now().Add(20 * time.Second); ; {
			scheduled, err := c.Scheduled(t.Context(), nodes)
			if err != nil {
				t.Fatal(err)
			}
			for _, tasks := range scheduled {
				if len(tasks) == 1 && tasks[0].Name == "app.tasks.nap" && tasks[0].ID != "" {
					if left := time.Until(tasks[0].ETA); left < 50*time.Minute || left > time.Hour {
						t.Errorf("it is due in %v", left)
					}
					return
				}
			}
			if time.Now().After(end) {
				t.Fatalf("Scheduled = %v", scheduled)
			}
		}
	})
}

// What code registers is known without a broker, also where its start prints.
func TestTasksOfCodeThatDoesNotRun(t *testing.T) {
	o := celery.Options{App: "app.core.celery_app", Python: python, Dir: "testdata", Env: []string{"CELERY_BROKER_URL=amqp://127.0.0.1:1//", "PYTHONDONTWRITEBYTECODE=1"}}
	names, err := celery.Tasks(t.Context(), host.Local{}, o)
	if err != nil || !slices.Equal(names, []string{"app.tasks.nap"}) {
		t.Errorf("Tasks = %v, %v", names, err)
	}
	o.App = "app.core.nothing"
	if names, err := celery.Tasks(t.Context(), host.Local{}, o); err == nil || !strings.Contains(err.Error(), "app.core.nothing") {
		t.Errorf("of no application: %v, %v", names, err)
	}
}
