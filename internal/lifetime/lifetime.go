// Package lifetime tells a target when it should come to its end: by a signal,
// or because the `go tool mage` above it is gone, which does not pass SIGTERM
// on and would leave the target running behind everybody's back.
package lifetime

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// interval is how often the ancestors are looked for.
const interval = 200 * time.Millisecond

// Context returns a context that ends, with this cause, at SIGTERM, at SIGHUP
// unless the process was started to ignore it (nohup), when an ancestor that
// is Mage, or the go command that runs Mage, has gone, and with the parent,
// which Mage ends at Ctrl-C. Until stop is called further signals do nothing:
// a closing terminal sends several.
func Context(parent context.Context, cause error) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(parent))
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, signals...)
	// Nobody reads any more (a closed terminal, `| head`): a write then fails,
	// which must not end a cut-over. Not ignored, or children would inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	go func() {
		above := mageAbove()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ch:
				cancel(cause)
			case <-parent.Done():
				cancel(cause)
			case <-tick.C:
				if above.gone() {
					cancel(cause)
				}
			}
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		signal.Stop(ch)
	}
}

// ancestors are the processes that a target is run by.
type ancestors struct {
	found  []host.Process
	orphan bool // Mage was run by a go command that had gone before the target began
}

func (a ancestors) gone() bool {
	return a.orphan || slices.ContainsFunc(a.found, func(p host.Process) bool {
		return !host.Alive(context.Background(), host.Local{}, p)
	})
}

// mageAbove finds the mage process that started this one, and the go command
// that started mage. A compiled binary has neither and lives as long as it
// likes.
func mageAbove() (a ancestors) {
	pid := os.Getppid()
	for _, name := range []string{"mage", "go"} {
		if filepath.Base(executable(pid)) != name {
			// go builds its tools in its cache: such a Mage had a go above it.
			a.orphan = name == "go" && strings.HasSuffix(executable(os.Getppid()), "-d/mage")
			break
		}
		p, err := host.Local{}.Process(context.Background(), pid)
		if err != nil {
			break
		}
		a.found = append(a.found, p)
		pid = parent(pid)
	}
	return a
}

func executable(pid int) string {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(exe, " (deleted)")
}

func parent(pid int) int {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(fields) < 2 {
		return 0
	}
	ppid, err := strconv.Atoi(fields[1])
	if err != nil {
		return 0
	}
	return ppid
}
