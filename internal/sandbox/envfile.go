package sandbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// A setting is one NAME=value.
type setting struct{ name, value string }

// serviceSettings are the service's keys that follow from the sandbox;
// serviceDefaults are those that a person may change for good.
func (s *Sandbox) serviceSettings() []setting {
	return []setting{
		{"DATABASE_URL", s.databaseURL("postgresql+psycopg", roleApp, s.st.Secrets.App, database)},
		{"REDIS_URL", s.redisURL()},
		{"CELERY_BROKER_URL", s.brokerURL()},
		{"PRICE_SOURCE_URL", s.httpURL(portPrices)},
		{"LOG_DIR", s.path("etf", "shared", "logs")},
		{"METRICS_DIR", s.path("etf", "shared", "metrics")},
	}
}

var serviceDefaults = []setting{
	{"CELERY_RESULT_BACKEND", "rpc://"},
	{"LOG_LEVEL", "INFO"},
}

func (s *Sandbox) redisURL() string {
	return fmt.Sprintf("redis://:%s@%s/0", s.st.Secrets.Redis, loopback(s.st.Ports[portRedis]))
}

// shellSettings are what .sandbox/env exports.
func (s *Sandbox) shellSettings() []setting {
	return []setting{
		{"ETF_DATABASE_URL", s.databaseURL("postgresql", roleOwner, s.st.Secrets.Owner, database)},
		{"ETF_REDIS_URL", s.redisURL()},
		{"ETF_BROKER_URL", s.brokerURL()},
		{"ETF_API_URL", s.httpURL(portAPI)},
		{"ETF_API_PORT", strconv.Itoa(s.st.Ports[portAPI])},
		{"ETF_PROMETHEUS_URL", s.httpURL(portPrometheus)},
		{"ETF_RABBITMQ_METRICS", loopback(s.st.Ports[portRabbitMetrics])},
		{"ETF_ALERTMANAGER_URL", s.httpURL(portAlertmanager)},
		{"ETF_NODE_EXPORTER", loopback(s.st.Ports[portExporter])},
		{"ETF_TEXTFILE", s.path("textfile")},
		{"ETF_RULES", s.path(filepath.FromSlash(monitoring.RulesFile))},
		{"ETF_ROUTES", s.path(filepath.FromSlash(monitoring.AlertmanagerFile))},
		{"ETF_ALERT_RECEIVER_URL", s.httpURL(portReceiver)},
		{"ETF_PRICE_SOURCE_URL", s.httpURL(portPrices)},
		{"ETF_SUPERVISOR_SOCKET", s.Socket()},
		{"ETF_ROOT", s.Root()},
		{"ETF_ORIGIN", s.Origin()},
	}
}

// writeEnvironment writes everything that says where the servers are: the
// file for shells, the service's configuration, and the copies of that which
// releases hold, as their ports may have changed since.
func (s *Sandbox) writeEnvironment() error {
	if err := s.folders("etf/shared/logs", "etf/shared/metrics", "etf/releases", "etf/backups", "etf/ops", "textfile"); err != nil {
		return err
	}
	if err := writeFile(s.EnvFile(), []byte(shellFile(s.shellSettings())), 0o600); err != nil {
		return err
	}
	shared := s.path("etf", "shared", ".env")
	old, err := os.ReadFile(shared)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text := mergeSettings(string(old), s.serviceSettings(), true)
	text = mergeSettings(text, absent(text, serviceDefaults), true)
	if err := writeFile(shared, []byte(text), 0o600); err != nil {
		return err
	}
	copies, err := filepath.Glob(filepath.Join(globQuote(s.path("etf", "releases")), "*", ".env"))
	if err != nil {
		return err
	}
	for _, path := range copies {
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if err := writeFile(path, []byte(mergeSettings(string(old), s.serviceSettings(), false)), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// globQuote takes the meaning from the characters that filepath.Glob knows.
func globQuote(path string) string {
	return strings.NewReplacer("*", `\*`, "?", `\?`, "[", `\[`).Replace(path)
}

// shellFile renders settings for a shell to source.
func shellFile(settings []setting) string {
	var b strings.Builder
	b.WriteString("# written by sandbox:up; holds passwords\n")
	for _, v := range settings {
		fmt.Fprintf(&b, "export %s=%s\n", v.name, shellQuote(v.value))
	}
	return b.String()
}

// shellQuote quotes a value for any POSIX shell.
func shellQuote(value string) string {
	return "'" + strings.ReplaceAll(value, "'", `'\''`) + "'"
}

// mergeSettings gives the named keys their values and keeps every other line
// as it is. With add, keys that are missing are added at the end.
func mergeSettings(text string, settings []setting, add bool) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if text == "" {
		lines = nil
	}
	for _, v := range settings {
		line := v.name + "=" + v.value
		i := slices.IndexFunc(lines, func(l string) bool { return settingName(l) == v.name })
		switch {
		case i >= 0:
			lines[i] = line
		case add:
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// absent returns those settings whose key the text does not have.
func absent(text string, settings []setting) []setting {
	var missing []setting
	for _, v := range settings {
		if !slices.ContainsFunc(strings.Split(text, "\n"), func(l string) bool { return settingName(l) == v.name }) {
			missing = append(missing, v)
		}
	}
	return missing
}

func settingName(line string) string {
	name, _, found := strings.Cut(line, "=")
	if !found {
		return ""
	}
	return strings.TrimSpace(name)
}
