package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var bootID = sync.OnceValues(func() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(b)), err
})

// A procStat is what /proc/PID/stat says.
type procStat struct {
	group int    // process group
	start uint64 // clock ticks after boot
	ended bool   // a zombie, the last of its threads
}

// readStat reads it; fs.ErrNotExist when there is no such process.
func readStat(pid int) (procStat, error) {
	file := fmt.Sprintf("/proc/%d/stat", pid)
	b, err := os.ReadFile(file)
	if errors.Is(err, syscall.ESRCH) || errors.Is(err, fs.ErrNotExist) {
		return procStat{}, fmt.Errorf("process %d: %w", pid, fs.ErrNotExist)
	}
	if err != nil {
		return procStat{}, err
	}
	// The name, in parentheses, may hold anything, also parentheses.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 20 {
		return procStat{}, fmt.Errorf("process %d: cannot read %s", pid, file)
	}
	// The first thread may have ended before the others, which still hold all
	// files and sockets: the number of threads tells.
	st := procStat{ended: strings.Contains("ZXx", fields[0]) && (fields[17] == "0" || fields[17] == "1")}
	var groupErr, startErr error
	st.group, groupErr = strconv.Atoi(fields[2])
	st.start, startErr = strconv.ParseUint(fields[19], 10, 64)
	if err := errors.Join(groupErr, startErr); err != nil {
		return procStat{}, fmt.Errorf("process %d: cannot read %s: %w", pid, file, err)
	}
	return st, nil
}

// Process reads /proc; a zombie counts as gone.
func (Local) Process(ctx context.Context, pid int) (Process, error) {
	if err := ctx.Err(); err != nil {
		return Process{}, err
	}
	st, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	if st.ended {
		return Process{}, fmt.Errorf("process %d has ended: %w", pid, fs.ErrNotExist)
	}
	boot, err := bootID()
	return Process{PID: pid, Start: st.start, Boot: boot}, err
}

// Processes looks at every process whose environment this user may read.
func (l Local) Processes(ctx context.Context, env string) ([]Process, error) {
	entries, err := l.List(ctx, "/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, name := range entries {
		pid, err := strconv.Atoi(name)
		if err != nil || pid == os.Getpid() {
			continue
		}
		environ, err := os.ReadFile("/proc/" + name + "/environ")
		if err != nil || !bytes.Contains(append([]byte{0}, environ...), []byte("\x00"+env+"\x00")) {
			continue
		}
		if p, err := l.Process(ctx, pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// groupRuns reports whether a process group has a member that is no zombie.
func groupRuns(group int) bool {
	if errors.Is(syscall.Kill(-group, 0), syscall.ESRCH) {
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return true
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && st.group == group && !st.ended {
			return true
		}
	}
	return false
}

// killWait is how long the kernel gets to end a process after SIGKILL.
const killWait = 10 * time.Second

// Terminate signals the group that p leads, or p alone where it leads none.
func (l Local) Terminate(ctx context.Context, p Process, grace time.Duration) error {
	if there, err := Running(ctx, l, p); err != nil || !there {
		return err
	}
	st, err := readStat(p.PID)
	if err != nil || st.start != p.Start {
		return nil // gone since
	}
	// A group keeps its number from being used again, also without its leader.
	target, gone := -p.PID, func() bool { return !groupRuns(p.PID) }
	if st.group != p.PID {
		target, gone = p.PID, func() bool {
			st, err := readStat(p.PID)
			return err != nil || st.ended || st.start != p.Start
		}
	}
	for _, try := range []struct {
		signal syscall.Signal
		wait   time.Duration
	}{{syscall.SIGTERM, grace}, {syscall.SIGKILL, killWait}} {
		if err := syscall.Kill(target, try.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending process %d: %w", p.PID, err)
		}
		if await(ctx, try.wait, gone) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("ending process %d: %w", p.PID, context.Cause(ctx))
		}
	}
	return fmt.Errorf("ending process %d: it is still there after SIGKILL", p.PID)
}

// await looks now and then, for no longer than limit, whether something has
// come true.
func await(ctx context.Context, limit time.Duration, come func() bool) bool {
	for end := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		if come() {
			return true
		}
		if time.Now().After(end) || ctx.Err() != nil {
			return false
		}
	}
}
