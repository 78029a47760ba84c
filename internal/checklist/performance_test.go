package checklist

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

func diffOf(want, got any) string { return cmp.Diff(want, got) }

// session opens one of the service's.
func session(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	must(t, err)
	t.Cleanup(func() { conn.Close(context.Background()) })
	_, err = conn.Exec(t.Context(), "SET application_name = 'etf_service'")
	must(t, err)
	return conn
}

func TestSessions(t *testing.T) {
	server, err := testserver.StartPostgres(serverDir(t))
	must(t, err)
	defer server.Stop()
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL, target.Config.Database.Name = server.URL("postgres"), "postgres"
	target.Config.Database.ApplicationName, target.Config.Database.Role = "etf_service", "postgres"
	target.Config.Thresholds.LongestTask, target.Config.Thresholds.Latency = 300*time.Millisecond, 100*time.Millisecond
	if got := lookSessions(t.Context(), target); len(got) != 1 || got[0].Status != report.Fault || got[0].Found != "there is none" {
		t.Errorf("without a session: %+v", got)
	}
	exec := func(conn *pgx.Conn, sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		must(t, err)
	}
	holder, waiter := session(t, server.URL("postgres")), session(t, server.URL("postgres"))
	exec(holder, "CREATE TABLE t (x int, secret text); INSERT INTO t VALUES (1)")
	got := lookSessions(t.Context(), target)
	if diff := cmp.Diff(map[string]report.Status{"sessions": report.OK, "transactions": report.OK, "locks": report.OK}, statuses(got)); diff != "" {
		t.Errorf("at rest: %+v", got)
	}
	if f := finding(t, got, "sessions"); f.Counts["looked"] != 2 || f.Counts["state_idle"] != 2 || f.Counts["server_limit"] < 10 {
		t.Errorf("at rest: %+v", f)
	}
	exec(holder, "BEGIN; UPDATE t SET x = 2, secret = 'hunter2secret' WHERE x = 1")
	blocked := make(chan error, 1)
	go func() {
		_, err := waiter.Exec(t.Context(), "UPDATE t SET x = 3, secret = E'hunter3\\'secret' WHERE x = 1")
		blocked <- err
	}()
	time.Sleep(500 * time.Millisecond)
	got = lookSessions(t.Context(), target)
	if diff := cmp.Diff(map[string]report.Status{"sessions": report.OK, "transactions": report.Warning, "locks": report.Warning}, statuses(got)); diff != "" {
		t.Errorf("blocked: %+v", got)
	}
	if f := finding(t, got, "transactions"); f.Counts["violations"] != 2 || f.Counts["idle_in_transaction"] != 1 || f.Counts["longest_query_ms"] < 300 {
		t.Errorf("blocked: %+v", f)
	}
	f := finding(t, got, "locks")
	if want := fmt.Sprintf("session %d of", waiter.PgConn().PID()); len(f.Samples) != 1 || !strings.HasPrefix(f.Samples[0], want) ||
		!strings.Contains(f.Samples[0], fmt.Sprintf("waits for session %d of", holder.PgConn().PID())) || !strings.Contains(f.Samples[0], "UPDATE t SET x = ?, secret = ? WHERE x = ?") {
		t.Errorf("blocked: %+v", f)
	}
	if strings.Contains(fmt.Sprint(got), "hunter") {
		t.Errorf("it shows what statements hold: %+v", got)
	}
	exec(holder, "COMMIT")
	must(t, <-blocked)
	exec(holder, "ALTER ROLE postgres CONNECTION LIMIT 2")
	if f := finding(t, lookSessions(t.Context(), target), "sessions"); f.Status != report.Warning || !strings.Contains(f.Found, "role postgres takes 2 at most") {
		t.Errorf("at the limit: %+v", f)
	}
	exec(holder, "ALTER ROLE postgres CONNECTION LIMIT -1; CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
	target.Config.Database.URL = server.UserURL("stranger", "stranger", "postgres")
	if f := finding(t, lookSessions(t.Context(), target), "sessions"); f.Status != report.Unknown || !strings.Contains(f.Do, "pg_read_all_stats") {
		t.Errorf("by a role that sees nothing: %+v", f)
	}
	server.Stop()
	if got := lookSessions(t.Context(), target); len(got) != 1 || got[0].Status != report.Unknown || got[0].Do != "see pre:connections" {
		t.Errorf("of a stopped server: %+v", got)
	}
}

func TestWithoutLiterals(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT * FROM t WHERE a = 'x''y' AND b=12.5": "SELECT * FROM t WHERE a = ? AND b=?",
		"SELECT 'cut off in the mid":                  "SELECT ?",
		`SELECT E'it\'s' , "Name1", $1`:               `SELECT ? , "Name1", $?`,
		"ALTER ROLE x PASSWORD 'geheim' -- 'y'":       "ALTER ROLE x PASSWORD ?",
		"SELECT $tag$ secret $tag$, 1":                "SELECT ?",
		"SELECT 1 /* pw=geheim":                       "SELECT ?",
		"SELECT\n  a1,\n  b":                          "SELECT a1, b",
	} {
		if got := withoutLiterals(sql); got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
	if got := withoutLiterals(strings.Repeat("é ", 200)); len([]rune(got)) != 120 {
		t.Errorf("%d characters", len([]rune(got)))
	}
}

func TestJudgeLocksOfThoseWhoAreGone(t *testing.T) {
	target := filed(t)
	target.Config.Thresholds.Latency = time.Second
	waiting := postgres.Session{PID: 1, User: "u", Application: "etf_service", State: "active", Query: 2 * time.Second, BlockedBy: []int{0, 99}}
	if f := target.judgeLocks([]postgres.Session{waiting}, nil); f.Counts["violations"] != 2 || !strings.Contains(f.Found, "a prepared transaction") || !strings.Contains(f.Found, "session 99, which has ended") {
		t.Errorf("got %+v", f)
	}
	waiting.Query = time.Millisecond
	if f := target.judgeLocks([]postgres.Session{waiting}, nil); f.Status != report.OK || f.Counts["blocked"] != 1 {
		t.Errorf("a moment: %+v", f)
	}
}

func TestJudgeLatency(t *testing.T) {
	target := filed(t)
	target.Config.Thresholds.Slower = 2
	ms := func(n int) latency {
		return latency{Requests: 5, Median: time.Duration(n) * time.Millisecond, P95: time.Duration(2*n) * time.Millisecond}
	}
	for name, c := range map[string]struct {
		before, now latency
		want        report.Status
	}{
		"as before":             {ms(100), ms(190), report.OK},
		"slower":                {ms(100), ms(201), report.Warning},
		"slower, but quick":     {ms(10), ms(49), report.OK},
		"nobody measured":       {latency{}, ms(900), report.OK},
		"nothing answered then": {latency{Requests: 5, Failed: 5}, ms(900), report.OK},
		"some fail":             {ms(100), latency{Requests: 5, Failed: 1, Median: 1}, report.Warning},
		"all fail":              {ms(100), latency{Requests: 5, Failed: 5}, report.Unknown},
	} {
		if f := target.judgeLatency("/x", c.before, c.now); f.Status != c.want || f.Key != "/x" {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

func TestLatencies(t *testing.T) {
	var requests atomic.Int32
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n := requests.Add(1); r.URL.Path == "/b" && n%4 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		time.Sleep(2 * time.Millisecond)
	}))
	defer api.Close()
	target := filed(t)
	target.Config.API.URL, target.Config.API.Health, target.Config.API.Endpoints = api.URL, "/a", []config.Endpoint{{Path: "/b"}, {Path: "/a"}}
	target.Config.Timeouts.Connect, target.Config.Thresholds.Latency = time.Second, time.Second
	got := target.latencies(t.Context())
	a, b := got["/a"], got["/b"]
	if len(got) != 2 || a.Requests != 5 || a.Failed != 0 || a.Median < 2*time.Millisecond || a.P95 < a.Median || b.Failed != 2 || len(b.times) != 3 {
		t.Errorf("got %+v", got)
	}
	// One that accepts and says nothing holds up nothing.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer silent.Close()
	target.Config.API.URL = "http://" + silent.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if got := target.latencies(ctx); got["/a"].Failed != 1 || time.Since(began) > time.Second {
		t.Errorf("%+v after %s", got, time.Since(began))
	}
}
