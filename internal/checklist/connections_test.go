package checklist

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// canary is a password that nothing may show.
const canary = "canary-s3cret-99"

// silentServer accepts and says nothing.
func silentServer(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// Whatever is down, silent or refuses is named, each within its own time, and
// holds none of the others.
func TestConnectionsThatFail(t *testing.T) {
	closed, err := testserver.Port()
	must(t, err)
	for name, c := range map[string]struct{ address, says string }{
		"down":   {fmt.Sprintf("127.0.0.1:%d", closed), "refused"},
		"silent": {silentServer(t), ""},
	} {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			target.serversAt(c.address, "/nowhere.sock")
			cfg := target.Config
			host.AddSecret(canary)
			cfg.Database.URL = "postgresql://etf_owner:" + canary + "@" + c.address + "/goldfinch"
			cfg.Cache.URL, cfg.BrokerURL = "redis://:"+canary+"@"+c.address+"/0", "amqp://etf:"+canary+"@"+c.address+"//"
			cfg.PriceSourceURL, cfg.Python.PackageIndex, cfg.API.URL = "http://"+c.address, "http://u:"+canary+"@"+c.address+"/simple", "http://"+c.address
			cfg.Source.Origin, cfg.Source.Ref = "git://"+c.address+"/x.git", "main"
			cfg.Timeouts.Connect, cfg.Timeouts.Check, cfg.Thresholds.Latency = 500*time.Millisecond, 20*time.Second, 200*time.Millisecond
			began := time.Now()
			findings := checkConnections.Run(t.Context(), target, Subject{})
			if took := time.Since(began); took > 4*time.Second {
				t.Errorf("took %s", took)
			}
			got := byKey(findings)
			for _, key := range []string{"postgres", "redis", "broker", "origin", "package-index"} {
				says(t, got[key], report.Fault, c.says[:min(len(c.says), len(got[key].Found))])
			}
			says(t, got["supervisor"], report.Fault, "not reachable")
			says(t, got["price-source"], report.Warning, "updates will fail")
			for _, key := range []string{"postgres-tools", "disk"} {
				says(t, got[key], report.Unknown, "not known")
			}
			noCanary(t, findings)
			f := target.looksAt(t, checkMigrations, Subject{})["revision"]
			says(t, f, report.Unknown, "see pre:connections")
			if f.Duration > 3*time.Second {
				t.Errorf("pre:migrations took %s", f.Duration)
			}
		})
	}
}

func noCanary(t *testing.T, findings []report.Finding) {
	t.Helper()
	if text := fmt.Sprintf("%+v", findings); strings.Contains(text, canary) {
		t.Errorf("a secret is shown: %s", text)
	}
}

// owned is a target whose database belongs to a role that is no superuser.
func owned(t *testing.T, settings ...string) (*Target, *pgx.Conn, *testserver.Postgres) {
	t.Helper()
	server, err := testserver.StartPostgres(serverDir(t), settings...)
	must(t, err)
	t.Cleanup(server.Stop)
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	must(t, err)
	t.Cleanup(func() { admin.Close(context.Background()) })
	execAll(t, admin, "CREATE ROLE etf_owner LOGIN CREATEDB PASSWORD '"+canary+"' IN ROLE pg_signal_backend", "CREATE ROLE etf_app LOGIN PASSWORD '"+canary+"'", "CREATE DATABASE goldfinch OWNER etf_owner")
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Database.URL = server.UserURL("etf_owner", canary, "goldfinch")
	target.Config.Database.Jobs, target.Config.Database.Role = 2, "etf_app"
	host.AddSecret(canary)
	return target, admin, server
}

func execAll(t *testing.T, conn *pgx.Conn, statements ...string) {
	t.Helper()
	for _, sql := range statements {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
}

func TestRightsOfTheOwner(t *testing.T) {
	target, admin, server := owned(t)
	goldfinch, err := pgx.Connect(t.Context(), server.URL("goldfinch"))
	must(t, err)
	defer goldfinch.Close(context.Background())
	look := func() map[string]report.Finding { t.Helper(); return byKey(lookPostgres(t.Context(), target)) }
	says(t, look()["postgres"], report.OK, "PostgreSQL ")
	says(t, look()["postgres-rights"], report.OK, "all that a backup")
	for _, c := range []struct {
		conn       *pgx.Conn
		take, give string
		says       []string
		status     report.Status
	}{
		{admin, "ALTER ROLE etf_owner NOCREATEDB", "ALTER ROLE etf_owner CREATEDB", []string{"may not create databases", `ALTER ROLE "etf_owner" CREATEDB`}, report.Fault},
		{admin, "REVOKE pg_signal_backend FROM etf_owner", "GRANT pg_signal_backend TO etf_owner", []string{"may not end the sessions"}, report.Fault},
		{admin, "ALTER DATABASE goldfinch OWNER TO postgres", "ALTER DATABASE goldfinch OWNER TO etf_owner", []string{"does not own the database"}, report.Fault},
		{admin, "REVOKE CONNECT ON DATABASE postgres, template1 FROM public", "GRANT CONNECT ON DATABASE postgres TO public", []string{"neither to database postgres nor"}, report.Fault},
		{goldfinch, "CREATE TABLE strangers (id int)", "DROP TABLE strangers", []string{"belongs to other roles (strangers)"}, report.Fault},
		{goldfinch, "CREATE EXTENSION dblink", "DROP EXTENSION dblink", []string{"extensions that the database has (dblink)"}, report.Fault},
		{goldfinch, "CREATE EXTENSION pgcrypto", "DROP EXTENSION pgcrypto", []string{"all that a backup"}, report.OK}, // a trusted one
		{goldfinch, "CREATE FUNCTION f() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'; CREATE EVENT TRIGGER e ON ddl_command_end EXECUTE FUNCTION f()", "DROP FUNCTION f CASCADE",
			[]string{"only a superuser can restore these (event trigger e)"}, report.Fault},
		{admin, "ALTER ROLE etf_app IN DATABASE goldfinch SET work_mem = '8MB'", "ALTER ROLE etf_app IN DATABASE goldfinch RESET ALL", []string{"settings of other roles", "etf_app"}, report.Warning},
		{admin, "ALTER DATABASE goldfinch SET log_min_duration_statement = 5", "ALTER DATABASE goldfinch RESET ALL", []string{"settings of this database", "log_min_duration_statement"}, report.Warning},
	} {
		for _, sql := range strings.Split(c.take, "; ") {
			execAll(t, c.conn, sql)
		}
		says(t, look()["postgres-rights"], c.status, c.says...)
		execAll(t, c.conn, c.give)
	}
	says(t, look()["postgres-rights"], report.OK)
	execAll(t, admin, "ALTER ROLE etf_owner SUPERUSER", "ALTER ROLE etf_owner NOCREATEDB")
	says(t, look()["postgres-rights"], report.OK)

	target.Config.Database.URL = server.UserURL("etf_owner", "wrong-"+canary, "goldfinch")
	says(t, look()["postgres"], report.Fault, "refused the login")
	target.Config.Database.URL, target.Config.Database.Name = server.UserURL("etf_owner", canary, "nowhere"), "nowhere"
	says(t, look()["postgres"], report.Fault, "no such database", "create it")
	noCanary(t, lookPostgres(t.Context(), target))
}

func TestFullConnectionTable(t *testing.T) {
	target, admin, server := owned(t, "max_connections=12", "superuser_reserved_connections=3")
	target.Config.Database.Jobs = 1
	look := func() map[string]report.Finding { t.Helper(); return byKey(lookPostgres(t.Context(), target)) }
	f := look()["postgres-connections"]
	says(t, f, report.OK, "8 of 9 free by max_connections, 6 needed") // the test's own is taken
	sit := func(n int) {
		for range n {
			conn, err := pgx.Connect(t.Context(), server.UserURL("etf_app", canary, "goldfinch"))
			must(t, err)
			t.Cleanup(func() { conn.Close(context.Background()) })
		}
	}
	execAll(t, admin, "ALTER DATABASE goldfinch CONNECTION LIMIT 3")
	says(t, look()["postgres-connections"], report.Fault, "3 of 3 are free by the limit of the database")
	execAll(t, admin, "ALTER DATABASE goldfinch CONNECTION LIMIT -1", "ALTER ROLE etf_owner CONNECTION LIMIT 2")
	says(t, look()["postgres-connections"], report.Fault, "2 of 2 are free by the limit of the role")
	execAll(t, admin, "ALTER ROLE etf_owner CONNECTION LIMIT -1")
	sit(4)
	f = look()["postgres-connections"]
	says(t, f, report.Fault, "4 of 9 are free by max_connections", "end idle sessions")
	if f.Counts["free"] != 4 || f.Counts["needed"] != 6 {
		t.Errorf("%+v", f)
	}
	sit(4)
	f = look()["postgres"]
	says(t, f, report.Fault, "no connection left", "every connection is taken")
	noCanary(t, []report.Finding{f})
}

// A dump tool that is older than the server cannot dump it.
func TestToolsOlderThanTheServer(t *testing.T) {
	target, _, _ := owned(t)
	target.Config.Timeouts.Connect = 5 * time.Second
	says(t, marked(lookTools(t.Context(), target), "x", nil), report.OK, "pg_dump", "pg_restore", "for a server of version")
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "pg_dump"), []byte("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n"), 0o755))
	target.Config.Database.Tools = dir
	says(t, marked(lookTools(t.Context(), target), "x", nil), report.Fault, "has version 9.6.24 and cannot work with version", "install postgresql-client-", "database.tools")
	target.Config.Database.Tools = "/nowhere"
	says(t, marked(lookTools(t.Context(), target), "x", nil), report.Fault, "no usable PostgreSQL client programs")
}

func TestDisks(t *testing.T) {
	target, admin, server := owned(t)
	execAll(t, admin, "GRANT pg_read_all_settings TO etf_owner")
	look := func() map[string]report.Finding { t.Helper(); return byKey(lookDisks(t.Context(), target)) }
	f := look()
	says(t, f["disk"], report.OK, "free", "needed")
	says(t, f["disk-database"], report.OK, "it is the disk of "+target.Config.Root)
	if f["disk-database"].Counts["needed"] < 64<<20 || f["disk"].Counts["needed"] < f["disk-database"].Counts["needed"] {
		t.Errorf("%+v", f)
	}
	target.Config.Thresholds.DiskReserve = 1 << 60
	says(t, look()["disk"], report.Fault, "backup, release and a restored database need", "make room")
	target.Config.Thresholds.DiskReserve = 0
	target.Host = otherDisk{free: map[string]int64{server.Data: 5 << 20}}
	says(t, look()["disk-database"], report.Fault, "5.2 MB free at "+server.Data, "beside the live one", "kept databases")
}

// otherDisk is this machine, with a disk of its own for some folders.
type otherDisk struct {
	host.Local
	free map[string]int64
}

func (o otherDisk) FreeBytes(ctx context.Context, path string) (int64, error) {
	if n, ok := o.free[path]; ok {
		return n, nil
	}
	return o.Local.FreeBytes(ctx, path)
}

func (o otherDisk) Run(ctx context.Context, c host.Command) (host.Result, error) {
	if c.Argv[0] == "stat" {
		return host.Result{Stdout: []byte("1\n2\n")}, nil
	}
	return o.Local.Run(ctx, c)
}

func TestMemoryOfRedis(t *testing.T) {
	target, _ := withRedis(t)
	opts, err := redis.ParseURL(target.Config.Cache.URL)
	must(t, err)
	rdb := redis.NewClient(opts)
	defer rdb.Close()
	set := func(name, value string) { t.Helper(); must(t, rdb.ConfigSet(t.Context(), name, value).Err()) }
	look := func() map[string]report.Finding { t.Helper(); return byKey(lookCache(t.Context(), target)) }
	says(t, look()["redis"], report.OK, "Redis ", "answers")
	says(t, look()["redis-memory"], report.OK, "no limit, policy noeviction")
	set("maxmemory-policy", "allkeys-lru")
	says(t, look()["redis-memory"], report.Warning, "allkeys-lru", "also the flag etf_updates_paused", "noeviction")
	set("maxmemory", "100mb")
	target.Config.BrokerURL = strings.Replace(target.Config.Cache.URL, "127.0.0.1", "localhost", 1) + "/1"
	says(t, look()["redis-memory"], report.Fault, "also tasks that wait")
	if f := lookRedis(t.Context(), target); f.Status != report.OK { // a rollback does not wait for that
		t.Errorf("%+v", f)
	}
	set("maxmemory-policy", "volatile-ttl")
	says(t, look()["redis-memory"], report.OK, "of 105 MB used, policy volatile-ttl")
	info, _ := target.redisInfo(t.Context())
	set("maxmemory", fmt.Sprint(info.UsedMemory*21/20))
	says(t, look()["redis-memory"], report.Warning, "nearly full")
	target.Config.Cache.URL = strings.Replace(target.Config.Cache.URL, "redis-secret-1", canary, 1)
	says(t, look()["redis"], report.Fault, "refused the login")
	noCanary(t, lookCache(t.Context(), target))
}

func TestServersOutside(t *testing.T) {
	code, user := http.StatusOK, ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, user, _ = r.BasicAuth()
		if code == http.StatusFound {
			http.Redirect(w, r, "http://127.0.0.1:1/", code)
			return
		}
		w.WriteHeader(code)
	}))
	defer server.Close()
	target := filed(t)
	target.Config.PriceSourceURL, target.Config.Python.PackageIndex = server.URL, strings.Replace(server.URL, "http://", "http://u:"+canary+"@", 1)+"/simple/"
	for _, c := range []struct {
		code         int
		price, index report.Status
		says         string
	}{
		{200, report.OK, report.OK, "answers 200 in"}, {404, report.OK, report.OK, "answers 404"}, {302, report.OK, report.OK, "answers 302"},
		{503, report.Warning, report.Fault, "answers 503"}, {401, report.Warning, report.Fault, "login"}, {403, report.Warning, report.Fault, "login"},
	} {
		code = c.code
		price, index := lookPriceSource(t.Context(), target), lookPackageIndex(t.Context(), target)
		says(t, marked(price, "x", price.Counts), c.price, c.says)
		says(t, marked(index, "x", index.Counts), c.index, c.says)
		if price.Counts["status"] != int64(c.code) || user != canary {
			t.Errorf("%+v, login %q", price, user)
		}
		noCanary(t, []report.Finding{price, index})
	}
	// Without a configured index, pip's own word counts, and its silence is no fault.
	target.Config.Python.PackageIndex = ""
	t.Setenv("PIP_INDEX_URL", server.URL)
	code = 503
	says(t, marked(lookPackageIndex(t.Context(), target), "x", nil), report.Warning, server.URL+" answers 503", "PIP_INDEX_URL")
}

func TestOrigin(t *testing.T) {
	target := filed(t)
	target.Config.Timeouts.Connect = 5 * time.Second
	target.Config.Source.Origin, target.Config.Source.Ref = t.TempDir(), "main"
	for _, args := range [][]string{{"init", "-q", "-b", "main", target.Config.Source.Origin}, {"-C", target.Config.Source.Origin, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "x"}} {
		_, err := target.git(t.Context(), time.Minute, args...)
		must(t, err)
	}
	says(t, marked(lookOrigin(t.Context(), target), "x", nil), report.OK, "1 branches and tags")
	target.Config.Source.Ref = "v9"
	says(t, marked(lookOrigin(t.Context(), target), "x", nil), report.Warning, `neither branch nor tag "v9"`)
	target.Config.Source.Origin = "/nowhere"
	says(t, marked(lookOrigin(t.Context(), target), "x", nil), report.Fault, "source.origin")
}
