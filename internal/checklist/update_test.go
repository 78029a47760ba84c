package checklist

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	goredis "github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

func TestDrains(t *testing.T) {
	depth := func(messages, consumers int) queueDepth {
		return queueDepth{Queue: celery.Queue{Messages: messages, Consumers: consumers}}
	}
	unseen := queueDepth{err: context.DeadlineExceeded}
	for _, c := range []struct {
		early, now queueDepth
		want       bool
	}{
		{depth(300, 2), depth(200, 2), true},
		{depth(300, -1), depth(200, -1), true}, // Redis does not tell who takes
		{depth(300, 2), depth(300, 2), false},
		{depth(300, 2), depth(301, 2), false},
		{depth(300, 2), depth(200, 0), false},
		{unseen, depth(200, 2), false},
		{depth(300, 2), unseen, false},
	} {
		if got := drains(&c.early, c.now); got != c.want {
			t.Errorf("%+v, then %+v: %v", c.early, c.now, got)
		}
	}
	if drains(nil, depth(1, 1)) {
		t.Error("without a look before")
	}
}

// An update is sent to an API that only takes note of it, and what befalls it
// is played by the test: its row, the record of errors and the queue.
func TestVerifyUpdate(t *testing.T) {
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	t.Cleanup(server.Stop)
	target, _ := withRedis(t)
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	execAll(t, conn, "CREATE TABLE etfs (id text, last_update timestamp)", "INSERT INTO etfs VALUES ('X', now())",
		"CREATE TABLE etf_prices (etf_id text, date date, price numeric)", "CREATE TABLE etf_updates (id serial, status text, error text)",
		`CREATE TABLE etf_errors (id serial, etf_id text, error_type text, date date, resolved boolean, context text, unique (etf_id, error_type, date))`)
	c := target.Config
	c.Database.URL, c.Database.Name = server.URL("postgres"), "postgres"
	c.BrokerURL, c.Celery.Queue, c.Celery.Nodes = c.Cache.URL, "celery", []string{"worker0@etf"}
	opts, err := goredis.ParseURL(c.BrokerURL)
	must(t, err)
	broker := goredis.NewClient(opts)
	defer broker.Close()
	become := "" // what the worker does, as SQL
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		worker, err := pgx.Connect(r.Context(), server.URL("postgres"))
		must(t, err)
		defer worker.Close(context.Background())
		var id int
		must(t, worker.QueryRow(r.Context(), "INSERT INTO etf_updates (status) VALUES ('pending') RETURNING id").Scan(&id))
		_, err = worker.Exec(r.Context(), become)
		must(t, err)
		w.WriteHeader(http.StatusAccepted)
		fmt.Fprintf(w, `{"update_id": %d, "task_id": "t-%d"}`, id, id)
	}))
	defer api.Close()
	c.API.URL = api.URL
	live, err := target.Releases.Current(t.Context())
	must(t, err)

	const failed = "UPDATE etf_updates SET status = 'failed', error = 'boom'"
	const again = "INSERT INTO etf_errors (etf_id, error_type, date, resolved, context) VALUES ('X', 'api_error', current_date, false, 'HTTP 500') ON CONFLICT (etf_id, error_type, date) DO UPDATE SET context = excluded.context, resolved = false"
	for _, one := range []struct {
		name   string
		before string // in the database
		become string
		tasks  int // that wait in the queue
		taken  time.Duration
		status report.Status
		found  string
	}{
		{"done", "", "UPDATE etf_updates SET status = 'completed'", 0, 0, report.OK, "completed in"},
		{"failed", "", failed, 0, 0, report.Fault, `ended as "failed": boom`},
		{"failed, and an old error of the source is open", again, failed, 0, 0, report.Fault, `ended as "failed": boom`},
		{"failed at the source", "TRUNCATE etf_errors", failed + ";" + again, 0, 0, report.Warning, "etf_errors has it as api_error"},
		{"failed at the source, as before", again, failed + ";" + again, 0, 0, report.Warning, "etf_errors has it as api_error"},
		{"waits for others, which are done", "", "SELECT 1", 300, 20 * time.Millisecond, report.Warning, "it still waits behind"},
		{"waits for others, which are not", "", "SELECT 1", 300, 0, report.Fault, "no worker that answers has it, 300 tasks wait in queue celery"},
	} {
		t.Run(one.name, func(t *testing.T) {
			c.Timeouts.Verify = 3 * time.Second
			c.Timeouts.Check = 30 * time.Second
			execAll(t, conn, one.before)
			become = one.become
			must(t, broker.Del(t.Context(), "celery").Err())
			for range one.tasks {
				must(t, broker.LPush(t.Context(), "celery", "{}").Err())
			}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				for one.taken > 0 && sleep(ctx, one.taken) == nil {
					broker.RPop(ctx, "celery")
				}
			}()
			findings := verifyUpdate.Run(t.Context(), target, Subject{Live: live})
			cancel()
			<-done
			if f := findings[0]; f.Key != "update" || f.Status != one.status || !strings.Contains(f.Found, one.found) {
				t.Errorf("%+v, want %s: %s", f, one.status, one.found)
			}
		})
	}
}
