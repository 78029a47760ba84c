package checklist

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// statuses are those of findings, by their keys.
func statuses(findings []report.Finding) map[string]report.Status {
	all := map[string]report.Status{}
	for _, f := range findings {
		all[f.Key] = f.Status
	}
	return all
}

// finding is the one of a key.
func finding(t *testing.T, findings []report.Finding, key string) report.Finding {
	t.Helper()
	for _, f := range findings {
		if f.Key == key {
			return f
		}
	}
	t.Fatalf("%s is not among %+v", key, findings)
	return report.Finding{}
}

func TestVerifyLogs(t *testing.T) {
	host.AddSecret("correct-horse")
	since := time.Now().Add(-time.Minute).UTC()
	line := func(level, message string) string {
		return fmt.Sprintf(`{"time": %q, "level": %q, "logger": "app", "message": %q}`+"\n", time.Now().UTC().Format(time.RFC3339Nano), level, message)
	}
	for name, c := range map[string]struct {
		files   map[string]string
		allowed int
		want    map[string]report.Status
		found   string
	}{
		"fine":         {map[string]string{"etf_service.log": line("INFO", "x") + line("WARNING", "y")}, 0, map[string]report.Status{"errors": report.OK}, "2 lines, 0 of them errors"},
		"errors":       {map[string]string{"etf_service.log": line("ERROR", "cannot login with correct-horse") + line("ERROR", "update 1 failed"), "etf_service.log.1": line("CRITICAL", "update 2 failed")}, 2, map[string]report.Status{"errors": report.Fault}, "3 errors in 3 lines, 2 may be; 2 kinds: 2 × app: update 1 failed"},
		"tolerated":    {map[string]string{"etf_service.log": line("ERROR", "x")}, 1, map[string]report.Status{"errors": report.OK}, "1 of them errors"},
		"no file":      {map[string]string{"celerybeat-schedule": "x"}, 0, map[string]report.Status{"errors": report.OK, "*.log*": report.Unknown}, "0 lines"},
		"binary":       {map[string]string{"a.log": line("INFO", "x"), "b.log": "\x00\x01"}, 0, map[string]report.Status{"errors": report.OK, "b.log": report.Warning}, ""},
		"not its form": {map[string]string{"a.log": "hello\n"}, 0, map[string]report.Status{"errors": report.OK, "a.log": report.Unknown}, ""},
		"a long line":  {map[string]string{"a.log": line("INFO", "x") + `{"time": "` + time.Now().UTC().Format(time.RFC3339) + `", "message": "` + strings.Repeat("x", 5<<20) + `"}`}, 0, map[string]report.Status{"errors": report.OK, "a.log": report.Warning}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			target := filed(t)
			dir := filepath.Join(target.sharedDir(), "logs")
			must(t, os.MkdirAll(dir, 0o755))
			for name, content := range c.files {
				must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
			}
			target.Config.Logs.Files = []string{dir + "/*.log*"}
			target.Config.Thresholds.LogErrors = c.allowed
			got := verifyLogs.look(t.Context(), target, Subject{Since: since})
			if diff := diffOf(c.want, statuses(got)); diff != "" {
				t.Errorf("%+v\n%s", got, diff)
			}
			if f := finding(t, got, "errors"); !strings.Contains(f.Found, c.found) || strings.Contains(fmt.Sprint(f), "correct-horse") {
				t.Errorf("got %+v", f)
			}
		})
	}
	target := filed(t)
	target.Config.Logs.Files = []string{filepath.Join(target.sharedDir(), "logs", "*.log*")}
	if got := verifyLogs.look(t.Context(), target, Subject{Since: since}); Judge(got) == nil || finding(t, got, "*.log*").Status != report.Unknown {
		t.Errorf("without the folder: %+v", got)
	}
}
