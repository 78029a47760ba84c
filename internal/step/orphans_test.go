package step_test

import (
	"bytes"
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// brokenHost cannot append when it is broken.
type brokenHost struct {
	host.Local
	broken bool
}

func (h *brokenHost) Append(ctx context.Context, path string, data []byte, mode fs.FileMode) error {
	if h.broken {
		return errBroken
	}
	return h.Local.Append(ctx, path, data, mode)
}

// orphanScript has a child in its group that ignores SIGTERM, and one in a
// session of its own.
const orphanScript = `cd "$1"
sh -c 'trap "" TERM; echo $$ >stubborn; while test $((i=i+1)) -lt 2000; do sleep 0.05; done' &
setsid sh -c 'echo $$ >outside; exec sleep 300' &
echo $$ >leader
wait`

func readPID(t *testing.T, file string) int {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(string(bytes.TrimSpace(b))); err == nil {
			return n
		}
	}
	t.Fatalf("%s never held a number", file)
	return 0
}

func TestEndOrphans(t *testing.T) {
	op, _ := operation(t)
	dir := filepath.Dir(op.Journal().Path())
	helper, said := command(op.Journal().Path(), "ETF_TEST_CHILD=b")
	if err := helper.Start(); err != nil {
		t.Fatal(err)
	}
	var children []host.Process
	for _, name := range []string{"stubborn", "outside", "leader"} {
		p, err := local.Process(ctx, readPID(t, filepath.Join(dir, name)))
		if err != nil {
			t.Fatal(err)
		}
		children = append(children, p)
		t.Cleanup(func() { local.Terminate(context.Background(), p, 0) })
	}
	if err := helper.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	helper.Wait()
	for _, p := range children {
		if !host.Alive(ctx, local, p) {
			t.Fatalf("%+v ended with the suite's process: there is nothing to find (%s)", p, said)
		}
	}

	again := reopened(t, op)
	recorded := false
	for _, r := range again.Journal().Log().Records {
		recorded = recorded || r.Type == journal.Child && r.Step == "b" && *r.Process == children[2] && r.Text == "sh"
	}
	if !recorded {
		t.Errorf("the journal does not name the child %+v", children[2])
	}
	other, _ := operation(t)
	if n, err := other.EndOrphans(ctx, local, time.Second); n != 0 || err != nil {
		t.Fatalf("another operation ended %d processes, %v", n, err)
	}
	n, err := again.EndOrphans(ctx, local, 200*time.Millisecond)
	if err != nil || n < len(children) {
		t.Errorf("ended %d processes, %v; want at least %d", n, err, len(children))
	}
	for _, p := range children {
		if host.Alive(ctx, local, p) {
			t.Errorf("%+v is still there", p)
		}
	}
	if n, err := again.EndOrphans(ctx, local, time.Second); n != 0 || err != nil {
		t.Errorf("afterwards: %d, %v", n, err)
	}
	if got, want := states(t, op), "a done, b start"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// One whose environment says nothing is found by its number, and counted once;
// a stranger that has a recorded number now is left alone.
func TestEndOrphansByNumber(t *testing.T) {
	op, _ := operation(t)
	dir := t.TempDir()
	done := make(chan error, 1)
	go func() {
		_, err := local.Run(ctx, host.Command{Argv: []string{"sh", "-c", `cd "$1"; echo $$ >recorded; exec sleep 300`, "sh", dir}})
		done <- err
	}()
	p, err := local.Process(ctx, readPID(t, filepath.Join(dir, "recorded")))
	if err != nil {
		t.Fatal(err)
	}
	stranger := p
	stranger.Start--
	child := journal.Record{Type: journal.Child, Step: "a", Process: &stranger}
	if err := op.Journal().Append(ctx, child); err != nil {
		t.Fatal(err)
	}
	if n, err := op.EndOrphans(ctx, local, 0); n != 0 || err != nil || !host.Alive(ctx, local, p) {
		t.Fatalf("with a stranger's number: %d, %v", n, err)
	}
	child.Process = &p
	for range 2 {
		if err := op.Journal().Append(ctx, child); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := op.EndOrphans(ctx, local, time.Second); n != 1 || err != nil {
		t.Errorf("ended %d, %v; want 1", n, err)
	}
	if err := <-done; err == nil || !strings.Contains(err.Error(), syscall.SIGTERM.String()) {
		t.Errorf("it ended with %v", err)
	}
}

// Every child carries the operation's name.
func TestChildrenCarryTheOperation(t *testing.T) {
	op, _ := operation(t)
	var said string
	err := op.Do(ctx, []step.Step{fake{name: "a", run: func(ctx context.Context, _ *step.Run) error {
		res, err := local.Run(ctx, host.Command{Argv: []string{"sh", "-c", `echo "$ETF_OPERATION $PGAPPNAME"`}})
		said = string(res.Stdout)
		return err
	}}})
	if want := op.ID() + " etf-deploy/" + op.ID() + "\n"; err != nil || said != want || op.ApplicationName() != "etf-deploy/"+op.ID() {
		t.Errorf("got %q, %v; want %q", said, err, want)
	}
	// PostgreSQL cuts longer names off.
	if len("etf-deploy/"+journal.NewID("data:verifyRestoration", time.Now())) > 63 {
		t.Error("the longest application name does not fit into 63 bytes")
	}
}

// A child that cannot be recorded must not act.
func TestChildThatCannotBeRecorded(t *testing.T) {
	h := &brokenHost{}
	j, err := journal.Create(ctx, h, t.TempDir(), journal.Header{ID: journal.NewID("deploy", time.Now())}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	var failed error
	err = step.NewOperation(j, &observer{}, time.Now).Do(ctx, []step.Step{fake{name: "a", run: func(ctx context.Context, _ *step.Run) error {
		h.broken = true
		_, failed = local.Run(ctx, host.Command{Argv: []string{"sleep", "300"}})
		h.broken = false
		return failed
	}}})
	if failed == nil || err == nil || !strings.Contains(err.Error(), "recording the start of sleep") {
		t.Errorf("got error %v", err)
	}
}
