// Package lifetime tells a target when it should come to its end: by a signal,
// or because the `go tool mage` above it is gone, which does not pass SIGTERM
// on and would leave the target running behind everybody's back.
package lifetime

import (
	"context"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// interval is how often the ancestors are looked for.
const interval = 200 * time.Millisecond

// Context returns a context that ends, with this cause, at SIGTERM, at SIGHUP
// unless the process was started to ignore it (nohup), and when an ancestor
// that is Mage, or the go command that runs Mage, has gone. Ctrl-C is Mage's:
// it ends the parent context.
func Context(parent context.Context, cause error) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := []os.Signal{syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, signals...)
	// Nobody reads any more (a closed terminal, `| head`): a write then fails,
	// which must not end a cut-over. Not ignored, or children would inherit it.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ancestors := mageAbove()
	go func() {
		defer signal.Stop(ch)
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ch:
				cancel(cause)
				return
			case <-tick.C:
				for _, a := range ancestors {
					if !host.Alive(context.Background(), host.Local{}, a) {
						cancel(cause)
						return
					}
				}
			}
		}
	}()
	return ctx, func() { cancel(context.Canceled) }
}

// mageAbove finds the mage process that started this one, and the go command
// that started mage. A compiled binary has neither and lives as long as it
// likes.
func mageAbove() []host.Process {
	var found []host.Process
	pid := os.Getppid()
	for _, name := range []string{"mage", "go"} {
		if command(pid) != name {
			break
		}
		p, err := host.Local{}.Process(context.Background(), pid)
		if err != nil {
			break
		}
		found = append(found, p)
		pid = parent(pid)
	}
	return found
}

func command(pid int) string {
	exe, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/exe")
	if err != nil {
		return ""
	}
	return filepath.Base(strings.TrimSuffix(exe, " (deleted)"))
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
