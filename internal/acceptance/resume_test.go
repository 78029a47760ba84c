package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/acceptance/stack"
)

// says fails unless a text holds all of these.
func says(t *testing.T, text string, all ...string) {
	t.Helper()
	for _, want := range all {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
}

// killedAt deploys and has the program die at a fault point.
func killedAt(t *testing.T, s *stack.Stack, point string, args ...string) {
	t.Helper()
	s.MageEnv(t, stack.Faults(point+"=kill"), -1, args...)
}

func resumesForward(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "sandbox:release", "feature")
	killedAt(t, s, "release:migrate:during", "deploy")
	says(t, s.Mage(t, 0, "status").Stdout, "INTERRUPTED", "release:migrate", "resume")

	restore := s.Changed(t, "drain: 2m", "drain: 3m")
	r := s.Mage(t, 2, "resume")
	restore()
	says(t, r.Stderr, "services:stop", "backup:create", "celery.drain")

	r = s.Mage(t, 0, "resume")
	if strings.Contains(r.Stderr, "backup:create         started") {
		t.Errorf("a step that was done is done again:\n%s", r.Stderr)
	}
	if after := s.Serves(t); after == before {
		t.Errorf("%s serves as before", after)
	}
}

// bob is somebody else.
var bob = []string{"GITHUB_ACTOR=bob"}

func betweenStages(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	s.Mage(t, 0, "services:stop")
	r := s.MageEnv(t, bob, 5, "deploy")
	says(t, r.Stderr, "parked until", "services:stop")
	s.MageEnv(t, bob, 5, "resume")
	killedAt(t, s, "backup:create:during", "backup:create")
	// Another stage would build on half a backup.
	says(t, s.Mage(t, 1, "services:start").Stderr, "backup:create", "resume")
	s.Mage(t, 0, "backup:create")

	says(t, s.MageEnv(t, bob, 2, "lease:release").Stderr, "-yes")
	says(t, s.MageEnv(t, bob, 0, "lease:release", "-yes").Stdout, "the lease is free", "resume")
	says(t, s.MageEnv(t, bob, 1, "deploy", "-force").Stderr, "services:start", "resume -undo")

	// A pipeline takes the way that is configured.
	restore := s.Changed(t, "enforce: false", "enforce: false\n    operation:\n      interrupted: undo")
	r = s.MageEnv(t, append(bob, "CI=true"), 0, "deploy")
	restore()
	says(t, r.Stderr, "operation.interrupted is undo", "live already")
	s.ServesAgain(t, before)
}

// stagesOutOfOrder calls stages that would leave the service half-way: each is
// refused, and the operation stays as it was.
func stagesOutOfOrder(t *testing.T, s *stack.Stack) {
	before := s.Serves(t)
	live := s.Status(t).Live.Commit
	s.Mage(t, 0, "sandbox:release", "feature")
	s.Mage(t, 0, "release:migrate")
	says(t, s.Mage(t, 2, "services:start").Stderr, "release:activate", "resume -undo")
	says(t, s.Mage(t, 2, "release:activate", "-ref="+live).Stderr, "it is about", live[:8])
	says(t, s.Mage(t, 2, "release:activate", "-ref=tpyo").Stderr, "tpyo")
	says(t, s.Mage(t, 0, "status").Stdout, "PARKED", "release:activate")
	killedAt(t, s, "release:activate:during", "release:activate")
	s.Mage(t, 0, "release:activate", "services:start")
	says(t, s.Mage(t, 2, "services:stop").Stderr, "verify:criteria")
	s.Mage(t, 0, "resume", "-undo")
	s.ServesAgain(t, before)

	// Begun by the activation of a release with the same schema: whoever takes
	// it back has to start the workers, which no stage had stopped.
	s.Commit(t, "same-schema", live, "NOTES.md", "the same schema\n")
	s.Mage(t, 0, "release:activate", "-ref=same-schema")
	s.Mage(t, 0, "services:start")
	s.Mage(t, 0, "resume", "-undo")
	s.ServesAgain(t, before)
}

func waitsForTheLease(t *testing.T, s *stack.Stack) {
	holder, _, _ := s.Command(stack.Faults("release:fetch:during=hang,release:fetch:deadline=4s"), "release:fetch")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	s.Await(t, 10*time.Second, "the lease to be held", func() bool {
		return strings.Contains(s.Mage(t, 0, "lease:show", "-json").Stdout, `"state": "held"`)
	})
	r := s.Mage(t, 5, "cache:clear")
	says(t, r.Stderr, "release:fetch", "holds it since")
	says(t, s.Mage(t, 5, "lease:release", "-yes").Stderr, "release:fetch")
	says(t, s.Mage(t, 2, "cache:clear", "-wait=-30s").Stderr, "-wait=-30s")
	s.Mage(t, 0, "cache:clear", "-wait=30s")
	holder.Wait()
}

// damagedFiles names what is wrong with each file of the target and leaves it
// as it is.
func damagedFiles(t *testing.T, s *stack.Stack) {
	s.Serves(t)
	ops := filepath.Join(s.Env["ETF_ROOT"], "ops")
	newest := func(t *testing.T, pattern string) string {
		all, err := filepath.Glob(filepath.Join(ops, pattern))
		if err != nil || len(all) == 0 {
			t.Fatalf("%s: none (%v)", pattern, err)
		}
		return all[len(all)-1]
	}
	inTheMiddle := func(good string) string {
		lines := strings.SplitAfter(good, "\n")
		lines[2] = "{\"v\":1,\"t\":rubbish\n"
		return strings.Join(lines, "")
	}
	for _, c := range []struct {
		name, file string // the newest of this pattern
		bad        func(good string) string
		code       int
		says       []string // besides the file
	}{
		{"a damaged line", "journal/*.jsonl", inTheMiddle, 1, []string{"line 3", "can be trusted"}},
		{"a newer journal", "journal/*.jsonl", func(string) string { return "{\"v\":7,\"type\":\"begin\"}\n" }, 1, []string{"newer"}},
		{"rubbish for a lease", "lease.[1-9]*", func(string) string { return "rubbish" }, 1, []string{"lease:release"}},
		{"damaged releases.json", "releases.json", func(good string) string { return good[:len(good)/2] }, 3, []string{"damaged"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := newest(t, c.file)
			good, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			bad := c.bad(string(good))
			if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(file, good, 0o600)
			says(t, s.Mage(t, c.code, "deploy", "-force").Stderr, append(c.says, file)...)
			says(t, s.Mage(t, 0, "status").Stdout, filepath.Base(file))
			if now, err := os.ReadFile(file); err != nil || string(now) != bad {
				t.Errorf("it was overwritten: %q (%v)", now, err)
			}
		})
	}
	t.Run("current names nothing", func(t *testing.T) {
		link := filepath.Join(s.Env["ETF_ROOT"], "current")
		good, err := os.Readlink(link)
		if err != nil {
			t.Fatal(err)
		}
		point := func(to string) {
			if err := os.Remove(link); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, link); err != nil {
				t.Fatal(err)
			}
		}
		point("releases/20200101T000000Z-00000000")
		defer point(good)
		says(t, s.Mage(t, 3, "deploy", "-force").Stderr, link, "20200101T000000Z-00000000")
		says(t, s.Mage(t, 0, "status").Stdout, link)
	})
	s.Serves(t)
}
