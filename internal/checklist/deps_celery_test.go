package checklist

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
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

func TestDepsCelery(t *testing.T) {
	rig := startRig(t)
	rig.answer(t, rig.Config.Celery.Nodes...)
	t.Run("healthy", rig.healthy)
	t.Run("tasks that the code to come does not know", rig.unknownTasks)
	t.Run("long task", rig.longTask)
	t.Run("strays", rig.strayWorkers)
	t.Run("a consumer that says nothing", rig.silentConsumer)
	t.Run("not supervisor's", rig.nameTaken)
	t.Run("stopped", rig.stopped)
	t.Run("frozen", rig.frozen)
	t.Run("supervisor is gone", rig.noSupervisor)
	t.Run("broker", rig.brokenBroker)
	rig.Config.BrokerURL, rig.Config.Services.Worker, rig.Config.Celery.Nodes = rig.redis.URL(2), "redis_worker", []string{"worker0@etf"}
	rig.answer(t, "worker0@etf")
	t.Run("redis healthy", func(t *testing.T) { allWell(t, rig.findings(t, liveID), 5) })
	t.Run("redis strays", rig.strayWorkers)
	t.Run("redis tasks", rig.unknownTasks)
}

func (r *workersRig) healthy(t *testing.T) {
	got := r.findings(t, liveID)
	allWell(t, got, 6)
	processes, err := r.processes(t.Context(), "celery_worker")
	must(t, err)
	wants(t, got["worker1@etf"], report.OK, "Celery 5.", "kombu 5.", "celery_worker:celery_worker_01, process "+fmt.Sprint(processes[1].PID), "0 active, 0 reserved, 0 scheduled")
	if c := got["queue celery"].Counts; c["consumers"] != 2 || c["messages"] != 0 {
		t.Errorf("queue: %v", c)
	}
	if c := got["worker1@etf"].Counts; c["pid"] != int64(processes[1].PID) {
		t.Errorf("worker1: %v", c)
	}
	wants(t, r.findings(t, olderID)["tasks"], report.OK, olderID, "registers")
}

func (r *workersRig) unknownTasks(t *testing.T) {
	control := r.control(t)
	must(t, control.CancelConsumer(t.Context(), "celery", r.Config.Celery.Nodes))
	r.send(t, "app.tasks.gone", "[]")
	r.send(t, "app.tasks.nap", "[0]")
	got := r.findings(t, liveID)
	wants(t, got["tasks"], report.OK)
	wants(t, got["queue celery"], report.Fault, "nobody takes them")
	wants(t, got["worker0@etf"], report.Warning, "takes no tasks")
	got = r.findings(t, olderID)
	wants(t, got["tasks"], report.Fault, olderID+" does not register app.tasks.gone (1 waiting)")
	if c := got["tasks"].Counts; c["looked"] != 2 || c["unknown"] != 1 || c["waiting"] != 2 || !slices.Equal(got["tasks"].Samples, []string{"app.tasks.gone (1 waiting)"}) {
		t.Errorf("%v %v", c, got["tasks"].Samples)
	}
	for _, c := range (Checks{checkCelery}).asWarnings(true) {
		if err := Judge(c.Run(t.Context(), r.Target, Subject{Release: &release.Release{ID: olderID}, Live: &release.Release{ID: liveID}})); err != nil {
			t.Errorf("with -force: %v", err)
		}
	}
	r.send(t, "app.tasks.nobodys", "[]")
	wants(t, r.findings(t, liveID)["tasks"], report.Warning, "app.tasks.nobodys (1 waiting)", "no more than the live workers")
	must(t, control.AddConsumer(t.Context(), "celery", r.Config.Celery.Nodes))
	r.send(t, "app.tasks.gone", "[]", "--countdown=3600")
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if f := r.findings(t, olderID)["tasks"]; slices.ContainsFunc(f.Samples, func(s string) bool { return s == "app.tasks.gone (1 scheduled)" }) {
			wants(t, f, report.Fault)
			break
		} else if time.Now().After(end) {
			t.Fatalf("%+v", f)
		}
	}
}

func (r *workersRig) longTask(t *testing.T) {
	r.send(t, "app.tasks.nap", "[6]")
	drain := r.Config.Celery.Drain
	defer func() { r.Config.Celery.Drain = drain }()
	var f report.Finding
	for end := time.Now().Add(20 * time.Second); f.Status != report.Warning && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		f = r.findings(t, liveID)["longest task"]
	}
	wants(t, f, report.Warning, "app.tasks.nap", "stopwaitsecs (2.0 s)")
	if f.Counts["longest_ms"] <= 2000 || f.Counts["stopwait_ms"] != 2000 {
		t.Errorf("%v", f.Counts)
	}
	r.Config.Celery.Drain = time.Second
	got := r.findings(t, liveID)
	wants(t, got["longest task"], report.Fault, "celery.drain, 1.0 s")
	if n := got["worker0@etf"].Counts["active"] + got["worker1@etf"].Counts["active"]; n != 1 {
		t.Errorf("%d active", n)
	}
}

func (r *workersRig) strayWorkers(t *testing.T) {
	stop := r.stray(t, "old@laptop")
	f := r.findings(t, liveID)["strays"]
	wants(t, f, report.Fault, "old@laptop", "taking tasks from queue celery")
	if !slices.Equal(f.Samples, []string{"old@laptop"}) || f.Counts["taking"] != 1 {
		t.Errorf("%+v", f)
	}
	stop()
	stop = r.stray(t, "guest@laptop", "-Q", "other")
	wants(t, r.findings(t, liveID)["strays"], report.Warning, "guest@laptop", "not taking tasks")
	stop()
}

func (r *workersRig) silentConsumer(t *testing.T) {
	conn, err := amqp.Dial(r.Config.BrokerURL)
	must(t, err)
	defer conn.Close()
	ch, err := conn.Channel()
	must(t, err)
	_, err = ch.Consume("celery", "", false, false, false, false, nil)
	must(t, err)
	wants(t, r.findings(t, liveID)["strays"], report.Fault, "queue celery has 1 consumers more than workers answered")
}

func (r *workersRig) nameTaken(t *testing.T) {
	must(t, r.sv.StopProcess(t.Context(), "celery_worker:celery_worker_01", true))
	stop := r.stray(t, "worker1@etf")
	wants(t, r.findings(t, liveID)["worker1@etf"], report.Fault, "which supervisor did not start", "celery_worker:celery_worker_01 (STOPPED)")
	stop()
}

func (r *workersRig) stopped(t *testing.T) {
	connect := r.Config.Timeouts.Connect
	defer func() { r.Config.Timeouts.Connect = connect }()
	r.Config.Timeouts.Connect = 2 * time.Second
	wants(t, r.findings(t, liveID)["worker1@etf"], report.Fault, "does not answer", "celery_worker:celery_worker_01 (STOPPED)")
	nodes := r.Config.Celery.Nodes
	r.Config.Celery.Nodes = nodes[:1]
	wants(t, r.findings(t, liveID)["celery_worker:celery_worker_01"], report.Warning, "does not run")
	must(t, r.sv.StartProcess(t.Context(), "celery_worker:celery_worker_01", true))
	r.answer(t, nodes...)
	wants(t, r.findings(t, liveID)["strays"], report.Fault, "worker1@etf, which is supervisor's celery_worker:celery_worker_01")
	r.Config.Celery.Nodes = nodes
	allWell(t, r.findings(t, liveID), 6)
}

func (r *workersRig) frozen(t *testing.T) {
	connect := r.Config.Timeouts.Connect
	defer func() { r.Config.Timeouts.Connect = connect }()
	r.Config.Timeouts.Connect = 2 * time.Second
	processes, err := r.processes(t.Context(), "celery_worker")
	must(t, err)
	for i, p := range processes {
		syscall.Kill(p.PID, syscall.SIGSTOP)
		defer syscall.Kill(p.PID, syscall.SIGCONT)
		began := time.Now()
		got := r.findings(t, liveID)
		if took := time.Since(began); took > 4*time.Second {
			t.Errorf("%d frozen: %v", i+1, took)
		}
		wants(t, got[fmt.Sprintf("worker%d@etf", i)], report.Fault, "does not answer", fmt.Sprintf("%s (RUNNING, process %d)", p.FullName(), p.PID))
		wants(t, got["strays"], report.OK)
		if i == 0 {
			wants(t, got["worker1@etf"], report.OK)
		} else {
			wants(t, got["tasks"], report.Unknown)
		}
	}
}

func (r *workersRig) noSupervisor(t *testing.T) {
	r.answer(t, r.Config.Celery.Nodes...)
	socket := r.Config.Services.Socket
	defer func() { r.Config.Services.Socket = socket }()
	r.Config.Services.Socket = filepath.Join(t.TempDir(), "nowhere.sock")
	got := r.findings(t, liveID)
	wants(t, got["processes"], report.Unknown, "nowhere.sock")
	wants(t, got["worker0@etf"], report.OK, "Celery 5.")
}

// A broker that cannot be asked is not looked at; nothing is said of the workers.
func (r *workersRig) brokenBroker(t *testing.T) {
	closed, err := testserver.Port()
	must(t, err)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	url, connect := r.Config.BrokerURL, r.Config.Timeouts.Connect
	defer func() { r.Config.BrokerURL, r.Config.Timeouts.Connect = url, connect }()
	r.Config.Timeouts.Connect = 4 * time.Second // RabbitMQ makes who has a wrong password wait
	for what, address := range map[string]string{
		"the broker is not reachable":     fmt.Sprintf("amqp://etf:hidden-word@127.0.0.1:%d//", closed),
		"i/o timeout":                     fmt.Sprintf("amqp://etf:hidden-word@%s//", silent.Addr()),
		"the broker refused the login":    fmt.Sprintf("amqp://etf:hidden-word@127.0.0.1:%d//", r.rabbit.Port),
		"no access to this vhost":         strings.TrimSuffix(r.rabbit.URL(), "//") + "/nowhere",
		"the broker refused the login: r": fmt.Sprintf("redis://:hidden-word@127.0.0.1:%d/2", r.redis.Port),
	} {
		r.Config.BrokerURL = address
		began := time.Now()
		got := r.findings(t, liveID)
		if len(got) != 1 || time.Since(began) > 6*time.Second || strings.Contains(got["broker"].Found, "hidden-word") {
			t.Errorf("%s: %v after %v", what, got, time.Since(began))
		}
		if what != "no access to this vhost" {
			wants(t, got["broker"], report.Unknown, what)
		}
		wants(t, got["broker"], report.Unknown)
	}
}

// A worker may be a child of what supervisor started.
func TestSupervisedIsFoundAmongTheAncestors(t *testing.T) {
	target := &Target{Host: host.Local{}}
	cmd := exec.Command("sleep", "60")
	must(t, cmd.Start())
	defer func() { cmd.Process.Kill(); cmd.Wait() }()
	me := []supervisor.ProcessInfo{{PID: os.Getpid()}}
	if got := target.supervised(t.Context(), cmd.Process.Pid, me); got != os.Getpid() {
		t.Errorf("a child of %d: %d", os.Getpid(), got)
	}
	for _, pid := range []int{0, 1, os.Getppid(), 1 << 30} {
		if got := target.supervised(t.Context(), pid, me); got != 0 {
			t.Errorf("%d: %d", pid, got)
		}
	}
}

// What becomes of a task that the code to come does not register depends on
// where it is, and on whether the live code knows it.
func TestTasksToCome(t *testing.T) {
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Celery.Nodes, target.Config.Celery.Queue = []string{"w@etf"}, "celery"
	task := []celery.Task{{Name: "app.gone"}}
	live := []string{"app.gone", "app.kept"}
	many := celery.Waiting{Looked: 1000, More: true, Tasks: map[string]int{"app.kept": 999, "celery.backend_cleanup": 1}}
	for name, c := range map[string]struct {
		worker  celery.Worker
		waiting celery.Waiting
		err     error
		status  report.Status
		says    string
	}{
		"none":             {celery.Worker{Registered: live}, celery.Waiting{}, nil, report.OK, "new registers 1 tasks"},
		"part of many":     {celery.Worker{Registered: live}, many, nil, report.OK, "the next 1 000 of 5 000 waiting tasks were looked at"},
		"active":           {celery.Worker{Registered: live, Active: task}, celery.Waiting{}, nil, report.Warning, "app.gone (1 active)"},
		"reserved":         {celery.Worker{Registered: live, Reserved: task}, celery.Waiting{}, nil, report.Fault, "app.gone (1 reserved)"},
		"scheduled":        {celery.Worker{Registered: live, Scheduled: task}, celery.Waiting{}, nil, report.Fault, "app.gone (1 scheduled)"},
		"unacknowledged":   {celery.Worker{Registered: live}, celery.Waiting{Unacked: map[string]int{"app.gone": 2}}, nil, report.Fault, "app.gone (2 unacknowledged)"},
		"unknown to both":  {celery.Worker{Registered: live}, celery.Waiting{Tasks: map[string]int{"app.other": 1}}, nil, report.Warning, "app.other (1 waiting)"},
		"live says none":   {celery.Worker{}, celery.Waiting{Tasks: map[string]int{"app.other": 1}}, nil, report.Fault, "app.other (1 waiting)"},
		"no tasks":         {celery.Worker{Registered: live}, celery.Waiting{Looked: 3, Strange: 3}, nil, report.Warning, "3 messages of the queue are no tasks"},
		"not looked into":  {celery.Worker{Registered: live}, celery.Waiting{}, fmt.Errorf("%w: quorum", celery.ErrNoPeek), report.Warning, "what waits was not looked at"},
		"could not look":   {celery.Worker{Registered: live}, celery.Waiting{}, celery.ErrUnreachable, report.Unknown, "not reachable"},
		"reserved, silent": {celery.Worker{Reserved: task}, celery.Waiting{}, nil, report.Fault, "app.gone (1 reserved)"},
	} {
		t.Run(name, func(t *testing.T) {
			sight := &celerySight{t: target, survey: celery.Survey{Workers: map[string]celery.Worker{"w@etf": c.worker}}, waiting: c.waiting, waitingErr: c.err,
				queue: celery.Queue{Messages: 5000}, known: map[string]bool{"app.kept": true}, knownBy: "new"}
			wants(t, sight.tasks(), c.status, c.says)
		})
	}
	sight := &celerySight{t: target, survey: celery.Survey{ByCommand: true}, surveyErr: &celery.MissingError{Question: "stats", Missing: []string{"w@etf"}}}
	wants(t, sight.findings()[0], report.Fault, "does not answer", "celery command")
}
