package config

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Each file of testdata says in lines "# want:" which faults it holds.
func TestFaults(t *testing.T) {
	t.Setenv("TEST_PASSWORD", "correct-horse")
	t.Setenv("TEST_SHORT", "abc")
	t.Setenv("TEST_UNESCAPED", "50%off/er")
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if w, ok := strings.CutPrefix(line, "# want: "); ok {
					want = append(want, strings.TrimSpace(w))
				}
			}
			_, err = Load(file, "production")
			if (err != nil) != (len(want) > 0) || (err != nil && !errors.Is(err, ErrInvalid)) {
				t.Fatalf("Load: %v, want %d faults", err, len(want))
			}
			var got []string
			var all *Error
			if errors.As(err, &all) {
				for _, f := range all.Faults {
					got = append(got, Fault{Path: f.Path, Problem: f.Problem}.String())
				}
			}
			slices.Sort(got)
			slices.Sort(want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("faults (-want +got):\n%s", diff)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2secret") {
				t.Errorf("the error shows the password: %v", err)
			}
		})
	}
}

func TestErrorNamesFileAndLine(t *testing.T) {
	t.Setenv("TEST_PASSWORD", "correct-horse")
	_, err := Load("testdata/many-faults-at-once.yaml", "production")
	want := "reading configuration: testdata/many-faults-at-once.yaml: 5 faults:\n" +
		"  environments.production.contacts.escalation.name: is missing\n" +
		"  environments.production.root (line 9): "
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v\nwant it to begin with %s", err, want)
	}
	_, err = Load("testdata/no-such.yaml", "production")
	if err == nil || err.Error() != "reading configuration: testdata/no-such.yaml: does not exist; run in the folder that holds it" {
		t.Errorf("missing file: %v", err)
	}
}

func TestVariables(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("ETF_SANDBOX", folder)
	_, err := Load("../../deploy.yaml", "sandbox")
	if err == nil || !strings.Contains(err.Error(), "run `go tool mage sandbox:up`") ||
		!strings.Contains(err.Error(), "ETF_DATABASE_URL") || strings.Contains(err.Error(), "faults") {
		t.Fatalf("without the variables file: %v", err)
	}
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("env", `# written by sandbox:up
export ETF_ROOT='/tmp/etf'
export ETF_ORIGIN='/tmp/origin.git'
export ETF_SUPERVISOR_SOCKET='/tmp/supervisor.sock'
export ETF_DATABASE_URL='postgresql://etf_owner:it'\''s-secret%21@127.0.0.1:5000/goldfinch'
export ETF_REDIS_URL='redis://:from-the-file@127.0.0.1:5001/0'
export ETF_BROKER_URL='amqp://etf:rabbit@127.0.0.1:5002//'
export ETF_API_URL='http://127.0.0.1:5003'
export ETF_PRICE_SOURCE_URL='http://127.0.0.1:5004'
export ETF_PROMETHEUS_URL='http://127.0.0.1:5005'
export ETF_ALERTMANAGER_URL='http://127.0.0.1:5006'
export ETF_RULES='/tmp/rules.yml'
export ETF_ROUTES='/tmp/alertmanager.yml'
`)
	t.Setenv("ETF_REDIS_URL", "redis://:from-the-process@127.0.0.1:5001/0")
	c, err := Load("../../deploy.yaml", "sandbox")
	if err != nil {
		t.Fatal(err)
	}
	if want := "postgresql://etf_owner:it's-secret%21@127.0.0.1:5000/goldfinch"; c.Database.URL != want {
		t.Errorf("database.url = %s, want %s", c.Database.URL, want)
	}
	if !strings.Contains(c.Cache.URL, "from-the-process") {
		t.Errorf("cache.url = %s, want the value of the process", c.Cache.URL)
	}
	if c.Monitoring.Rules != "/tmp/rules.yml" || c.Monitoring.Routes != "/tmp/alertmanager.yml" {
		t.Errorf("monitoring = %+v", c.Monitoring)
	}
	if c.Env.File != "/tmp/etf/shared/.env" || len(c.Env.Keys) == 0 {
		t.Errorf("env = %+v", c.Env)
	}
	for _, secret := range []string{"it's-secret%21", "it's-secret!", "from-the-process", "amqp://etf:rabbit@"} {
		if got := host.Redact("x " + secret + " y"); strings.Contains(got, secret) {
			t.Errorf("not redacted: %s", got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Setenv("ETF_ENV", "")
	if got := Environment(); got != "sandbox" {
		t.Errorf("default %q", got)
	}
	t.Setenv("ETF_ENV", "prodction")
	_, err := Load("../../deploy.yaml", "")
	if err == nil || !strings.Contains(err.Error(), `no environment "prodction"; set ETF_ENV to one of: production, sandbox`) {
		t.Errorf("unknown environment: %v", err)
	}
}

func BenchmarkLoad(b *testing.B) {
	setProduction(b)
	for b.Loop() {
		if _, err := Load("../../deploy.yaml", "production"); err != nil {
			b.Fatal(err)
		}
	}
}

// Keys that a file leaves out have the values that the example calls defaults.
func TestDefaults(t *testing.T) {
	t.Setenv("TEST_PASSWORD", "correct-horse")
	c, err := Load("testdata/good.yaml", "production")
	if err != nil {
		t.Fatal(err)
	}
	if c.Thresholds.PriceJump != 0.25 || c.Thresholds.PriceCorrection != 0.02 || c.Thresholds.RatesGap != 7 || c.Thresholds.Slower != 2 ||
		c.Thresholds.Gap != 10 || c.Thresholds.ErrorsAfter != 168*time.Hour || c.Thresholds.MissingAfter != 72*time.Hour {
		t.Errorf("thresholds = %+v", c.Thresholds)
	}
	if !slices.Equal(c.Logs.Files, []string{"/srv/etf/shared/logs/*.log*"}) {
		t.Errorf("logs = %+v", c.Logs)
	}
}

// What is generated for an environment is generated where its secrets are not.
func TestLoadWithoutSecrets(t *testing.T) {
	const variables = "${ETF_PRODUCTION_DATABASE_URL}"
	for name, test := range map[string]struct {
		needs []string
		want  string
	}{
		"what is needed has values":      {[]string{"monitoring", "api", "contacts"}, ""},
		"a key that is needed has none":  {[]string{"monitoring", "database.url"}, "ETF_PRODUCTION_DATABASE_URL"},
		"a section that is needed":       {[]string{"database"}, "ETF_PRODUCTION_DATABASE_URL"},
		"nothing is needed":              {[]string{}, ""},
		"a key whose name begins alike":  {[]string{"data", "database.u"}, ""},
		"everything, as Load":            {nil, "ETF_PRODUCTION_BROKER_URL"},
		"several keys that are not here": {[]string{"broker_url", "cache"}, "ETF_PRODUCTION_BROKER_URL, ETF_PRODUCTION_REDIS_URL"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := LoadWith("../../deploy.yaml", "production", Options{Needs: test.needs})
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want == "" && (c.API.URL == "" || strings.Contains(c.Database.URL, variables)):
				t.Errorf("api.url %q, database.url %q", c.API.URL, c.Database.URL)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestLoadWithVariablesOfTheCaller(t *testing.T) {
	setProduction(t)
	c, err := LoadWith("../../deploy.yaml", "production", Options{Variables: map[string]string{
		"ETF_PRODUCTION_REDIS_URL": "redis://:from-the-caller@127.0.0.1:6379/0"}})
	if err != nil || !strings.Contains(c.Cache.URL, "from-the-caller") || !strings.Contains(c.Database.URL, "correct-horse") {
		t.Errorf("cache.url = %v, error %v", c, err)
	}
}
