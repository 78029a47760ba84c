package lease_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/lease"
)

// The test binary is also the other processes that some tests need.
func TestMain(m *testing.M) {
	switch os.Getenv("LEASE_TEST") {
	case "taker":
		takerProcess()
	case "changer":
		changerProcess()
	default:
		lease.ShortenWatch()
		os.Exit(m.Run())
	}
}

// A helper is the test binary in another process, which is told by lines and
// answers by lines.
type helper struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHelper(t *testing.T, kind, dir string) *helper {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LEASE_TEST="+kind, "LEASE_DIR="+dir)
	cmd.Stderr = os.Stderr
	in, inErr := cmd.StdinPipe()
	out, outErr := cmd.StdoutPipe()
	if err := errors.Join(inErr, outErr, cmd.Start()); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd: cmd, in: in, out: bufio.NewReader(out)}
	t.Cleanup(h.kill)
	return h
}

func (h *helper) kill() {
	h.cmd.Process.Kill()
	h.cmd.Wait()
}

func (h *helper) line(t *testing.T) string {
	t.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the helper says %q, then %v", line, err)
	}
	return strings.TrimSpace(line)
}

// takerProcess takes the lease when it is told, and ends it as it is told.
func takerProcess() {
	in := bufio.NewScanner(os.Stdin)
	fmt.Println("ready")
	in.Scan()
	r := me()
	r.By = "process@here"
	l, _, err := lease.Take(ctx, unsynced{}, os.Getenv("LEASE_DIR"), r)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("token", l.Token())
	for in.Scan() {
		end(l, in.Text())
		fmt.Println("ended")
	}
}

// The ways in which a holder ends.
const (
	byRelease = "release"
	byDeath   = "death"
	byParking = "parking"
)

// end ends a lease so that anybody may take the next one.
func end(l *lease.Lease, how string) error {
	if how == byParking {
		return l.Park(ctx, noon.Add(-time.Second))
	}
	return l.Release(ctx)
}

// Many takers at once, with clocks that differ, round after round, on a lease
// that was never there, released, left by a dead process or parked too long.
func TestExactlyOneWinner(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("LEASE_SEED"); s != "" {
		seed, _ = strconv.ParseUint(s, 10, 64)
	}
	t.Logf("LEASE_SEED=%d repeats these rounds", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	parent := t.TempDir()
	dir, last, dead, ended := "", int64(0), gone(t), ""
	for round := range 1000 {
		if round%20 == 0 {
			dir, last, ended = filepath.Join(parent, fmt.Sprint(round)), 0, byRelease // never there
		}
		processes := 0
		if round%50 == 7 {
			processes = 4
		}
		w := race(t, dir, fmt.Sprint("op", round), processes)
		if w == nil || w.token <= last || (w.before != nil) != (ended != byRelease) && w.helper == nil {
			t.Fatalf("round %d, after %s of %d: got %+v, %s", round, ended, last, w, files(t, dir))
		}
		last = w.token
		ended = []string{byRelease, byDeath, byParking}[random.IntN(3)]
		w.end(t, dir, ended, dead)
	}
}

// A winner is the taker that got the lease.
type winner struct {
	lease  *lease.Lease
	before *lease.Holder
	helper *helper // when it is another process
	token  int64
}

// race lets eight takers begin at once, some of them processes of their own;
// nil unless exactly one wins.
func race(t *testing.T, dir, operation string, processes int) *winner {
	t.Helper()
	var helpers []*helper
	for range processes {
		h := startHelper(t, "taker", dir)
		h.line(t)
		helpers = append(helpers, h)
	}
	begin := make(chan struct{})
	results := make(chan *winner, 8)
	var all sync.WaitGroup
	for i := range 8 - processes {
		all.Go(func() {
			r := other(noon.Add(time.Duration(i) * time.Second))
			r.Operation = operation
			<-begin
			l, before, err := lease.Take(ctx, unsynced{}, dir, r)
			switch {
			case err == nil:
				results <- &winner{lease: l, before: before, token: l.Token()}
			case !errors.Is(err, lease.ErrHeld):
				t.Errorf("%v, %s", err, files(t, dir))
			}
		})
	}
	for _, h := range helpers {
		all.Go(func() {
			<-begin
			fmt.Fprintln(h.in, "take")
			line, err := h.out.ReadString('\n')
			token, won := strings.CutPrefix(strings.TrimSpace(line), "token ")
			switch {
			case won:
				n, _ := strconv.ParseInt(token, 10, 64)
				results <- &winner{helper: h, token: n}
			case err != nil || !strings.HasPrefix(line, lease.ErrHeld.Error()):
				t.Errorf("the helper says %q, %v", line, err)
			}
		})
	}
	close(begin)
	all.Wait()
	close(results)
	var winners []*winner
	for w := range results {
		winners = append(winners, w)
	}
	if len(winners) != 1 {
		t.Errorf("%d winners: %+v", len(winners), winners)
		return nil
	}
	w := winners[0]
	if w.lease != nil {
		if err := w.lease.Check(ctx); err != nil {
			t.Error(err)
		}
	}
	return w
}

// end ends the winner's lease.
func (w *winner) end(t *testing.T, dir, how string, dead host.Process) {
	t.Helper()
	switch {
	case how == byDeath && w.helper != nil:
		w.helper.kill()
	case how == byDeath: // of a process; this one has to go on
		h := show(t, dir)
		h.Process = dead
		write(t, dir, h)
	case w.helper != nil:
		fmt.Fprintln(w.helper.in, how)
		if got := w.helper.line(t); got != "ended" {
			t.Fatalf("the helper says %q", got)
		}
	default:
		if err := end(w.lease, how); err != nil {
			t.Fatal(err)
		}
	}
}

// unsynced does what Local does by the same system calls, without waiting for
// the disk: a thousand rounds would only measure that.
type unsynced struct{ host.Local }

func (unsynced) Create(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	tmp, err := beside(path, data)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	return os.Link(tmp, path)
}

func (unsynced) WriteFile(_ context.Context, path string, data []byte, mode fs.FileMode) error {
	tmp, err := beside(path, data)
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

func beside(path string, data []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp")
	if err != nil {
		return "", err
	}
	_, err = f.Write(data)
	return f.Name(), errors.Join(err, f.Close())
}
