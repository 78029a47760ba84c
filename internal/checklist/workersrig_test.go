package checklist

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/supervisor"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

const testApp = `
import os, time
from celery import Celery
app = Celery("etf", broker=os.environ.get("CELERY_BROKER_URL"))
app.conf.update(worker_prefetch_multiplier=1, broker_connection_retry_on_startup=True)
print("[app] loading {not json}")

@app.task(name="app.tasks.nap")
def nap(seconds):
    time.sleep(seconds)
`

const goneTask = `
@app.task(name="app.tasks.gone")
def gone():
    pass
`

// workersRig is a live release whose workers supervisor runs, two on RabbitMQ
// and one on Redis, and an installed one that has one task less.
type workersRig struct {
	*Target
	rabbit *testserver.RabbitMQ
	redis  *testserver.Redis
	sv     *supervisor.Client
	python string
}

func startRig(t *testing.T) *workersRig {
	t.Helper()
	rig := &workersRig{Target: filed(t)}
	dir := serverDir(t)
	var wg sync.WaitGroup
	var errs [3]error
	wg.Go(func() { rig.rabbit, errs[0] = testserver.StartRabbitMQ(dir) })
	wg.Go(func() { rig.redis, errs[1] = testserver.StartRedis(dir) })
	wg.Go(func() { rig.python, errs[2] = testserver.Venv(dir, "celery[redis]>=5.5,<6") })
	wg.Wait()
	must(t, errors.Join(errs[:]...))
	t.Cleanup(func() { rig.rabbit.Stop(); rig.redis.Stop() })
	for id, code := range map[string]string{liveID: testApp + goneTask, olderID: testApp} {
		must(t, os.MkdirAll(filepath.Join(rig.backend(id), "app", "core"), 0o755))
		must(t, os.WriteFile(filepath.Join(rig.backend(id), "app", "core", "celery_app.py"), []byte(code), 0o644))
		must(t, os.Symlink(filepath.Dir(filepath.Dir(rig.python)), filepath.Join(rig.Releases.Dir(id), ".venv")))
	}
	program := func(name, broker, node string, n int) string {
		return fmt.Sprintf("[program:%s]\ncommand=%s\ndirectory=%s\nenvironment=CELERY_BROKER_URL=\"%s\",PYTHONDONTWRITEBYTECODE=\"1\"\nnumprocs=%d\n"+
			"process_name=%%(program_name)s_%%(process_num)02d\nstopwaitsecs=2\nredirect_stderr=true\nkillasgroup=true\n",
			name, strings.Join(worker(rig.python, node), " "), rig.backend(liveID), broker, n)
	}
	server, err := testserver.StartSupervisor(dir, program("celery_worker", rig.rabbit.URL(), "worker%(process_num)d@etf", 2)+
		program("redis_worker", rig.redis.URL(2), "worker0@etf", 1))
	must(t, err)
	t.Cleanup(server.Stop)
	rig.serversAt("127.0.0.1:1", server.Socket)
	c := rig.Config
	c.File, c.BrokerURL, c.Timeouts.Check = "deploy.yaml", rig.rabbit.URL(), 30*time.Second
	c.Celery.App, c.Celery.Queue, c.Celery.Nodes, c.Celery.Drain = "app.core.celery_app", "celery", []string{"worker0@etf", "worker1@etf"}, time.Minute
	rig.sv = rig.supervisor()
	return rig
}

func worker(python, node string, more ...string) []string {
	return append([]string{python, "-m", "celery", "-A", "app.core.celery_app", "worker", "--concurrency=1", "-n", node, "--without-gossip", "--without-mingle"}, more...)
}

// stray starts a worker that supervisor knows nothing of.
func (r *workersRig) stray(t *testing.T, node string, more ...string) (kill func()) {
	t.Helper()
	argv := worker(r.python, node, more...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir, cmd.Env = r.backend(liveID), append(os.Environ(), "CELERY_BROKER_URL="+r.Config.BrokerURL, "PYTHONDONTWRITEBYTECODE=1")
	stop, err := testserver.Start(cmd, filepath.Join(t.TempDir(), "log"))
	must(t, err)
	r.answer(t, node)
	return func() { syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); stop() } // a warm stop takes seconds
}

func (r *workersRig) control(t *testing.T) celery.Control {
	t.Helper()
	control, err := r.celery(liveID)
	must(t, err)
	t.Cleanup(func() { control.Close() })
	return control
}

// answer waits for these nodes.
func (r *workersRig) answer(t *testing.T, nodes ...string) {
	t.Helper()
	control := r.control(t)
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if _, err = control.Ping(t.Context(), nodes); err == nil {
			return
		}
	}
	t.Fatalf("%v do not come up: %v", nodes, err)
}

func (r *workersRig) send(t *testing.T, task, args string, options ...string) {
	t.Helper()
	argv := append([]string{"-m", "celery", "-b", r.Config.BrokerURL, "call", task, "--args=" + args}, options...)
	out, err := exec.Command(r.python, argv...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// findings are those of deps:celery by key, of a deployment of this release.
func (r *workersRig) findings(t *testing.T, of string) map[string]report.Finding {
	t.Helper()
	began := time.Now()
	all := map[string]report.Finding{}
	for _, f := range checkCelery.Run(t.Context(), r.Target, Subject{Release: &release.Release{ID: of}, Live: &release.Release{ID: liveID}}) {
		if _, twice := all[f.Key]; twice || f.Key == "" || f.Check != "deps:celery" || strings.Contains(f.Found+f.Do, "secret-1") {
			t.Errorf("%+v: without a key of its own, or with a secret", f)
		}
		all[f.Key] = f
	}
	t.Logf("%s: %d findings in %v", t.Name(), len(all), time.Since(began).Round(time.Millisecond))
	return all
}

func wants(t *testing.T, f report.Finding, status report.Status, words ...string) {
	t.Helper()
	if f.Status != status {
		t.Errorf("%s %s is %s, want %s: %s", f.Looked, f.Key, f.Status, status, f.Found)
	}
	for _, w := range words {
		if !strings.Contains(f.Found, w) {
			t.Errorf("%s does not say %q: %s", f.Looked, w, f.Found)
		}
	}
}

func allWell(t *testing.T, findings map[string]report.Finding, n int) {
	t.Helper()
	if len(findings) != n {
		t.Errorf("%d findings, want %d", len(findings), n)
	}
	for _, f := range findings {
		wants(t, f, report.OK)
	}
}
