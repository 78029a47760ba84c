package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"
)

// TestSandbox takes two real sandboxes side by side through their life. The
// second lies below a closed folder and under a path that is too long for a
// Unix socket.
func TestSandbox(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	base := t.TempDir()
	closed := filepath.Join(base, "closed", strings.Repeat("long", 20))
	if err := os.MkdirAll(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(base, "closed"), 0o700); err != nil {
		t.Fatal(err)
	}
	a, b := newTest(t, filepath.Join(base, "a"), 5), newTest(t, filepath.Join(closed, "b"), 4)
	var g errgroup.Group
	for _, s := range []*Sandbox{a, b} {
		g.Go(func() error { return s.Up(ctx) })
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	steps := []struct {
		name string
		run  func(*testing.T)
	}{
		{"both are up", func(t *testing.T) { wantState(ctx, t, StateUp, a, b) }},
		{"they share no port", func(t *testing.T) { differentPorts(t, a, b) }},
		{"up again is quick", func(t *testing.T) { quickUp(ctx, t, a) }},
		{"another size is refused", func(t *testing.T) { otherSize(ctx, t, a) }},
		{"the data", func(t *testing.T) { dataIsThere(ctx, t, a) }},
		{"the rights", func(t *testing.T) { rightsHold(ctx, t, b) }},
		{"prices agree with the source", func(t *testing.T) { pricesAgree(ctx, t, a) }},
		{"secrets stay secret", func(t *testing.T) { secretsStaySecret(t, a); secretsStaySecret(t, b) }},
		{"monitoring is valid", func(t *testing.T) { monitoringIsValid(ctx, t, a) }},
		{"a release", func(t *testing.T) { releases(ctx, t, a) }},
		{"recovery from kills, a foreign server and a cut load", func(t *testing.T) { recovers(ctx, t, a) }},
		{"down leaves no process", func(t *testing.T) { stops(ctx, t, a) }},
		{"the other one is untouched", func(t *testing.T) { wantState(ctx, t, StateUp, b) }},
		{"purge leaves no file", func(t *testing.T) { purges(ctx, t, a); purges(ctx, t, b) }},
	}
	for _, step := range steps {
		start := time.Now()
		if !t.Run(step.name, step.run) {
			break
		}
		t.Logf("%s: %.1fs", step.name, time.Since(start).Seconds())
	}
}

// newTest makes a sandbox that is purged at the end; where the test has
// failed by then, what its servers have written is shown.
func newTest(t *testing.T, dir string, etfs int) *Sandbox {
	t.Helper()
	var out bytes.Buffer
	s, err := New(dir, Options{ETFs: etfs, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%s\n%s", dir, out.String())
			logs, _ := filepath.Glob(s.path("log", "*.log"))
			for _, path := range logs {
				text, _ := os.ReadFile(path)
				t.Logf("%s%s", path, tailOf(text, 15))
			}
		}
		if err := s.Down(context.Background(), true); err != nil {
			t.Error(err)
		}
	})
	return s
}

func wantState(ctx context.Context, t *testing.T, want string, all ...*Sandbox) {
	t.Helper()
	for _, s := range all {
		status, err := s.Status(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if status.State != want {
			t.Errorf("%s, want %s:\n%s", status.State, want, status.Table())
		}
		data, err := status.JSON()
		var back Status
		if err == nil {
			err = json.Unmarshal(data, &back)
		}
		if err != nil || back.Version != StatusVersion || len(back.Parts) != len(status.Parts) {
			t.Errorf("the JSON does not read back: %v", err)
		}
		if table := status.Table(); !strings.Contains(table, partRabbitMQ) || !strings.Contains(table, s.dir) {
			t.Errorf("the table lacks something:\n%s", table)
		}
	}
}

func differentPorts(t *testing.T, a, b *Sandbox) {
	for name, port := range a.st.Ports {
		for other, taken := range b.st.Ports {
			if port == taken {
				t.Errorf("port %d is %s of one and %s of the other", port, name, other)
			}
		}
	}
}

func quickUp(ctx context.Context, t *testing.T, s *Sandbox) {
	before, start := pids(s), time.Now()
	if err := s.Up(ctx); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
	if after := pids(s); !slices.Equal(before, after) {
		t.Errorf("servers changed: %v, before %v", after, before)
	}
}

// pids are those of the servers themselves: PostgreSQL's children come and go.
func pids(s *Sandbox) []int {
	var list []int
	all := processes(s.dir)
	for _, p := range s.parts() {
		server, _ := p.server(all)
		list = append(list, server.PID)
	}
	return list
}

func otherSize(ctx context.Context, t *testing.T, s *Sandbox) {
	other, err := New(s.dir, Options{ETFs: 7})
	if err != nil {
		t.Fatal(err)
	}
	if err := other.Up(ctx); err == nil || !strings.Contains(err.Error(), "sandbox:down -purge") {
		t.Errorf("got: %v", err)
	}
}

// sourced is what a shell sees after it has sourced the sandbox's env.
func sourced(t *testing.T, s *Sandbox, name string) string {
	t.Helper()
	out, err := exec.Command("/bin/sh", "-c", `. "$1"; eval "printf %s \"\$$2\""`, "sh", s.EnvFile(), name).Output()
	if err != nil || len(out) == 0 {
		t.Fatalf("%s of %s: %q, %v", name, s.EnvFile(), out, err)
	}
	return string(out)
}

func owner(ctx context.Context, t *testing.T, s *Sandbox) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(ctx, sourced(t, s, "ETF_DATABASE_URL"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

func dataIsThere(ctx context.Context, t *testing.T, s *Sandbox) {
	conn := owner(ctx, t, s)
	days, etfs := len(history(s.now())), s.opt.ETFs
	for query, want := range map[string]int{
		"select count(*) from etfs":                                                etfs,
		"select count(*) from etf_prices":                                          etfs * days,
		"select count(distinct date) from etf_prices":                              days,
		"select count(*) from exchange_rates":                                      11 * days,
		"select count(*) from etf_updates where status = 'completed'":              2 * etfs,
		"select count(*) from alembic_version where version_num = '0001'":          1,
		"select count(*) from etf_prices where currency <> 'EUR'":                  0,
		"select count(distinct original_currency) from etf_prices":                 4,
		"select count(*) from etf_prices where low > price or price > high":        0,
		"select count(*) from etfs where last_update < date '2000-01-01'":          0,
		"select count(*) from pg_constraint where conrelid='etf_prices'::regclass": 3,
		"select nextval('etf_prices_id_seq')":                                      etfs*days + 1,
		`select count(*) from etfs e join etf_prices p on p.etf_id = e.id
			where p.date = (select max(date) from etf_prices) and e.last_price = p.price`: etfs,
		`select count(*) from pg_tables where schemaname = 'public' and tableowner <> 'etf_owner'`: 0,
	} {
		var got int
		if err := conn.QueryRow(ctx, query).Scan(&got); err != nil {
			t.Errorf("%s: %v", query, err)
		} else if got != want {
			t.Errorf("%s: %d, want %d", query, got, want)
		}
	}
}

// rightsHold: the application may write rows, also into tables that come
// later, and may not change the schema.
func rightsHold(ctx context.Context, t *testing.T, s *Sandbox) {
	own := owner(ctx, t, s)
	if _, err := own.Exec(ctx, "create table later (id serial primary key, x int)"); err != nil {
		t.Fatal(err)
	}
	url := s.databaseURL("postgresql", roleApp, s.st.Secrets.App, database)
	app, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close(ctx)
	for sql, allowed := range map[string]bool{
		"insert into later (x) values (1)":            true,
		"update etf_prices set volume = 1 where id=1": true,
		"delete from task_status":                     true,
		"create table mine (x int)":                   false,
		"drop table later":                            false,
		"truncate etf_prices":                         false,
	} {
		if _, err := app.Exec(ctx, sql); (err == nil) != allowed {
			t.Errorf("%s by the application: %v", sql, err)
		}
	}
	wrong := s.databaseURL("postgresql", roleApp, "wrong", database)
	if conn, err := pgx.Connect(ctx, wrong); err == nil {
		conn.Close(ctx)
		t.Error("a wrong password was accepted")
	}
}

// pricesAgree compares ten years of one listing in each currency with what
// the price source answers.
func pricesAgree(ctx context.Context, t *testing.T, s *Sandbox) {
	days := history(s.now())
	source := sourced(t, s, "ETF_PRICE_SOURCE_URL")
	for i := range s.opt.ETFs {
		l := newListing(i)
		var answer struct {
			Currency string
			Prices   []struct {
				Date                   string
				Open, High, Low, Close float64
				Volume                 int64
			}
		}
		getJSON(ctx, t, fmt.Sprintf("%s/v1/prices/%s?start=%s&end=%s", source, l.symbol, days[0], days[len(days)-1]), &answer)
		if answer.Currency != l.currency || len(answer.Prices) != len(days) {
			t.Fatalf("%s: %s, %d days, want %s, %d", l.symbol, answer.Currency, len(answer.Prices), l.currency, len(days))
		}
		for j, p := range answer.Prices {
			got := quote{p.Open, p.High, p.Low, p.Close, p.Volume}
			if want := l.quote(days[j]); got != want || p.Date != days[j].String() {
				t.Fatalf("%s on %s: the source says %v on %s, the loader %v", l.symbol, days[j], got, p.Date, want)
			}
		}
	}
	var rates struct {
		Rates []struct {
			Date, Currency string
			Rate           json.Number
		}
	}
	getJSON(ctx, t, fmt.Sprintf("%s/v1/rates?start=%s&end=%s", source, days[0], days[len(days)-1]), &rates)
	data := newDataset(0, s.now())
	if len(rates.Rates) != 11*len(days) {
		t.Fatalf("%d rates, want %d", len(rates.Rates), 11*len(days))
	}
	for i, r := range rates.Rates {
		f, err := r.Rate.Float64()
		if want := data.rates[r.Currency][i/11]; err != nil || f != want {
			t.Fatalf("%s on %s: the source says %s, the loader %v", r.Currency, r.Date, r.Rate, want)
		}
	}
}

func getJSON(ctx context.Context, t *testing.T, url string, into any) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(into); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s, %v", url, resp.Status, err)
	}
}

// secretsStaySecret: no password on a command line, in a log, or in a file
// that others may read.
func secretsStaySecret(t *testing.T, s *Sandbox) {
	var secrets [][]byte
	for _, v := range []string{s.st.Secrets.Superuser, s.st.Secrets.Owner, s.st.Secrets.App, s.st.Secrets.Redis, s.st.Secrets.Broker} {
		secrets = append(secrets, []byte(v))
	}
	holds := func(text []byte) bool {
		return slices.ContainsFunc(secrets, func(secret []byte) bool { return bytes.Contains(text, secret) })
	}
	for _, p := range processes(s.dir) {
		cmdline, _ := os.ReadFile(procPath(p.PID, "cmdline"))
		environ, _ := os.ReadFile(procPath(p.PID, "environ"))
		if holds(cmdline) || holds(environ) {
			t.Errorf("process %d (%s) shows a password", p.PID, p.comm)
		}
	}
	found := 0
	err := filepath.WalkDir(s.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() && path == postgresData(s.dir) {
			return filepath.SkipDir
		}
		if !e.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil || !holds(text) {
			return err
		}
		found++
		info, err := e.Info()
		if err == nil && (info.Mode().Perm()&0o077 != 0 || strings.HasPrefix(path, s.path("log"))) {
			t.Errorf("%s holds a password, mode %v", path, info.Mode())
		}
		return err
	})
	if err != nil || found < 4 {
		t.Errorf("%d files with passwords were found, of state.json, env, .env, redis.conf, rabbitmq.conf: %v", found, err)
	}
}

func monitoringIsValid(ctx context.Context, t *testing.T, s *Sandbox) {
	rules := s.path("prometheus", "alert_rules_test.yml")
	text, err := os.ReadFile("testdata/alert_rules_test.yml")
	if err == nil {
		err = os.WriteFile(rules, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{
		{"promtool", "check", "config", s.path("prometheus", "prometheus.yml")},
		{"promtool", "test", "rules", rules},
	} {
		if out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", argv, err, out)
		}
	}
	var answer struct {
		Data struct {
			ActiveAlertmanagers []struct{ URL string }
		}
	}
	url := sourced(t, s, "ETF_PROMETHEUS_URL") + "/api/v1/alertmanagers"
	for deadline := time.Now().Add(20 * time.Second); len(answer.Data.ActiveAlertmanagers) == 0; {
		getJSON(ctx, t, url, &answer)
		if time.Now().After(deadline) || sleep(ctx, 200*time.Millisecond) != nil {
			t.Fatal("Prometheus found no Alertmanager")
		}
	}
	if got := answer.Data.ActiveAlertmanagers[0].URL; !strings.HasPrefix(got, sourced(t, s, "ETF_ALERTMANAGER_URL")) {
		t.Errorf("Prometheus sends its alerts to %s", got)
	}
}

func releases(ctx context.Context, t *testing.T, s *Sandbox) {
	head := func() string {
		out, err := exec.CommandContext(ctx, "git", "-C", s.Origin(), "rev-parse", "main").Output()
		if err != nil {
			t.Fatal(err)
		}
		return string(out)
	}
	before := head()
	if _, err := s.Release(ctx, "feature"); err != nil {
		t.Fatal(err)
	}
	if head() == before {
		t.Error("the branch main did not move")
	}
	if _, err := s.Release(ctx, "no-such-kind"); err == nil {
		t.Error("an unknown kind was accepted")
	}
}

// recovers breaks a running sandbox in every way at once and brings it up
// again: servers killed, programs left without supervisord, a foreign server
// on a remembered port, a load that was cut short.
func recovers(ctx context.Context, t *testing.T, s *Sandbox) {
	program, copied := fakeRelease(t, s)
	if err := s.supervisorClient().StartGroup(ctx, "celery_worker", true); err != nil {
		t.Fatal(err)
	}
	workers := roots(ofPart(processes(s.dir), "celery_worker"))
	if len(workers) != 2 {
		t.Fatalf("%d workers run, want 2", len(workers))
	}
	conn, err := s.connect(ctx, "postgres")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "alter database "+database+" rename to "+loading); err != nil {
		t.Fatal(err)
	}
	conn.Close(ctx)
	oldPort := s.st.Ports[portRedis]
	all := processes(s.dir)
	for _, p := range s.parts() {
		if server, ok := p.server(all); ok && p.name != partPrices {
			server.signal(syscall.SIGKILL)
		}
	}
	if !gone(ctx, ofPart(all, partRedis), 5*time.Second) {
		t.Fatal("redis survived")
	}
	foreign, err := net.Listen("tcp4", loopback(oldPort))
	if err != nil {
		t.Fatal(err)
	}
	defer foreign.Close()
	wantState(ctx, t, "partial", s)
	if err := s.Up(ctx); err != nil {
		t.Fatal(err)
	}
	wantState(ctx, t, StateUp, s)
	dataIsThere(ctx, t, s)
	if s.st.Ports[portRedis] == oldPort {
		t.Errorf("redis kept port %d, which another server has", oldPort)
	}
	for _, path := range []string{s.path("etf", "shared", ".env"), copied} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "REDIS_URL="+s.redisURL()+"\n") {
			t.Errorf("%s does not name the new port (%v)", path, err)
		}
	}
	if left := filter(workers, process.alive); len(left) > 0 {
		t.Errorf("%d workers of the killed supervisord still run", len(left))
	}
	for _, name := range programs {
		if len(ofPart(processes(s.dir), name)) == 0 {
			t.Errorf("%s was not started again from %s", name, program)
		}
	}
}

// fakeRelease puts a release in place whose programs only wait: here it
// counts that they are run, not what they do.
func fakeRelease(t *testing.T, s *Sandbox) (program, copied string) {
	t.Helper()
	release := s.path("etf", "releases", "one")
	program = filepath.Join(release, "src", "backend", "bin", "etf-run")
	copied = filepath.Join(release, ".env")
	if err := os.MkdirAll(filepath.Dir(program), 0o700); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		program: "#!/bin/sh\nexec sleep 1000\n",
		copied:  "REDIS_URL=redis://old\nOTHER=kept\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join("releases", "one"), s.path("etf", "current")); err != nil {
		t.Fatal(err)
	}
	return program, copied
}

func stops(ctx context.Context, t *testing.T, s *Sandbox) {
	if err := s.Down(ctx, false); err != nil {
		t.Fatal(err)
	}
	if left := processes(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	wantState(ctx, t, StateDown, s)
	if err := s.Down(ctx, false); err != nil {
		t.Errorf("down again: %v", err)
	}
}

func purges(ctx context.Context, t *testing.T, s *Sandbox) {
	if err := s.Down(ctx, true); err != nil {
		t.Fatal(err)
	}
	if left := processes(s.dir); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	for _, path := range []string{s.dir, s.shortFolder()} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("%s is left (%v)", path, err)
		}
	}
}
