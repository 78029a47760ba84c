package acceptance

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// badInput meets every wrong argument, file and server with an error that
// names it, before anything is changed.
func badInput(t *testing.T, s *stack.Stack) {
	s.Mage(t, 0, "release:install", "-ref=v1.1") // so that each deployment below gets to its checks at once
	s.Commit(t, "two-heads", "v1.2", "alembic/versions/0009_second_head.py", "revision = \"0009\"\ndown_revision = \"0001\"\n\n\ndef upgrade():\n    pass\n\n\ndef downgrade():\n    pass\n")
	s.Commit(t, "uninstallable", "v1.2", "requirements.txt", "no-such-package-of-anybody==99.99\n")
	env := filepath.Join(s.Env["ETF_ROOT"], "shared", ".env")
	wrongPassword := strings.Replace(s.Env["ETF_DATABASE_URL"], "etf_owner:", "etf_owner:wrong", 1)

	for _, c := range []struct {
		name   string
		yaml   []string // text of deploy.yaml and what replaces it
		env    []string
		before func(t *testing.T) (after func())
		args   string
		code   int
		says   []string
	}{
		{name: "unknown environment", env: []string{"ETF_ENV=nowhere"}, args: "deploy", code: 2, says: []string{"nowhere", "production, sandbox"}},
		{name: "malformed deploy.yaml", yaml: []string{"environments:", "environments: ["}, args: "deploy", code: 2, says: []string{"deploy.yaml"}},
		{name: "several faults of deploy.yaml at once", yaml: []string{"nodes: [worker0@etf, worker1@etf]", "nodes: []", "drain: 2m", "drain: soon"},
			args: "deploy", code: 2, says: []string{"environments.sandbox.celery.nodes", "environments.sandbox.celery.drain", "soon"}},
		{name: "ref that does not exist", args: "deploy -ref=nope", code: 2, says: []string{"nope"}},
		{name: "ref that is an option", args: "deploy -ref=-x", code: 2, says: []string{"-x"}},
		{name: "origin that cannot be reached", env: []string{"ETF_ORIGIN=/nowhere/origin.git"}, args: "deploy", code: 1, says: []string{"source.origin", "/nowhere/origin.git"}},
		{name: "requirements that cannot be installed", args: "deploy -ref=uninstallable", code: 1, says: []string{"requirements.txt", "no-such-package-of-anybody"}},
		{name: "two Alembic heads", args: "deploy -ref=two-heads", code: 3, says: []string{"2 heads", "alembic merge"}},
		{name: "no room on the disk", yaml: []string{"disk_reserve: 500MB", "disk_reserve: 900TB"}, args: "deploy -ref=v1.1", code: 3, says: []string{"disk of", "make room"}},
		{name: "API port taken", before: takePort(s), args: "deploy -ref=v1.1", code: 3, says: []string{"API port", "somebody else listens"}},
		{name: ".env missing", before: withoutFile(env), args: "deploy -ref=v1.1", code: 3, says: []string{env}},
		{name: ".env without a key", before: without(env, "CELERY_BROKER_URL"), args: "deploy -ref=v1.1", code: 3, says: []string{"CELERY_BROKER_URL"}},
		{name: "database that refuses the login", env: []string{"ETF_DATABASE_URL=" + wrongPassword}, args: "deploy -ref=v1.1", code: 3, says: []string{"PostgreSQL", "login"}},
		{name: "supervisor program that does not exist", yaml: []string{"socket: ${ETF_SUPERVISOR_SOCKET}", "socket: ${ETF_SUPERVISOR_SOCKET}\n      worker: no_such_worker"},
			args: "deploy -ref=v1.1", code: 3, says: []string{"no_such_worker", "celery_worker"}},
		{name: "unknown kind of release", args: "sandbox:release wonderful", code: 2, says: []string{"wonderful", "crashing"}},
		{name: "backup that does not exist", args: "backup:verify -id=nope", code: 2, says: []string{"nope", "backup:list"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.before != nil {
				defer c.before(t)()
			}
			if c.yaml != nil {
				defer s.Changed(t, c.yaml...)()
			}
			r := s.MageEnv(t, c.env, c.code, strings.Fields(c.args)...)
			for _, want := range c.says {
				if !strings.Contains(r.Stderr, want) {
					t.Errorf("it does not say %q:\n%s", want, r.Stderr)
				}
			}
			if password := passwordOf(t, wrongPassword); strings.Contains(r.Stdout+r.Stderr, password) {
				t.Error("the password is shown")
			}
		})
		if st := s.Status(t); st.Live != nil || st.Database != "0001" {
			t.Fatalf("%s has changed the service: %+v", c.name, st)
		}
	}
}

func passwordOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	return password
}

// takePort listens on the API's port, as a stranger would.
func takePort(s *stack.Stack) func(*testing.T) func() {
	return func(t *testing.T) func() {
		u, err := url.Parse(s.Env["ETF_API_URL"])
		if err != nil {
			t.Fatal(err)
		}
		l, err := net.Listen("tcp", u.Host)
		if err != nil {
			t.Fatal(err)
		}
		return func() { l.Close() }
	}
}

func withoutFile(file string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		if err := os.Rename(file, file+".away"); err != nil {
			t.Fatal(err)
		}
		return func() { os.Rename(file+".away", file) }
	}
}

// without drops the line of one key.
func without(file, key string) func(*testing.T) func() {
	return func(t *testing.T) func() {
		good, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var bad []string
		for line := range strings.Lines(string(good)) {
			if !strings.HasPrefix(line, key+"=") {
				bad = append(bad, line)
			}
		}
		if err := os.WriteFile(file, []byte(strings.Join(bad, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		return func() { os.WriteFile(file, good, 0o600) }
	}
}
