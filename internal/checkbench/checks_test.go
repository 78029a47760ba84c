// Package checkbench measures the checks before a deployment, as a person and
// the pipeline call them, against the commands of the plan that they stand for.
package checkbench

import (
	"bytes"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// BenchmarkChecks measures, on a sandbox of the usual size with a release live:
//
//	all-ms        pre:all -native deps:all, the compiled program from start to end
//	slowest-ms    the slowest of their looks, as its finding says
//	all/slowest   demanded: 1.5 at most
//	plan-s        the plan's own commands for the same, one after the other
//	all/plan      demanded: 0.1 at most
func BenchmarkChecks(b *testing.B) {
	s, err := stack.Up(b.Context(), 0, os.Stderr)
	if err != nil {
		b.Fatal(err)
	}
	defer func() {
		if err := s.Down(b.Context()); err != nil {
			b.Error(err)
		}
	}()
	s.Mage(b, 0, "deploy")
	checks(b, s) // warm
	for b.Loop() {
		all, slowest := checks(b, s)
		plan := plansCommands(b, s)
		b.ReportMetric(float64(all.Milliseconds()), "all-ms")
		b.ReportMetric(float64(slowest.Milliseconds()), "slowest-ms")
		b.ReportMetric(all.Seconds()/slowest.Seconds(), "all/slowest")
		b.ReportMetric(plan.Seconds(), "plan-s")
		b.ReportMetric(all.Seconds()/plan.Seconds(), "all/plan")
	}
}

// rounds of which the median counts: the machine does other things too.
const rounds = 5

// checks runs both sections and returns how long that took, and the longest
// that one look of theirs did.
func checks(b *testing.B, s *stack.Stack) (all, slowest time.Duration) {
	b.Helper()
	var runs []stack.Run
	for range rounds {
		runs = append(runs, s.Mage(b, 0, "pre:all", "-native", "-json", "deps:all", "-json"))
	}
	slices.SortFunc(runs, func(x, y stack.Run) int { return int(x.Took - y.Took) })
	run := runs[rounds/2]
	sections := json.NewDecoder(bytes.NewReader([]byte(run.Stdout)))
	for range 2 {
		var section struct{ Findings []report.Finding }
		if err := sections.Decode(&section); err != nil {
			b.Fatal(err)
		}
		for _, f := range section.Findings {
			slowest = max(slowest, f.Duration)
		}
	}
	return run.Took, slowest
}

// plansCommands runs what the plan has for these sections. Its scripts do not
// exist: only the imports are counted that each of them could not do without.
func plansCommands(b *testing.B, s *stack.Stack) time.Duration {
	b.Helper()
	release := filepath.Join(s.Env["ETF_ROOT"], "current")
	bin := filepath.Join(release, ".venv", "bin")
	redis, err := url.Parse(s.Env["ETF_REDIS_URL"])
	if err != nil {
		b.Fatal(err)
	}
	password, _ := redis.User.Password()
	began := time.Now()
	for _, argv := range [][]string{
		{filepath.Join(bin, "alembic"), "current"},
		{filepath.Join(bin, "alembic"), "heads"},
		{filepath.Join(bin, "alembic"), "check"},
		{filepath.Join(bin, "python"), "-c", "import app.core.db, app.models"},     // validate_etf_data
		{filepath.Join(bin, "python"), "-c", "import app.core.db, app.models"},     // verify_exchange_rates
		{filepath.Join(bin, "python"), "-c", "import app.core.config"},             // check_config
		{filepath.Join(bin, "python"), "-c", "import app.core.db, app.core.redis"}, // test_connections
		{filepath.Join(bin, "celery"), "-A", "app.core.celery_app", "inspect", "ping"},
		{filepath.Join(bin, "celery"), "-A", "app.core.celery_app", "status"},
		{"redis-cli", "-h", redis.Hostname(), "-p", redis.Port(), "ping"},
	} {
		cmd := exec.CommandContext(b.Context(), argv[0], argv[1:]...)
		cmd.Env = append(os.Environ(), "REDISCLI_AUTH="+password)
		cmd.Dir = filepath.Join(release, "src", "backend")
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%v: %v\n%s", argv, err, out)
		}
	}
	return time.Since(began)
}
