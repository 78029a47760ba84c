package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// TestStory deploys release after release over the same service, good ones and
// bad ones, and looks after each whether the service runs whole on the release
// that it should. The order is the story: each part finds what the one before
// has left.
func TestStory(t *testing.T) {
	s := theStack
	for _, part := range []struct {
		name string
		run  func(*testing.T, *stack.Stack)
	}{
		{"a plan before the first deployment changes nothing", planChangesNothing},
		{"bad input is met before anything is changed", badInput},
		{"a first deployment that fails leaves nothing running", firstFails},
		{"the first deployment", firstDeployment},
		{"what the dashboard asks for is there", func(t *testing.T, s *stack.Stack) { s.DashboardAnswers(t) }},
		{"every check of a healthy service says so", wellChecked},
		{"every harm is found by the check that looks for it", harms},
		{"the live commit is not deployed again", sameCommit},
		{"a compatible release loses no request", compatibleUnderLoad},
		{"a feature release, by its stages", featureByStages},
		{"a migration that fails half-way is taken back", brokenMigration},
		{"an API that does not start is taken back, and answers on", crashing},
		{"workers that do not start are taken back", crashingWorkers},
		{"SIGTERM during the dump takes the service back", sigtermDuringDump},
		{"Ctrl-C, with Mage's five seconds, takes the service back", sigintAtStop},
		{"the end of go tool mage takes the service back", goToolGone},
		{"a hang-up under nohup does not", underNohup},
		{"SIGKILL during the dump is found, and resume takes it back", sigkillDuringDump},
		{"SIGKILL during the migration is resumed forwards, from the same inputs", resumesForward},
		{"between two stages the lease is parked", betweenStages},
		{"stages out of order are refused", stagesOutOfOrder},
		{"a second operation is told who holds the lease, or waits", waitsForTheLease},
		{"damaged files are named and left alone", damagedFiles},
		{"a verification that fails after the migration is taken back", failedVerification},
		{"a running task is not killed", slowTask},
		{"the lists", lists},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, s) }) {
			t.Fatal("the parts to come build on this one")
		}
	}
}

func planChangesNothing(t *testing.T, s *stack.Stack) {
	before := tree(t, s)
	for _, args := range [][]string{{"plan"}, {"deploy", "-dryrun"}} {
		out := s.Mage(t, 0, args...).Stdout
		for _, want := range []string{"first deployment", "0002", "services:stop", "pg_dump", "alembic upgrade head"} {
			if !strings.Contains(out, want) {
				t.Errorf("%v does not say %q:\n%s", args, want, out)
			}
		}
	}
	if out := s.Mage(t, 0, "plan", "-sql").Stdout; !strings.Contains(out, "ALTER TABLE etf_prices ADD COLUMN source") {
		t.Errorf("no SQL:\n%s", out)
	}
	if after := tree(t, s); after != before {
		t.Errorf("the target has changed:\n%s\nbefore:\n%s", after, before)
	}
}

// tree names every file of the target.
func tree(t *testing.T, s *stack.Stack) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(s.Env["ETF_ROOT"], func(path string, _ os.DirEntry, err error) error {
		b.WriteString(path + "\n")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func firstFails(t *testing.T, s *stack.Stack) {
	s.MageEnv(t, stack.Faults("services:start:during=fail"), 1, "deploy", "-ref=v1.1")
	st := s.Status(t)
	if st.Live != nil || st.Database != "0001" || st.Operation.Outcome != "undone" {
		t.Fatalf("%+v", st)
	}
	for _, p := range st.Processes {
		if p.State == "RUNNING" {
			t.Errorf("%+v runs", p)
		}
	}
}

func firstDeployment(t *testing.T, s *stack.Stack) {
	r := s.Mage(t, 0, "deploy", "-ref=v1.1")
	s.Serves(t)
	for _, want := range []string{"workers stopped", "API stopped", "backup ", "journal ", "notes "} {
		if !strings.Contains(r.Stderr, want) {
			t.Errorf("the table at the end does not say %q:\n%s", want, r.Stderr)
		}
	}
	s.Mage(t, 0, "pre:all", "deps:all", "verify:criteria", "backup:verify")
}

func sameCommit(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	if r := s.Mage(t, 0, "deploy", "-ref=v1.1"); !strings.Contains(r.Stderr, "live already") {
		t.Errorf("it does not say so:\n%s", r.Stderr)
	}
	s.ServesAgain(t, before)
}

func compatibleUnderLoad(t *testing.T, s *stack.Stack) {
	answers, failed := s.UnderLoad(t, func() { s.Mage(t, 0, "deploy") })
	if len(failed) > 0 || answers < 500 {
		t.Errorf("%d of %d answers failed, the first: %v", len(failed), answers, failed[:min(3, len(failed))])
	}
	t.Logf("%d answers, none failed", answers)
	s.Serves(t)
}

func featureByStages(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "sandbox:release", "feature")
	s.Mage(t, 0, "release:install")
	s.Mage(t, 0, "pre:all", "-ref=main", "deps:all", "-ref=main")
	s.Mage(t, 0, "release:migrate")
	s.Mage(t, 0, "release:activate", "services:start", "cache:clear", "docs:notes")
	st := s.Status(t)
	if st.Live.ID == before || st.Database != st.Live.Head || st.Live.State != "live" {
		t.Errorf("%+v", st)
	}
	if r := s.Mage(t, 5, "deploy"); !strings.Contains(r.Stderr, "parked until") {
		t.Errorf("a deployment between two stages is not told of them:\n%s", r.Stderr)
	}
	s.Mage(t, 0, "verify:criteria")
	s.Serves(t)
}

func brokenMigration(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "sandbox:release", "broken-migration")
	r := s.Mage(t, 1, "deploy")
	if !strings.Contains(r.Stderr, "goldfinch_kept_") {
		t.Errorf("it does not name the database that was kept:\n%s", r.Stderr)
	}
	s.ServesAgain(t, before)
}

func crashing(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "sandbox:release", "crashing")
	answers, failed := s.UnderLoad(t, func() { s.Mage(t, 1, "deploy") })
	if len(failed) > 0 {
		t.Errorf("%d of %d answers failed, the first: %v", len(failed), answers, failed[0])
	}
	s.ServesAgain(t, before)
}

func crashingWorkers(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Commit(t, "crashing-workers", "v1.3", "app/tasks/__init__.py", "import sys\n\nif \"worker\" in sys.argv:\n    raise RuntimeError(\"workers do not start\")\n")
	r := s.Mage(t, 1, "deploy", "-ref=crashing-workers")
	if !strings.Contains(r.Stderr, "workers do not start") {
		t.Errorf("the end of the workers' log is not shown:\n%s", r.Stderr)
	}
	s.ServesAgain(t, before)
}

func failedVerification(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "sandbox:release", "feature")
	r := s.MageEnv(t, stack.Faults("verify:criteria:before=fail"), 1, "deploy")
	if !strings.Contains(r.Stderr, "downgraded") {
		t.Errorf("the migration was not taken back by its downgrade:\n%s", r.Stderr)
	}
	s.ServesAgain(t, before)
}

func slowTask(t *testing.T, s *stack.Stack) {
	s.Mage(t, 0, "deploy") // the feature that was taken back above
	before := s.Serves(t)
	// As sandbox:release slow, whose updates take a minute longer, but shorter:
	// the verification of the deployment waits for such an update as well.
	s.CommitEdit(t, "slow", s.Status(t).Live.Commit, "app/services/updater.py",
		"    rates.ensure(session, start, end)\n", "    for _ in range(40):\n        time.sleep(0.5)\n    rates.ensure(session, start, end)\n")
	s.Mage(t, 0, "deploy", "-ref=slow")
	slow := s.Serves(t)
	id := startUpdate(t, s)
	s.Await(t, 20*time.Second, "the task to run", func() bool { return updateStatus(t, s, id) == "processing" })
	s.Mage(t, 0, "services:stop")
	if got := updateStatus(t, s, id); got != "completed" {
		t.Errorf("the running task ended as %q", got)
	}
	s.Mage(t, 0, "services:start")
	if after := s.Serves(t); after != slow || after == before {
		t.Errorf("%s serves, want %s", after, slow)
	}
}

func lists(t *testing.T, s *stack.Stack) {
	for _, target := range []string{"history", "release:list", "backup:list", "services:status", "window", "plan", "status"} {
		s.Mage(t, 0, target)
		if out := s.Mage(t, 0, target, "-json").Stdout; !strings.Contains(out, `"version": 1`) {
			t.Errorf("%s -json has no version:\n%s", target, out)
		}
	}
	if out := s.Mage(t, 0, "contacts").Stdout; !strings.Contains(out, "DevOps Team Lead") {
		t.Errorf("contacts:\n%s", out)
	}
}
