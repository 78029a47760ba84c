package acceptance

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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
func (s *stack) killedAt(t *testing.T, point string, args ...string) {
	t.Helper()
	s.mageEnv(t, faults(point+"=kill"), -1, args...)
}

func resumesForward(t *testing.T, s *stack) {
	before := s.serves(t)
	s.mage(t, 0, "sandbox:release", "feature")
	s.killedAt(t, "release:migrate:during", "deploy")
	says(t, s.mage(t, 0, "status").stdout, "INTERRUPTED", "release:migrate", "resume")

	restore := s.changed(t, "drain: 2m", "drain: 3m")
	r := s.mage(t, 2, "resume")
	restore()
	says(t, r.stderr, "services:stop", "backup:create", "celery.drain")

	r = s.mage(t, 0, "resume")
	if strings.Contains(r.stderr, "backup:create         started") {
		t.Errorf("a step that was done is done again:\n%s", r.stderr)
	}
	if after := s.serves(t); after == before {
		t.Errorf("%s serves as before", after)
	}
}

// bob is somebody else.
var bob = []string{"GITHUB_ACTOR=bob"}

func betweenStages(t *testing.T, s *stack) {
	before := s.serves(t)
	s.mage(t, 0, "services:stop")
	r := s.mageEnv(t, bob, 5, "deploy")
	says(t, r.stderr, "parked until", "services:stop")
	s.mageEnv(t, bob, 5, "resume")
	s.killedAt(t, "backup:create:during", "backup:create")
	// Another stage would build on half a backup.
	says(t, s.mage(t, 1, "services:start").stderr, "backup:create", "resume")
	s.mage(t, 0, "backup:create")

	says(t, s.mageEnv(t, bob, 2, "lease:release").stderr, "-yes")
	says(t, s.mageEnv(t, bob, 0, "lease:release", "-yes").stdout, "the lease is free", "resume")
	says(t, s.mageEnv(t, bob, 1, "deploy", "-force").stderr, "services:start", "resume -undo")

	// A pipeline takes the way that is configured.
	restore := s.changed(t, "enforce: false", "enforce: false\n    operation:\n      interrupted: undo")
	r = s.mageEnv(t, append(bob, "CI=true"), 0, "deploy")
	restore()
	says(t, r.stderr, "operation.interrupted is undo", "live already")
	s.servesAgain(t, before)
}

func waitsForTheLease(t *testing.T, s *stack) {
	holder, _, _ := s.command(faults("release:fetch:during=hang,release:fetch:deadline=4s"), "release:fetch")
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	s.await(t, 10*time.Second, "the lease to be held", func() bool {
		return strings.Contains(s.mage(t, 0, "lease:show", "-json").stdout, `"state": "held"`)
	})
	r := s.mage(t, 5, "cache:clear")
	says(t, r.stderr, "release:fetch", "holds it since")
	says(t, s.mage(t, 5, "lease:release", "-yes").stderr, "release:fetch")
	s.mage(t, 0, "cache:clear", "-wait=30s")
	holder.Wait()
}

// damagedFiles names what is wrong with each file of the target and leaves it
// as it is.
func damagedFiles(t *testing.T, s *stack) {
	s.serves(t)
	ops := filepath.Join(s.env["ETF_ROOT"], "ops")
	journals, err := filepath.Glob(filepath.Join(ops, "journal", "*.jsonl"))
	if err != nil || len(journals) == 0 {
		t.Fatal(err)
	}
	newest := journals[len(journals)-1]
	leases, err := filepath.Glob(filepath.Join(ops, "lease.[1-9]*"))
	if err != nil || len(leases) == 0 {
		t.Fatal(err)
	}
	inTheMiddle := func(good string) string {
		lines := strings.SplitAfter(good, "\n")
		lines[2] = "{\"v\":1,\"t\":rubbish\n"
		return strings.Join(lines, "")
	}
	for _, c := range []struct {
		name, file string
		bad        func(good string) string
		says       []string
	}{
		{"a damaged line", newest, inTheMiddle, []string{newest, "line 3", "can be trusted"}},
		{"a newer journal", newest, func(string) string { return "{\"v\":7,\"type\":\"begin\"}\n" }, []string{newest, "newer"}},
		{"rubbish for a lease", leases[len(leases)-1], func(string) string { return "rubbish" }, []string{leases[len(leases)-1], "lease:release"}},
		{"damaged releases.json", filepath.Join(ops, "releases.json"), func(good string) string { return good[:len(good)/2] }, []string{"releases.json", "damaged"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			good, err := os.ReadFile(c.file)
			if err != nil {
				t.Fatal(err)
			}
			bad := c.bad(string(good))
			if err := os.WriteFile(c.file, []byte(bad), 0o600); err != nil {
				t.Fatal(err)
			}
			defer os.WriteFile(c.file, good, 0o600)
			says(t, s.mage(t, 1, "deploy", "-force").stderr, c.says...)
			says(t, s.mage(t, 0, "status").stdout, c.says[0])
			if now, err := os.ReadFile(c.file); err != nil || string(now) != bad {
				t.Errorf("it was overwritten: %q (%v)", now, err)
			}
		})
	}
	t.Run("current names nothing", func(t *testing.T) {
		link := filepath.Join(s.env["ETF_ROOT"], "current")
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
		says(t, s.mage(t, 1, "deploy", "-force").stderr, link, "20200101T000000Z-00000000")
		says(t, s.mage(t, 0, "status").stdout, link)
	})
	s.serves(t)
}
