package checklist

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/testserver"
)

// Each fault of a .env is named by its key, and none shows a secret.
func TestPreConfig(t *testing.T) {
	target, admin, server := owned(t)
	execAll(t, admin, "CREATE DATABASE elsewhere")
	redis, err := testserver.StartRedis(serverDir(t))
	must(t, err)
	t.Cleanup(redis.Stop)
	second, err := testserver.StartRedis(serverDir(t))
	must(t, err)
	t.Cleanup(second.Stop)
	cfg := target.Config
	cfg.Cache.URL, cfg.BrokerURL = redis.URL(0), redis.URL(1)
	cfg.Timeouts.Connect, cfg.Timeouts.Check = 2*time.Second, time.Minute
	logs := t.TempDir()
	cfg.Env = config.Env{File: filepath.Join(cfg.Root, ".env"), Keys: []config.EnvKey{
		{Name: "DATABASE_URL", Kind: "url", Required: true, Secret: true}, {Name: "REDIS_URL", Kind: "url", Required: true, Secret: true},
		{Name: "CELERY_BROKER_URL", Kind: "url", Required: true, Secret: true}, {Name: "LOG_DIR", Kind: "path", Required: true},
		{Name: "LOG_LEVEL", Kind: "string"}, {Name: "API_KEY", Kind: "string", Secret: true}, {Name: "PORT", Kind: "int"},
	}}
	good := map[string]string{
		"DATABASE_URL": "postgresql+psycopg://etf_app:" + canary + "@localhost:" + fmt.Sprint(server.Port) + "/goldfinch?sslmode=disable&ssl=x",
		"REDIS_URL":    strings.Replace(redis.URL(0), "127.0.0.1", "localhost", 1), "CELERY_BROKER_URL": redis.URL(1) + "?ssl_cert_reqs=none",
		"LOG_DIR": filepath.Join(logs, "not", "yet"), "LOG_LEVEL": "INFO", "API_KEY": canary, "PORT": "8000", "NEW_KEY": "1",
	}
	example := "DATABASE_URL=postgresql+psycopg://etf_app:change-me@127.0.0.1:5432/goldfinch\nREDIS_URL=redis://:change-me@127.0.0.1:6379/0\n" +
		"CELERY_BROKER_URL=amqp://etf:guest-1@127.0.0.1//\nLOG_DIR=/var/log/etf\nLOG_LEVEL=INFO\nAPI_KEY=change-me\nPORT=8000\nNEW_KEY=1\n"
	live, err := target.Releases.Current(t.Context())
	must(t, err)
	must(t, os.WriteFile(filepath.Join(target.backend(liveID), ".env.example"), []byte(example), 0o644))
	must(t, os.WriteFile(filepath.Join(logs, "file"), nil, 0o600))
	closed, err := testserver.Port()
	must(t, err)
	for _, c := range []struct {
		name   string
		change map[string]string // "-" takes a key away
		more   string            // lines
		key    string
		status report.Status
		says   string
	}{
		{"all well", nil, "", "env", report.OK, "8 keys, all required ones there; held against the .env.example of " + liveID},
		{"missing, declared", map[string]string{"LOG_DIR": "-"}, "", "LOG_DIR", report.Fault, "is missing; add it to " + cfg.Env.File},
		{"missing, known to the release", map[string]string{"NEW_KEY": "-"}, "", "NEW_KEY", report.Fault, "the release to come knows it"},
		{"missing, declared as optional", map[string]string{"LOG_LEVEL": "-"}, "", "env", report.OK, "7 keys"},
		{"empty", map[string]string{"LOG_DIR": ""}, "", "LOG_DIR", report.Fault, "is empty"},
		{"malformed", map[string]string{"PORT": "80a"}, "", "PORT", report.Fault, "is not of kind int (a whole number)"},
		{"malformed secret", map[string]string{"DATABASE_URL": canary}, "", "DATABASE_URL", report.Fault, "is not of kind url (SCHEME://HOST)"},
		{"unknown", map[string]string{"LOG_LEVLE": "x"}, "", "LOG_LEVLE", report.Warning, "neither declared nor known"},
		{"no line", nil, canary + " is no line\n", "env.file", report.Fault, "line 9: is not NAME=value"},
		{"twice", nil, "PORT=8000\n", "PORT", report.Warning, "and 9"},
		{"twice, not the same", nil, "API_KEY=" + canary + "2\n", "API_KEY", report.Fault, "with another value, in line 9"},
		{"placeholder in a URL", map[string]string{"REDIS_URL": strings.Replace(redis.URL(0), redis.Password, "change-me", 1)}, "", "REDIS_URL", report.Fault, "still holds a placeholder"},
		{"placeholder as a whole", map[string]string{"API_KEY": "CHANGE_ME"}, "", "API_KEY", report.Fault, "still holds a placeholder"},
		{"the example's secret", map[string]string{"CELERY_BROKER_URL": "amqp://etf:guest-1@x//"}, "", "CELERY_BROKER_URL", report.Warning, "which is no secret"},
		{"folder that is a file's", map[string]string{"LOG_DIR": filepath.Join(logs, "file", "x")}, "", "LOG_DIR", report.Fault, "is no folder"},
		{"another database", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], "/goldfinch", "/elsewhere", 1)}, "", "DATABASE_URL", report.Fault, "names another database than database.url"},
		{"database that is not there", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], "/goldfinch", "/nowhere", 1)}, "", "DATABASE_URL", report.Fault, "no such database"},
		{"the owner's role", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], "etf_app", "etf_owner", 1)}, "", "DATABASE_URL", report.Fault, "the role that owns the tables"},
		{"another role", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], "etf_app", "etf_other", 1)}, "", "DATABASE_URL", report.Fault, "database.role of"},
		{"refused login", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], canary, canary+"x", 1)}, "", "DATABASE_URL", report.Fault, "refused the login"},
		{"server that is not there", map[string]string{"DATABASE_URL": strings.Replace(good["DATABASE_URL"], fmt.Sprint(server.Port), fmt.Sprint(closed), 1)}, "", "DATABASE_URL", report.Fault, "not reachable"},
		{"silent server", map[string]string{"DATABASE_URL": "postgresql://etf_app:" + canary + "@" + silentServer(t) + "/goldfinch"}, "", "DATABASE_URL", report.Fault, "not reachable"},
		{"no database", map[string]string{"DATABASE_URL": "mysql://etf_app:" + canary + "@x/goldfinch"}, "", "DATABASE_URL", report.Fault, "no address of a PostgreSQL database"},
		{"another Redis", map[string]string{"REDIS_URL": second.URL(0)}, "", "REDIS_URL", report.Fault, "names another Redis server than cache.url"},
		{"another database of Redis", map[string]string{"REDIS_URL": redis.URL(3)}, "", "REDIS_URL", report.Fault, "names database 3, cache.url"},
		{"broker's other database", map[string]string{"CELERY_BROKER_URL": redis.URL(0)}, "", "CELERY_BROKER_URL", report.Fault, "names database 0, broker_url"},
		{"refused by Redis", map[string]string{"REDIS_URL": strings.Replace(redis.URL(0), redis.Password, canary, 1)}, "", "REDIS_URL", report.Fault, "refused the login"},
		{"another kind of broker", map[string]string{"CELERY_BROKER_URL": "amqp://etf:" + canary + "@127.0.0.1//"}, "", "CELERY_BROKER_URL", report.Fault, "names another kind of broker"},
	} {
		var text strings.Builder
		for _, name := range sortedKeys(good) {
			value, changed := c.change[name]
			if !changed {
				value = good[name]
			}
			if value != "-" {
				fmt.Fprintf(&text, "%s=%s\n", name, value)
			}
		}
		for name, value := range c.change {
			if _, known := good[name]; !known {
				fmt.Fprintf(&text, "%s=%s\n", name, value)
			}
		}
		must(t, os.WriteFile(cfg.Env.File, []byte(text.String()+c.more), 0o600))
		findings := checkConfig.Run(t.Context(), target, Subject{Release: live})
		t.Run(c.name, func(t *testing.T) {
			says(t, byKey(findings)[c.key], c.status, c.says)
			for _, f := range findings {
				if f.Key != c.key && f.Key != "env" {
					t.Errorf("also: %+v", f)
				}
			}
			noCanary(t, findings)
		})
	}
}

func TestPreConfigOfTheFile(t *testing.T) {
	target := filed(t)
	target.serversAt("127.0.0.1:1", "/nowhere.sock")
	target.Config.Env.File, target.Config.Timeouts.Check = filepath.Join(target.Config.Root, ".env"), time.Minute
	look := func() map[string]report.Finding { t.Helper(); return target.looksAt(t, checkConfig, Subject{}) }
	says(t, look()["env.file"], report.Fault, "it is not there", "mode 0600")
	u := url.URL{Scheme: "postgresql", User: url.UserPassword("etf_app", canary), Host: "127.0.0.1:1", Path: "/goldfinch"}
	must(t, os.WriteFile(target.Config.Env.File, []byte("DATABASE_URL="+u.String()+"\n"), 0o600))
	f := look()
	says(t, f["DATABASE_URL"], report.Unknown, "could not be compared with database.url", "see pre:connections") // neither answers
	must(t, os.WriteFile(target.Config.Env.File, []byte("A=b\n"), 0o600))
	says(t, look()["env"], report.OK, "no release is installed whose")
	must(t, os.Chmod(target.Config.Env.File, 0o640))
	says(t, look()["env.file"], report.Fault, "its mode is 0640", "chmod 600")
	must(t, os.Chmod(target.Config.Env.File, 0o600))
	if os.Geteuid() == 0 {
		must(t, os.Chown(target.Config.Env.File, 65534, 65534))
		says(t, look()["env.file"], report.Warning, "belongs to nobody")
	}
}
