package celery_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
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

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

var (
	rabbit *testserver.RabbitMQ
	redis  *testserver.Redis
	python string
	nodes  = []string{"worker0@test", "worker1@test"} // with AMQP; with Redis the first only
)

func TestMain(m *testing.M) {
	os.Exit(testserver.Run(m, func(dir string) error {
		var wg sync.WaitGroup
		var errs [3]error
		wg.Go(func() { rabbit, errs[0] = testserver.StartRabbitMQ(dir) })
		wg.Go(func() { redis, errs[1] = testserver.StartRedis(dir) })
		wg.Go(func() { python, errs[2] = testserver.Venv(dir, "celery[redis]>=5.5,<6") })
		wg.Wait()
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		for i, node := range nodes {
			if _, err := startWorker(filepath.Join(dir, fmt.Sprintf("amqp%d.log", i)), rabbit.URL(), node); err != nil {
				return err
			}
		}
		if _, err := startWorker(filepath.Join(dir, "prefix.log"), redis.URL(4), nodes[0], "KEYPREFIX=etf:"); err != nil {
			return err
		}
		_, err := startWorker(filepath.Join(dir, "redis.log"), redis.URL(3), nodes[0])
		return err
	}))
}

func startWorker(log, broker, node string, env ...string) (stop func(), err error) {
	cmd := exec.Command(python, "-m", "celery", "-A", "app.core.celery_app", "worker", "--concurrency=1", "-n", node, "--without-gossip", "--without-mingle", "--loglevel=info")
	cmd.Dir = "testdata"
	cmd.Env = append(append(os.Environ(), "CELERY_BROKER_URL="+broker, "PYTHONDONTWRITEBYTECODE=1"), env...)
	return testserver.Start(cmd, log)
}

// brokers are the two kinds, each with its workers.
func brokers(t *testing.T, f func(t *testing.T, c celery.Control, url string, nodes []string)) {
	for name, url := range map[string]string{"amqp": rabbit.URL(), "redis": redis.URL(3)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, nodes := open(t, host.Local{}, url), nodes
			if name == "redis" {
				nodes = nodes[:1]
			}
			ready(t, c, nodes)
			f(t, c, url, nodes)
		})
	}
}

func open(t *testing.T, h host.Host, url string, env ...string) celery.Control {
	t.Helper()
	c, err := celery.New(h, celery.Options{BrokerURL: url, App: "app.core.celery_app", Python: python, Dir: "testdata", Env: append(env, "PYTHONDONTWRITEBYTECODE=1")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ready(t *testing.T, c celery.Control, nodes []string) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if _, err = c.Ping(t.Context(), nodes); err == nil {
			return
		}
	}
	t.Fatalf("the workers do not come up: %v", err)
}

// send queues a task as an application would.
func send(t *testing.T, url string, seconds float64) {
	t.Helper()
	call(t, url, "app.tasks.nap", fmt.Sprintf("--args=[%g]", seconds))
}

func call(t *testing.T, url, task string, options ...string) {
	t.Helper()
	cmd := exec.Command(python, append([]string{"-m", "celery", "-A", "app.core.celery_app", "call", task}, options...)...)
	cmd.Dir = "testdata"
	cmd.Env = append(os.Environ(), "CELERY_BROKER_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestControl(t *testing.T) {
	brokers(t, func(t *testing.T, c celery.Control, url string, nodes []string) {
		ctx := t.Context()
		pong, err := c.Ping(ctx, nil)
		if err != nil || len(pong) != len(nodes) || pong[nodes[0]] != "pong" {
			t.Errorf("Ping of all = %v, %v", pong, err)
		}
		short, cancel := context.WithTimeout(ctx, 8*time.Second)
		defer cancel()
		var missing *celery.MissingError
		pong, err = c.Ping(short, []string{nodes[0], "worker7@test"})
		if !errors.As(err, &missing) || !errors.Is(err, celery.ErrNoAnswer) || !slices.Equal(missing.Missing, []string{"worker7@test"}) || len(pong) != 1 {
			t.Errorf("Ping of a missing worker = %v, %v", pong, err)
		}
		registered, err := c.Registered(ctx, nodes)
		if err != nil || !slices.Contains(registered[nodes[0]], "app.tasks.nap") || len(registered) != len(nodes) {
			t.Errorf("Registered = %v, %v", registered, err)
		}
		stats, err := c.Stats(ctx, nodes)
		if err != nil || len(stats) != len(nodes) {
			t.Fatalf("Stats = %v, %v", stats, err)
		}
		s := stats[nodes[0]]
		if cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", s.PID)); err != nil || !strings.Contains(string(cmdline), nodes[0]) || len(s.Processes) != 1 {
			t.Errorf("Stats of %s = %+v: %q, %v", nodes[0], s, cmdline, err)
		}
		queues, err := c.ActiveQueues(ctx, nodes)
		if err != nil || !slices.Equal(queues[nodes[0]], []string{"celery"}) {
			t.Errorf("ActiveQueues = %v, %v", queues, err)
		}
	})
}

func TestConfTellsTheSchedule(t *testing.T) {
	want := celery.Conf{BeatSchedule: map[string]celery.BeatEntry{
		"rates":    {Task: "app.tasks.nap", Schedule: "<crontab: 30 16 * * * (m/h/dM/MY/d)>"},
		"workdays": {Task: "app.tasks.nap", Schedule: "<crontab: */15 2,14 * * mon-fri (m/h/dM/MY/d)>"},
		"often":    {Task: "app.tasks.nap", Schedule: "0:05:00"},
		"daily":    {Task: "app.tasks.nap", Schedule: "1 day, 0:00:00"},
		"seconds":  {Task: "app.tasks.nap", Schedule: "30.0"},
	}}
	brokers(t, func(t *testing.T, c celery.Control, _ string, nodes []string) {
		conf, err := c.Conf(t.Context(), nodes)
		if err != nil || len(conf) != len(nodes) {
			t.Fatalf("Conf = %v, %v", conf, err)
		}
		if diff := cmp.Diff(want, conf[nodes[0]]); diff != "" {
			t.Error(diff)
		}
	})
}

// Workers that take nothing more leave the tasks where they are, until they
// are told to go on; what they are doing meanwhile shows.
func TestDrain(t *testing.T) {
	brokers(t, func(t *testing.T, c celery.Control, url string, nodes []string) {
		ctx := t.Context()
		send(t, url, 6)
		var busy string
		for end := time.Now().Add(20 * time.Second); busy == "" && time.Now().Before(end); {
			active, err := c.Active(ctx, nodes)
			if err != nil {
				t.Fatal(err)
			}
			for node, tasks := range active {
				if len(tasks) == 1 && tasks[0].Name == "app.tasks.nap" && tasks[0].ID != "" && tasks[0].PID > 0 && time.Since(tasks[0].Started).Abs() < time.Minute {
					busy = node
				}
			}
		}
		if busy == "" {
			t.Fatal("no worker shows the task that it runs")
		}
		for range 2 {
			if err := c.CancelConsumer(ctx, "celery", nodes); err != nil {
				t.Fatal(err)
			}
		}
		queues, err := c.ActiveQueues(ctx, nodes)
		if err != nil || len(slices.Concat(slices.Collect(maps.Values(queues))...)) != 0 {
			t.Errorf("ActiveQueues after CancelConsumer = %v, %v", queues, err)
		}
		send(t, url, 0)
		time.Sleep(300 * time.Millisecond)
		depth, err := c.QueueDepth(ctx, "celery")
		if err != nil || depth.Messages != 1 || depth.Consumers > 0 {
			t.Errorf("QueueDepth while nobody takes anything = %+v, %v", depth, err)
		}
		if err := c.AddConsumer(ctx, "celery", nodes); err != nil {
			t.Fatal(err)
		}
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(100 * time.Millisecond) {
			depth, err = c.QueueDepth(ctx, "celery")
			if err == nil && depth.Messages == 0 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("QueueDepth after AddConsumer = %+v, %v", depth, err)
			}
		}
		if reserved, err := c.Reserved(ctx, nodes); err != nil || len(reserved) != len(nodes) {
			t.Errorf("Reserved = %v, %v", reserved, err)
		}
		if _, err := c.QueueDepth(ctx, "no-such-queue"); !errors.Is(err, celery.ErrNoQueue) {
			t.Errorf("QueueDepth of no queue: %v", err)
		}
	})
}

func TestNativeIsQuickWithNames(t *testing.T) {
	for name, url := range map[string]string{"amqp": rabbit.URL(), "redis": redis.URL(3)} {
		c, nodes := open(t, host.Local{}, url), nodes
		if name == "redis" {
			nodes = nodes[:1]
		}
		ready(t, c, nodes)
		begin := time.Now()
		const rounds = 20
		for range rounds {
			if _, err := c.Ping(t.Context(), nodes); err != nil {
				t.Fatal(err)
			}
		}
		each := time.Since(begin) / rounds
		t.Logf("%s: ping of %d workers: %v", name, len(nodes), each)
		if each > 500*time.Millisecond {
			t.Errorf("%s: ping of named workers took %v: it waits although all have answered", name, each)
		}
	}
}

func TestBrokerErrorsAreToldApart(t *testing.T) {
	closed, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	for _, test := range []struct {
		name, url string
		want      error
	}{
		{"amqp, wrong password", fmt.Sprintf("amqp://etf:wrong-word@127.0.0.1:%d//", rabbit.Port), celery.ErrLogin},
		{"amqp, virtual host", strings.TrimSuffix(rabbit.URL(), "//") + "/nowhere", celery.ErrLogin},
		{"amqp, closed port", fmt.Sprintf("amqp://etf:wrong-word@127.0.0.1:%d//", closed), celery.ErrUnreachable},
		{"amqp, silent", fmt.Sprintf("amqp://etf:wrong-word@%s//", silent.Addr()), celery.ErrUnreachable},
		{"redis, wrong password", fmt.Sprintf("redis://:wrong-word@127.0.0.1:%d/3", redis.Port), celery.ErrLogin},
		{"redis, closed port", fmt.Sprintf("redis://:wrong-word@127.0.0.1:%d/3", closed), celery.ErrUnreachable},
		{"redis, silent", fmt.Sprintf("redis://:wrong-word@%s/3", silent.Addr()), celery.ErrUnreachable},
		{"redis, no workers", redis.URL(9), celery.ErrNoAnswer},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := open(t, host.Local{}, test.url)
			limit := 4 * time.Second
			if test.want == celery.ErrNoAnswer {
				limit = 8 * time.Second
			}
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			begin := time.Now()
			_, err := c.Ping(ctx, nodes)
			if !errors.Is(err, test.want) || err != nil && strings.Contains(err.Error(), "wrong-word") {
				t.Errorf("Ping: %v, want %v", err, test.want)
			}
			if time.Since(begin) > limit+time.Second {
				t.Errorf("Ping took %v", time.Since(begin))
			}
		})
	}
	for _, bad := range []string{"amqp://u:hidden-word@h:port/", "sqs://u:hidden-word@h", "amqp://u:hidden%zz@h", "redis://:hidden-word@h/x"} {
		if _, err := celery.New(host.Local{}, celery.Options{BrokerURL: bad, Python: "p", App: "a"}); err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("New(%q): %v", bad, err)
		}
	}
}

// argvs remembers what was run.
type argvs struct {
	host.Local
	mu  sync.Mutex
	all []string
}

func (a *argvs) Run(ctx context.Context, c host.Command) (host.Result, error) {
	a.mu.Lock()
	a.all = append(a.all, strings.Join(c.Argv, " "))
	a.mu.Unlock()
	return a.Local.Run(ctx, c)
}

// Workers whose transport was configured with a prefix of its own do not hear
// what is asked natively: the command asks them, without the broker's password
// among its arguments.
func TestTheCommandAsksWhoDoesNotListen(t *testing.T) {
	h := &argvs{}
	c := open(t, h, redis.URL(4), "KEYPREFIX=etf:")
	ready(t, c, nodes[:1])
	if len(h.all) == 0 || strings.Contains(strings.Join(h.all, "\n"), redis.Password) {
		t.Errorf("commands: %q", h.all)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	survey, err := c.Survey(ctx, nodes[:1], 5*time.Second)
	w := survey.Workers[nodes[0]]
	if err != nil || !survey.ByCommand || w.PID == 0 || w.Versions.Celery == "" || len(w.Registered) == 0 || len(w.Silent) > 0 {
		t.Errorf("Survey = %+v, %v", survey, err)
	}
	bare, err := celery.New(host.Local{}, celery.Options{BrokerURL: redis.URL(4)})
	if err != nil {
		t.Fatal(err)
	}
	defer bare.Close()
	if _, err := bare.Ping(t.Context(), nodes[:1]); err == nil || !strings.Contains(err.Error(), "without a release") {
		t.Errorf("without a release: %v", err)
	}
}

// A broker that hangs does not hold the caller; when it is back, so are we.
func TestABrokerThatFreezes(t *testing.T) {
	c := open(t, host.Local{}, rabbit.URL())
	ready(t, c, nodes)
	rabbit.Signal(syscall.SIGSTOP)
	for range 2 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		begin := time.Now()
		_, err := c.Ping(ctx, nodes)
		cancel()
		if !errors.Is(err, celery.ErrUnreachable) || time.Since(begin) > 3*time.Second {
			t.Errorf("Ping of a frozen broker: %v after %v", err, time.Since(begin))
		}
		if _, err := c.QueueDepth(ctx, "celery"); err == nil {
			t.Error("QueueDepth of a frozen broker succeeded")
		}
	}
	rabbit.Signal(syscall.SIGCONT)
	ready(t, c, nodes)
}
