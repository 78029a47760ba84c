package step_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

var (
	ctx   = context.Background()
	local = host.Local{}
)

// helperVariable has the test binary run one operation on this journal instead
// of the tests: a process of the suite that can be killed.
const helperVariable = "ETF_TEST_JOURNAL"

func TestMain(m *testing.M) {
	step.ShortenUndoPauses()
	if file := os.Getenv(helperVariable); file != "" {
		os.Exit(helper(file))
	}
	os.Exit(m.Run())
}

// helper runs the steps a, b and c on a journal, taking back what fails, as
// a target does: 0 done, 1 failed.
func helper(file string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	j, err := journal.Open(ctx, local, file, time.Now)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	op := step.NewOperation(j, &observer{}, time.Now)
	list := helperSteps(filepath.Dir(file))
	err = op.Do(ctx, list)
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if err := op.Undo(ctx, list); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 4
	}
	return 1
}

// helperSteps are steps that leave a trace in dir/trace.
func helperSteps(dir string) []step.Step {
	var list []step.Step
	for _, name := range []string{"a", "b", "c"} {
		list = append(list, fake{
			name: name, limit: 500 * time.Millisecond,
			run: func(ctx context.Context, r *step.Run) error {
				if err := trace(dir, "run "+name); err != nil {
					return err
				}
				if os.Getenv("ETF_TEST_CHILD") == name {
					_, err := local.Run(ctx, host.Command{Argv: []string{"sh", "-c", orphanScript, "sh", dir}})
					return err
				}
				return r.Fault(ctx, "during")
			},
			undo: func(context.Context, *step.Run) error { return trace(dir, "undo "+name) },
		})
	}
	return list
}

func trace(dir, line string) error {
	return local.Append(ctx, filepath.Join(dir, "trace"), []byte(line+"\n"), 0o600)
}

func traced(t *testing.T, dir string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "trace"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(b)), "\n", ", ")
}

// command is the helper on a journal.
func command(file string, env ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), helperVariable+"="+file), env...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	return cmd, &said
}

// A fake is a step made of functions, the optional ones nil or not.
type fake struct {
	name   string
	limit  time.Duration
	run    func(ctx context.Context, r *step.Run) error
	skip   func(ctx context.Context, r *step.Run) (string, error)
	undo   func(ctx context.Context, r *step.Run) error
	digest func() (string, error)
}

func (f fake) String() string { return f.name }

func (f fake) Run(ctx context.Context, r *step.Run) error {
	if f.run == nil {
		return nil
	}
	return f.run(ctx, r)
}

func (f fake) Skip(ctx context.Context, r *step.Run) (string, error) {
	if f.skip == nil {
		return "", nil
	}
	return f.skip(ctx, r)
}

func (f fake) Undo(ctx context.Context, r *step.Run) error {
	if f.undo == nil {
		return nil
	}
	return f.undo(ctx, r)
}

func (f fake) Digest(context.Context, *step.Run) (string, error) {
	if f.digest == nil {
		return "", nil
	}
	return f.digest()
}

func (f fake) Deadline() time.Duration {
	if f.limit == 0 {
		return time.Minute
	}
	return f.limit
}

// observer writes down what it is told.
type observer struct {
	mu    sync.Mutex
	lines []string
}

func (o *observer) add(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, fmt.Sprintf(format, args...))
}

func (o *observer) Started(name string) { o.add("started %s", name) }
func (o *observer) Progress(name string, done, total int64, text string) {
	o.add("%s %d/%d %s", name, done, total, text)
}
func (o *observer) Finished(name, outcome string, _ time.Duration, detail string) {
	o.add("%s %s: %s", name, outcome, detail)
}
func (o *observer) Log(name, line string) { o.add("%s: %s", name, line) }

// operation begins one in a folder of its own.
func operation(t testing.TB) (*step.Operation, *observer) {
	t.Helper()
	header := journal.Header{ID: journal.NewID("deploy", time.Now()), Kind: "deploy", By: "me@here", Token: 7}
	j, err := journal.Create(ctx, local, t.TempDir(), header, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	o := &observer{}
	return step.NewOperation(j, o, time.Now), o
}

// reopened is the same operation in another process.
func reopened(t *testing.T, op *step.Operation) *step.Operation {
	t.Helper()
	j, err := journal.Open(ctx, local, op.Journal().Path(), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	return step.NewOperation(j, &observer{}, time.Now)
}

// states is where each step stands, read from the disk.
func states(t *testing.T, op *step.Operation) string {
	t.Helper()
	log, err := journal.Read(ctx, local, op.Journal().Path())
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, s := range log.Steps() {
		all = append(all, s.Name+" "+string(s.Type))
	}
	return strings.Join(all, ", ")
}
