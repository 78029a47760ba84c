package faults

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestSideBySide starts four deployments of the same commit in one second:
// one deploys, the others change nothing.
func TestSideBySide(t *testing.T) {
	theRig.cell(t, "four at once", func(t *testing.T) { sideBySide(t, theRig) })
}

func sideBySide(t *testing.T, r *rig) {
	r.releases.drop()
	target, err := r.releases.commit(t.Context(), expand)
	if err != nil {
		t.Fatal(err)
	}
	count := func(pattern string) int {
		all, _ := filepath.Glob(filepath.Join(r.Env["ETF_ROOT"], pattern))
		return len(all)
	}
	backups := count("backups/2*")
	var all []*deployment
	for range 4 {
		all = append(all, r.start(t, false, "", target))
	}
	deployed := 0
	for _, d := range all {
		run := d.wait(t)
		switch {
		case run.Code == 0 && strings.Contains(run.Stderr, "outcome          succeeded"):
			deployed++
		case run.Code == 0 && strings.Contains(run.Stderr, "live already"):
		case run.Code == 5 && strings.Contains(run.Stderr, "the lease is held"):
		default:
			t.Errorf("exit %d\n%s", run.Code, run.Stderr)
		}
	}
	if deployed != 1 {
		t.Errorf("%d of 4 have deployed", deployed)
	}
	if n := count("releases/*-" + target[:8]); n != 1 {
		t.Errorf("the commit is there as %d releases", n)
	}
	if n := count("backups/2*") - backups; n > 1 {
		t.Errorf("%d backups were made", n)
	}
	r.nowLive(target)
	r.whole(t, target)
}

// TestFrozen has holders of the lease stand still beyond its expiry, at
// several steps. Somebody takes over; when the holder wakes it changes nothing
// any more.
func TestFrozen(t *testing.T) {
	defer theRig.Changed(t, "    backup:\n", "    operation:\n      expiry: 3s\n    backup:\n")()
	for _, f := range []frozen{
		{step: "services:stop", way: undo, elsewhere: true},
		{step: "backup:create", way: undo, elsewhere: true},
		{step: "release:migrate", way: undo, elsewhere: true},
		{step: "release:migrate", way: forward, elsewhere: true},
		{step: "release:activate", way: undo, elsewhere: true, hangs: true},
		{step: "services:start", way: forward, elsewhere: true},
		{step: "services:start", way: undo, hangs: true},
	} {
		began := time.Now()
		ok := theRig.cell(t, fmt.Sprintf("%s %s", f.step, f.way), func(t *testing.T) { f.run(t, theRig) })
		fmt.Printf("%s frozen at %-18s %-13s %5.1fs\n", mark(ok), f.step, f.way, time.Since(began).Seconds())
	}
}

// A frozen deployment stands still at a step, and another process takes over.
type frozen struct {
	step      string
	way       way
	elsewhere bool // it seems to run on another machine: who takes over cannot end it
	hangs     bool // it waits at the step; otherwise it is caught in the midst of it
}

func (f frozen) run(t *testing.T, r *rig) {
	target, err := r.releases.commit(t.Context(), stops)
	if err != nil {
		t.Fatal(err)
	}
	faults := ""
	if f.hangs {
		faults = f.step + ":during=hang"
	}
	d := r.start(t, false, faults, target)
	defer thaw(d.pid()) // whatever happens
	d.await(t, began(f.step))
	if f.hangs {
		time.Sleep(300 * time.Millisecond)
	}
	freeze(t, d.pid())
	if f.elsewhere {
		otherBoot(t, r)
	}
	if run := r.call(t, nil, f.way.args()...); run.Code != 5 {
		t.Errorf("a lease that has not expired yet was taken over: exit %d", run.Code)
	}
	r.Await(t, 20*time.Second, "the lease to expire", func() bool { return r.leaseState(t) == "expired" })
	want(t, r.call(t, nil, f.way.args()...), string(f.way)+" over the frozen one", 0)
	if f.way == forward {
		r.nowLive(target)
	}
	r.ServesAgain(t, r.Status(t).Live.ID)

	before := r.snapshot(t)
	thaw(d.pid())
	run := d.wait(t)
	time.Sleep(2 * time.Second) // for what it may have started
	for name, what := range diff(before, r.snapshot(t)) {
		t.Errorf("the one that woke up has changed %s: %s", name, what)
	}
	switch {
	case f.elsewhere && run.Code != 5:
		t.Errorf("the one that woke up ended with %d, want 5\n%s", run.Code, run.Stderr)
	case !f.elsewhere && run.Code != 5 && run.Code != -1: // who took over may have ended it
		t.Errorf("the one that woke up ended with %d", run.Code)
	case run.Code == 5 && !strings.Contains(run.Stderr, "the lease is lost"):
		t.Errorf("the one that woke up does not say that it has lost the lease:\n%s", run.Stderr)
	}
	r.whole(t, r.live)
}

var boot = regexp.MustCompile(`"boot":"[0-9a-f-]+"`)

// otherBoot has the newest lease look as if its holder ran on another machine.
func otherBoot(t *testing.T, r *rig) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(r.Env["ETF_ROOT"], "ops", "lease.*"))
	if err != nil || len(all) == 0 {
		t.Fatalf("there is no lease (%v)", err)
	}
	newest := slices.MaxFunc(all, func(a, b string) int { return 2*(len(a)-len(b)) + strings.Compare(a, b) })
	content, err := os.ReadFile(newest)
	if err != nil {
		t.Fatal(err)
	}
	if !boot.Match(content) {
		t.Fatalf("%s names no boot: %s", newest, content)
	}
	content = boot.ReplaceAll(content, []byte(`"boot":"00000000-0000-0000-0000-000000000000"`))
	if err := os.WriteFile(newest, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// snapshot is everything that an operation can change: every file of the
// target but for the service's own logs, metrics and byte code, what
// supervisor runs, and the database without its rows.
func (r *rig) snapshot(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	root := r.Env["ETF_ROOT"]
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if entry.IsDir() && (name == "shared/logs" || name == "shared/metrics" || entry.Name() == "__pycache__" || entry.Name() == ".venv") {
			return filepath.SkipDir
		}
		switch {
		case entry.IsDir():
			all[name] = "folder"
		case entry.Type()&fs.ModeSymlink != 0:
			all[name], err = os.Readlink(path)
		default:
			var content []byte
			content, err = os.ReadFile(path)
			all[name] = fmt.Sprintf("%x", sha256.Sum256(content))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range r.Status(t).Processes {
		all["process "+p.Name] = fmt.Sprintf("%s %d %s", p.State, p.PID, p.Release)
	}
	conn := r.connect(t.Context(), t, "")
	defer conn.Close(t.Context())
	for name, query := range map[string]string{
		"databases": `select datname from pg_database order by 1`,
		"columns":   `select format('%s.%s.%s', table_schema, table_name, column_name) from information_schema.columns where table_schema not in ('pg_catalog', 'information_schema') order by 1`,
		"indexes":   `select indexdef from pg_indexes where schemaname not in ('pg_catalog') order by 1`,
		"head":      `select version_num from alembic_version`,
		"fence":     `select f::text from etf_ops.fence f`,
	} {
		all["database: "+name] = strings.Join(texts(t, conn, query), "\n")
	}
	return all
}

// diff names what is not the same in two snapshots.
func diff(before, after map[string]string) map[string]string {
	changed := map[string]string{}
	for name, was := range before {
		if is, there := after[name]; !there {
			changed[name] = "gone"
		} else if is != was {
			changed[name] = was + " → " + is
		}
	}
	for name := range maps.Keys(after) {
		if _, there := before[name]; !there {
			changed[name] = "new: " + after[name]
		}
	}
	return changed
}
