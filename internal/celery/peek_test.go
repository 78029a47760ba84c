package celery_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	amqp "github.com/rabbitmq/amqp091-go"
	goredis "github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// sendMany queues tasks that nobody takes, by three names.
func sendMany(t *testing.T, url, queue string, n int) {
	t.Helper()
	cmd := exec.Command(python, "-c", fmt.Sprintf(`
from app.core.celery_app import app
with app.producer_pool.acquire() as producer:
    for i in range(%d):
        app.send_task("app.tasks.t%%d" %% (i %% 3), args=[i, "x" * 50], queue=%q, producer=producer, priority=i %% 2 * 3)
`, n, queue))
	cmd.Dir = "testdata"
	cmd.Env = append(os.Environ(), "CELERY_BROKER_URL="+url, "PYTHONDONTWRITEBYTECODE=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func channel(t *testing.T) *amqp.Channel {
	t.Helper()
	conn, err := amqp.Dial(rabbit.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

func TestPeekLeavesARabbitsQueueAsItIs(t *testing.T) {
	const n = 1200
	c := open(t, host.Local{}, rabbit.URL())
	sendMany(t, rabbit.URL(), "waiting", n)
	queue := celery.Consumed{Name: "waiting", Durable: true}
	for range 3 {
		began := time.Now()
		w, err := c.Peek(t.Context(), queue, 1000)
		if err != nil || w.Looked != 1000 || !w.More || w.Strange != 0 {
			t.Fatalf("Peek = %+v, %v", w, err)
		}
		t.Logf("1000 messages in %v", time.Since(began))
		if diff := cmp.Diff(map[string]int{"app.tasks.t0": 334, "app.tasks.t1": 333, "app.tasks.t2": 333}, w.Tasks); diff != "" {
			t.Error(diff)
		}
	}
	ch := channel(t)
	for i := range n {
		d, ok, err := ch.Get("waiting", true)
		if err != nil || !ok {
			t.Fatalf("message %d of %d is gone: %v", i, n, err)
		}
		var body []json.RawMessage
		var args []any
		if json.Unmarshal(d.Body, &body) != nil || json.Unmarshal(body[0], &args) != nil || args[0] != float64(i) ||
			d.Headers["task"] != fmt.Sprintf("app.tasks.t%d", i%3) || d.Headers["id"] == nil || d.CorrelationId == "" || d.DeliveryMode != amqp.Persistent {
			t.Fatalf("message %d: %+v %s", i, d.Headers, d.Body)
		}
	}
	if w, err := c.Peek(t.Context(), queue, 1000); err != nil || w.Looked != 0 {
		t.Errorf("of an empty queue: %+v, %v", w, err)
	}
	if _, err := c.Peek(t.Context(), celery.Consumed{Name: "nowhere"}, 10); !errors.Is(err, celery.ErrNoQueue) {
		t.Errorf("of no queue: %v", err)
	}
}

// A look into a queue that counts or ends with its readers would change it.
func TestPeekKeepsItsHandsOffOtherQueues(t *testing.T) {
	c, ch := open(t, host.Local{}, rabbit.URL()), channel(t)
	for name, args := range map[string]amqp.Table{
		"quorum":   {"x-queue-type": "quorum"},
		"priority": {"x-max-priority": int32(5)},
	} {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ch.QueueDeclare("passing", false, true, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"quorum", "priority", "passing"} {
		confirmed, err := ch.PublishWithDeferredConfirm("", name, false, false, amqp.Publishing{Body: []byte(`{"task": "app.tasks.old", "id": "1"}`)})
		if err != nil || !confirmed.Wait() {
			t.Fatal(name, err)
		}
	}
	for _, q := range []celery.Consumed{
		{Name: "quorum", Durable: true}, {Name: "passing", Durable: true}, {Name: "passing", AutoDelete: true},
		{Name: "quorum", Durable: true, Arguments: map[string]any{"x-queue-type": "quorum"}},
	} {
		if w, err := c.Peek(t.Context(), q, 10); !errors.Is(err, celery.ErrNoPeek) {
			t.Errorf("%+v: %+v, %v", q, w, err)
		}
	}
	w, err := c.Peek(t.Context(), celery.Consumed{Name: "priority", Durable: true, Arguments: map[string]any{"x-max-priority": float64(5)}}, 10)
	if err != nil || w.Tasks["app.tasks.old"] != 1 || w.More {
		t.Errorf("one with arguments: %+v, %v", w, err)
	}
	for _, name := range []string{"quorum", "passing"} {
		d, ok, err := ch.Get(name, true)
		if err != nil || !ok || d.Redelivered || d.Headers["x-delivery-count"] != nil && d.Headers["x-delivery-count"] != int64(0) {
			t.Errorf("%s was touched: %+v, %v", name, d, err)
		}
	}
}

func TestPeekLeavesARedissQueueAsItIs(t *testing.T) {
	const n = 1200
	c := open(t, host.Local{}, redis.URL(5))
	opts, err := goredis.ParseURL(redis.URL(5))
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(opts)
	defer raw.Close()
	sendMany(t, redis.URL(5), "waiting", n)
	raw.HSet(t.Context(), "unacked", "tag1", `[{"headers": {"task": "app.tasks.held"}}, "", "waiting"]`, "tag2", `[{"headers": {"task": "app.tasks.held"}}, "", "other"]`, "tag3", "?")
	dump := func() map[string]string {
		all := map[string]string{}
		for _, key := range raw.Keys(t.Context(), "*").Val() {
			all[key] = raw.Dump(t.Context(), key).Val()
		}
		return all
	}
	before := dump()
	w, err := c.Peek(t.Context(), celery.Consumed{Name: "waiting"}, 1000)
	if err != nil || w.Looked != 1000 || !w.More || w.Unacked["app.tasks.held"] != 1 || len(w.Unacked) != 1 {
		t.Errorf("Peek = %+v, %v", w, err)
	}
	if names := slices.Sorted(maps.Keys(w.Tasks)); !slices.Equal(names, []string{"app.tasks.t0", "app.tasks.t1", "app.tasks.t2"}) {
		t.Error(names)
	}
	if w, err := c.Peek(t.Context(), celery.Consumed{Name: "waiting"}, 5000); err != nil || w.Looked != n || w.More || w.Tasks["app.tasks.t1"] != n/3 {
		t.Errorf("Peek of all = %+v, %v", w, err)
	}
	if depth, err := c.QueueDepth(t.Context(), "waiting"); err != nil || depth.Messages != n {
		t.Errorf("QueueDepth = %+v, %v", depth, err)
	}
	if diff := cmp.Diff(before, dump()); diff != "" {
		t.Error("it was changed")
	}
}

// Questions leave nothing in the broker's database.
func TestQuestionsLeaveNothingInRedis(t *testing.T) {
	c := open(t, host.Local{}, redis.URL(3))
	ready(t, c, nodes[:1])
	opts, err := goredis.ParseURL(redis.URL(3))
	if err != nil {
		t.Fatal(err)
	}
	raw := goredis.NewClient(opts)
	defer raw.Close()
	if _, err := c.Survey(t.Context(), nodes[:1], 5*time.Second); err != nil {
		t.Fatal(err)
	}
	if left := raw.Keys(t.Context(), "*reply.celery.pidbox*").Val(); len(left) > 1 || len(left) == 1 && left[0] != "_kombu.binding.reply.celery.pidbox" {
		t.Errorf("left: %q", left)
	}
	if left := raw.SMembers(t.Context(), "_kombu.binding.reply.celery.pidbox").Val(); len(left) > 0 {
		t.Errorf("bindings left: %q", left)
	}
}
