package acceptance

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox"
)

// everyCheck is each check of the plan.
var everyCheck = []string{
	"pre:migrations", "pre:data", "pre:rates", "pre:config", "pre:connections", "deps:celery", "deps:redis",
	"verify:api", "verify:tasks", "verify:update", "verify:metrics", "verify:logs", "verify:performance", "verify:alerts", "verify:backups",
}

// lookBy calls one check and returns what it found; its exit code has to be the
// one that its findings say.
func lookBy(t *testing.T, s *stack.Stack, args ...string) ([]report.Finding, stack.Run) {
	t.Helper()
	run, err := s.Call(nil, append(args, "-json")...)
	if err != nil {
		t.Fatal(err)
	}
	var read struct {
		Version  int
		Status   report.Status
		Findings []report.Finding
	}
	if err := json.Unmarshal([]byte(run.Stdout), &read); err != nil {
		t.Fatalf("%v: %v\n%s\n%s", args, err, run.Stdout, run.Stderr)
	}
	want := map[report.Status]int{report.OK: 0, report.Warning: 0, report.Fault: 3, report.Unknown: 1}[read.Status]
	if run.Code != want || read.Version != 1 || len(read.Findings) == 0 {
		t.Errorf("%v: exit %d with status %q, want %d\n%s", args, run.Code, read.Status, want, run.Stdout)
	}
	t.Logf("%v: exit %d after %.2fs", args, run.Code, run.Took.Seconds())
	for _, f := range read.Findings {
		if f.Check != args[0] || f.Key == "" || f.Looked == "" || f.Found == "" || f.Command == "" || f.Status != report.OK && f.Do == "" {
			t.Errorf("%v: a finding is not whole: %+v", args, f)
		}
	}
	return read.Findings, run
}

// wellChecked is a service of which every check says so, in a table and in JSON.
func wellChecked(t *testing.T, s *stack.Stack) {
	for _, name := range everyCheck {
		findings, run := lookBy(t, s, name)
		if run.Code != 0 {
			t.Errorf("%s: exit %d: %s", name, run.Code, run.Stdout)
		}
		for _, f := range findings {
			if f.Status != report.OK {
				t.Logf("%s: %s: %s: %s", name, f.Status, f.Looked, f.Found)
			}
		}
	}
	for _, name := range []string{"pre:all", "deps:all"} {
		if out := s.Mage(t, 0, name, "-explain").Stdout; !strings.Contains(out, "STANDS FOR") {
			t.Errorf("%s -explain:\n%s", name, out)
		}
	}
}

// A harm is something that a check has to find.
type harm struct {
	name  string
	check string
	do    func(t *testing.T, s *stack.Stack) (mend func())
	code  int
	says  []string      // somewhere in the findings
	limit time.Duration // of the check; 0: half a minute
}

// harms are found, each by the check that looks for it, with the key of what
// is wrong, in time, and without hiding what else there is to see.
func harms(t *testing.T, s *stack.Stack) {
	below := "UPDATE etf_prices SET price = -price WHERE id = (SELECT min(id) FROM etf_prices WHERE etf_id = 'E0000.DE')"
	for _, h := range []harm{
		{"PostgreSQL that is silent", "pre:data", frozen("postgres"), 1, []string{"ETF data"}, 0},
		{"PostgreSQL that is silent", "pre:connections", frozen("postgres"), 3, []string{"PostgreSQL", "Redis"}, 0},
		{"Redis that is silent", "deps:redis", frozen("redis"), 1, []string{"Redis"}, 0},
		{"Redis that is silent", "pre:connections", frozen("redis"), 3, []string{"Redis", "PostgreSQL", "git origin"}, 0},
		{"RabbitMQ that is silent", "deps:celery", frozen("rabbitmq"), 1, []string{"broker"}, 0},
		{"RabbitMQ that is silent", "pre:connections", frozen("rabbitmq"), 3, []string{"broker", "PostgreSQL"}, 0},
		{"Prometheus that is silent", "verify:alerts", frozen("prometheus"), 1, []string{"Prometheus"}, 0},
		{"a full connection table", "pre:connections", fullTable, 3, []string{"PostgreSQL", "connection"}, 0},
		{"a full connection table", "pre:data", fullTable, 1, []string{"connection"}, 0},
		{"an unknown revision", "pre:migrations", statements("UPDATE alembic_version SET version_num = 'ffff' || version_num", "UPDATE alembic_version SET version_num = substr(version_num, 5)"), 3, []string{"ffff0"}, 0},
		{"a price below zero", "pre:data", statements(below, below), 3, []string{"price-positive", "E0000.DE"}, 0},
		{"rates that are gone", "pre:rates", statements("UPDATE exchange_rates SET currency = 'XXX' WHERE currency = 'USD' AND date BETWEEN '2020-03-01' AND '2020-04-30'",
			"UPDATE exchange_rates SET currency = 'USD' WHERE currency = 'XXX'"), 3, []string{"USD", "2020-03-"}, 0},
		{"a table that is gone", "pre:data", statements("ALTER TABLE etf_errors RENAME TO etf_errors_away", "ALTER TABLE etf_errors_away RENAME TO etf_errors"), 1, []string{"etf_errors", "price-positive"}, 0},
		{"a worker that is frozen", "deps:celery", stopped("celery_worker:celery_worker_00"), 3, []string{"worker0@etf", "worker1@etf"}, 0},
		{"a scheduler that is frozen", "verify:tasks", stopped("celery_beat"), 3, []string{"beat"}, 0},
		{"an error in the log", "verify:logs", logged(`{"time": "` + time.Now().UTC().Add(time.Hour).Format(time.RFC3339) + `", "level": "ERROR", "logger": "app.x", "message": "update 4711 of E0001.DE has failed"}`), 3, []string{"has failed"}, 0},
		{"a log that is hard to read", "verify:logs", logged(strings.Repeat("x", 1<<20) + "\n\xff\xfe\x00\n{\"time\": "), 0, nil, 0},
		{"an .env that others can read", "pre:config", shown, 3, []string{"0644", "chmod 600"}, 0},
	} {
		t.Run(h.name+", by "+h.check, func(t *testing.T) {
			mend := h.do(t, s)
			defer mend()
			findings, run := lookBy(t, s, h.check)
			if run.Code != h.code {
				t.Errorf("exit %d, want %d", run.Code, h.code)
			}
			if limit := max(h.limit, 30*time.Second); run.Took > limit {
				t.Errorf("it took %s", run.Took)
			}
			var said strings.Builder
			for _, f := range findings {
				fmt.Fprintln(&said, f.Status, f.Key, f.Looked, f.Found, f.Do, f.Samples)
			}
			for _, want := range h.says {
				if !strings.Contains(said.String(), want) {
					t.Errorf("it does not say %q:\n%s", want, &said)
				}
			}
			for name, value := range s.Env {
				u, err := url.Parse(value)
				if err != nil || u.User == nil {
					continue
				}
				if password, ok := u.User.Password(); ok && strings.Contains(run.Stdout+run.Stderr, password) {
					t.Errorf("the password of %s is shown", name)
				}
			}
		})
	}
	s.Serves(t)
	wellChecked(t, s)
}

// frozen stops a server so that it accepts and says nothing.
func frozen(part string) func(*testing.T, *stack.Stack) func() {
	return func(t *testing.T, s *stack.Stack) func() {
		status, err := s.Sandbox.Status(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(status.Parts, func(p sandbox.PartStatus) bool { return p.Name == part })
		if i < 0 {
			t.Fatalf("there is no part %s: %+v", part, status.Parts)
		}
		group, err := syscall.Getpgid(status.Parts[i].PID)
		if err != nil {
			t.Fatal(err)
		}
		return freeze(t, -group)
	}
}

// stopped freezes a process of the service.
func stopped(name string) func(*testing.T, *stack.Stack) func() {
	return func(t *testing.T, s *stack.Stack) func() {
		for _, p := range s.Status(t).Processes {
			if strings.HasPrefix(p.Name, name) {
				return freeze(t, p.PID)
			}
		}
		t.Fatalf("there is no process %s", name)
		return nil
	}
}

func freeze(t *testing.T, pid int) (thaw func()) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	return func() { syscall.Kill(pid, syscall.SIGCONT) }
}

func connect(t *testing.T, s *stack.Stack) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.Env["ETF_DATABASE_URL"])
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// fullTable takes every connection that is left.
func fullTable(t *testing.T, s *stack.Stack) func() {
	var all []*pgx.Conn
	for range 1000 {
		conn, err := pgx.Connect(t.Context(), s.Env["ETF_DATABASE_URL"])
		if err != nil {
			break
		}
		all = append(all, conn)
	}
	return func() {
		for _, conn := range all {
			conn.Close(t.Context())
		}
	}
}

// statements does harm by SQL, and takes it back.
func statements(do, undo string) func(*testing.T, *stack.Stack) func() {
	return func(t *testing.T, s *stack.Stack) func() {
		execute := func(sql string) {
			t.Helper()
			conn := connect(t, s)
			defer conn.Close(t.Context())
			if tag, err := conn.Exec(t.Context(), sql); err != nil || strings.HasPrefix(sql, "UPDATE") && tag.RowsAffected() == 0 {
				t.Fatalf("%s: %s %v", sql, tag, err)
			}
		}
		execute(do)
		return func() { execute(undo) }
	}
}

// logged adds lines to the service's log, and takes the log's old content back.
func logged(lines string) func(*testing.T, *stack.Stack) func() {
	return func(t *testing.T, s *stack.Stack) func() {
		file := filepath.Join(s.Env["ETF_ROOT"], "shared", "logs", "etf_service.log")
		before, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(slices.Clone(before), lines+"\n"...), 0o644); err != nil {
			t.Fatal(err)
		}
		return func() { os.WriteFile(file, before, 0o644) }
	}
}

func shown(t *testing.T, s *stack.Stack) func() {
	file := filepath.Join(s.Env["ETF_ROOT"], "shared", ".env")
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	return func() { os.Chmod(file, 0o600) }
}
