package beat

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// A Process is a running Celery beat, as its command line tells.
type Process struct {
	PID       int
	Dir       string // in which it runs; empty: it could not be seen
	App       string // as in celery -A
	File      string // of its timetable, as it was told; empty: Celery's default
	Scheduler string // class, as it was told; empty: the application's
	Argv      []string
}

// Processes lists every Celery beat of this host, also a worker that has one
// within it (-B).
func Processes(ctx context.Context, h host.Host) ([]Process, error) {
	names, err := h.List(ctx, "/proc")
	if err != nil {
		return nil, fmt.Errorf("listing the host's processes: %w", err)
	}
	var all []Process
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		line, err := h.ReadFile(ctx, path.Join("/proc", name, "cmdline"))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			continue // it has gone
		}
		p, is := parse(strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"))
		if !is {
			continue
		}
		p.PID = pid
		if p.Dir, err = h.Readlink(ctx, path.Join("/proc", name, "cwd")); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		all = append(all, p)
	}
	return all, nil
}

// parse recognises a beat by its command line. What merely starts one, like
// sudo or a shell, is not one.
func parse(argv []string) (p Process, is bool) {
	if len(argv) == 1 && strings.HasPrefix(argv[0], "[celery ") { // as the package setproctitle has it
		kind, rest, _ := strings.Cut(argv[0][len("[celery "):], "]")
		argv = append([]string{"celery", kind}, strings.Fields(rest)...)
	}
	program := path.Base(argv[0])
	if program != "celery" && !strings.HasPrefix(program, "python") {
		return p, false
	}
	celery := slices.IndexFunc(argv, func(a string) bool { return path.Base(a) == "celery" })
	if celery < 0 {
		return p, false
	}
	options := argv[celery+1:]
	within := slices.Contains(options, "-B") || slices.Contains(options, "--beat")
	if !slices.Contains(options, "beat") && !(within && slices.Contains(options, "worker")) {
		return p, false
	}
	p.Argv = argv
	p.App = option(options, "-A", "--app")
	p.File = option(options, "-s", "--schedule", "--schedule-filename")
	p.Scheduler = option(options, "-S", "--scheduler")
	return p, true
}

// option is the value of one that is written -s X, -sX, --name X or --name=X.
func option(argv []string, names ...string) string {
	for i, arg := range argv {
		for _, name := range names {
			value, joined := strings.CutPrefix(arg, name)
			switch {
			case !joined:
			case value == "" && i+1 < len(argv):
				return argv[i+1]
			case strings.HasPrefix(value, "="):
				return value[1:]
			case value != "" && !strings.HasPrefix(name, "--"):
				return value
			}
		}
	}
	return ""
}

// Life is what the host says of a process.
type Life struct {
	Parent int
	Frozen string // why it does not run although it exists; empty: it runs
}

// LifeOf looks at one process.
func LifeOf(ctx context.Context, h host.Host, pid int) (Life, error) {
	stat, err := h.ReadFile(ctx, path.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return Life{}, fmt.Errorf("looking at process %d: %w", pid, err)
	}
	// The name, in parentheses, may hold anything, also parentheses.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 2 {
		return Life{}, fmt.Errorf("looking at process %d: its state cannot be read", pid)
	}
	var l Life
	if l.Parent, err = strconv.Atoi(fields[1]); err != nil {
		return Life{}, fmt.Errorf("looking at process %d: its parent cannot be read: %w", pid, err)
	}
	switch fields[0] {
	case "T", "t":
		l.Frozen = "it is stopped (by SIGSTOP or a debugger): it sends nothing"
	case "Z", "X", "x":
		l.Frozen = "it has ended: only its entry in the process table is left"
	}
	return l, nil
}
