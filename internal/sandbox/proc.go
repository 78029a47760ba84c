package sandbox

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Each process of a sandbox carries these two in its environment; what the
// servers start themselves inherits them. So they are found whatever happened
// to pid files, to the state file and to supervisord.
const (
	markProcess = "ETF_SANDBOX_PROCESS" // the sandbox's folder
	markPart    = "ETF_SANDBOX_PART"    // the part's name
)

// A process is one line of /proc, taken at one moment.
type process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks since boot: tells a reused pid
	ppid  int
	comm  string
	part  string
}

// readProcess reads one process; a zombie counts as gone.
func readProcess(pid int) (process, bool) {
	p := process{PID: pid}
	if pid <= 0 {
		return p, false
	}
	stat, err := os.ReadFile(procPath(pid, "stat"))
	if err != nil {
		return p, false
	}
	// The name stands in parentheses and may hold anything, spaces and
	// parentheses too: the fields begin after the last one.
	open, end := bytes.IndexByte(stat, '('), bytes.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, false
	}
	p.comm = string(stat[open+1 : end])
	fields := strings.Fields(string(stat[end+1:]))
	if len(fields) < 20 {
		return p, false
	}
	// Of a killed server with several threads the first may be gone while the
	// others still hold its port: the number of threads tells.
	if strings.Contains("ZX", fields[0]) && (fields[17] == "0" || fields[17] == "1") {
		return p, false
	}
	p.ppid, _ = strconv.Atoi(fields[1])
	p.Start, err = strconv.ParseUint(fields[19], 10, 64)
	return p, err == nil
}

func procPath(pid int, name string) string {
	return "/proc/" + strconv.Itoa(pid) + "/" + name
}

// alive reports whether this very process still runs.
func (p process) alive() bool {
	now, ok := readProcess(p.PID)
	return ok && now.Start == p.Start
}

// signal sends a signal, and never to a stranger that has the pid now.
func (p process) signal(sig syscall.Signal) {
	if p.alive() {
		// It may end between the look and the signal; both are fine.
		_ = syscall.Kill(p.PID, sig)
	}
}

// processes finds all running processes of the sandbox in dir.
func processes(dir string) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		part, ours := partOf(pid, dir)
		if !ours {
			continue
		}
		if p, ok := readProcess(pid); ok {
			p.part = part
			found = append(found, p)
		}
	}
	return found
}

// partOf reports whether a process belongs to the sandbox in dir, and to
// which part of it.
func partOf(pid int, dir string) (string, bool) {
	environ, _ := os.ReadFile(procPath(pid, "environ"))
	part, ours := "", false
	for _, v := range bytes.Split(environ, []byte{0}) {
		name, value, _ := strings.Cut(string(v), "=")
		switch name {
		case markProcess:
			ours = value == dir
		case markPart:
			part = value
		}
	}
	if ours {
		return part, true
	}
	return partPostgres, ofPostgres(pid, dir)
}

// ofPostgres knows the processes of PostgreSQL where the environment does not
// tell: its children overwrite theirs with their titles, and a root without
// the right to look into other users' processes (a plain container) cannot
// read the server's own. The first keep the data folder as their working
// folder, the second names it on its command line.
func ofPostgres(pid int, dir string) bool {
	exe, _ := os.ReadFile(procPath(pid, "comm"))
	if strings.TrimSpace(string(exe)) != "postgres" {
		return false
	}
	data := postgresData(dir)
	if cwd, err := os.Readlink(procPath(pid, "cwd")); err == nil && cwd == data {
		return true
	}
	cmdline, _ := os.ReadFile(procPath(pid, "cmdline"))
	args := strings.Split(string(cmdline), "\x00")
	i := slices.Index(args, "-D")
	return i > 0 && i+1 < len(args) && args[i+1] == data
}

// ofPart returns the processes of one part.
func ofPart(all []process, part string) []process {
	return filter(all, func(p process) bool { return p.part == part })
}

// roots returns those processes of a set whose parent is not in it: the ones
// that a polite signal is meant for.
func roots(set []process) []process {
	in := map[int]bool{}
	for _, p := range set {
		in[p.PID] = true
	}
	return filter(set, func(p process) bool { return !in[p.ppid] })
}

func filter(set []process, keep func(process) bool) []process {
	var kept []process
	for _, p := range set {
		if keep(p) {
			kept = append(kept, p)
		}
	}
	return kept
}

// descendants returns the process and all below it.
func descendants(all []process, root process) []process {
	tree := []process{root}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, filter(all, func(p process) bool { return p.ppid == tree[i].PID })...)
	}
	return tree
}

// end sends sig to the roots of a set, waits until all of it is gone, and
// kills after grace what is left.
func end(ctx context.Context, set []process, sig syscall.Signal, grace time.Duration) error {
	for _, p := range roots(set) {
		p.signal(sig)
	}
	if gone(ctx, set, grace) {
		return nil
	}
	for _, p := range set {
		p.signal(syscall.SIGKILL)
	}
	gone(ctx, set, 5*time.Second)
	return ctx.Err()
}

// gone waits until no process of the set runs.
func gone(ctx context.Context, set []process, limit time.Duration) bool {
	deadline := time.Now().Add(limit)
	for {
		set = filter(set, process.alive)
		if len(set) == 0 {
			return true
		}
		if time.Now().After(deadline) || sleep(ctx, 20*time.Millisecond) != nil {
			return false
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// privateMemory is the memory in bytes that a process shares with no other.
func privateMemory(pid int) int64 {
	text, err := os.ReadFile(filepath.Clean(procPath(pid, "statm")))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 3 {
		return 0
	}
	resident, _ := strconv.ParseInt(fields[1], 10, 64)
	shared, _ := strconv.ParseInt(fields[2], 10, 64)
	return (resident - shared) * int64(os.Getpagesize())
}
