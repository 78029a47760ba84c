package faults

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is one of the program's, or one that it has started.
type process struct {
	pid     int
	command string
}

// programs are the running processes of the program: of this stack's own copy
// of it, so nobody else's.
func (r *rig) programs() []process {
	return find(func(dir string) bool {
		exe, err := os.Readlink(filepath.Join(dir, "exe"))
		return err == nil && exe == r.Binary
	})
}

// successors are those of them that were started to take an operation back.
func (r *rig) successors() []process {
	var found []process
	for _, p := range r.programs() {
		environ, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.pid), "environ"))
		if err == nil && bytes.Contains(environ, []byte("ETF_HAND_OVER=")) {
			found = append(found, p)
		}
	}
	return found
}

// children are the running processes that operations on this stack started.
func (r *rig) children() []process {
	return find(func(dir string) bool {
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil {
			return false
		}
		_, after, found := bytes.Cut(environ, []byte("ETF_OPERATION="))
		id, _, _ := bytes.Cut(after, []byte{0})
		if !found || len(id) == 0 {
			return false
		}
		_, err = os.Stat(filepath.Join(r.Env["ETF_ROOT"], "ops", "journal", string(id)+".jsonl"))
		return err == nil
	})
}

// find lists the processes whose folder in /proc is such; zombies are gone.
func find(is func(dir string) bool) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		dir := filepath.Join("/proc", e.Name())
		if err != nil || !is(dir) || state(pid) == 'Z' {
			continue
		}
		command, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
		found = append(found, process{pid, string(bytes.ReplaceAll(command, []byte{0}, []byte{' '}))})
	}
	return found
}

// state is that of a process as in /proc/<pid>/stat, Z when it is gone.
func state(pid int) byte {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(stat, ')')
	if err != nil || i < 0 || i+2 >= len(stat) {
		return 'Z'
	}
	return stat[i+2]
}

func killAll(all []process) {
	for _, p := range all {
		_ = syscall.Kill(p.pid, syscall.SIGKILL) // it may have ended
	}
}

// servers are the processes of a server of the sandbox, which carry its name:
// RabbitMQ is a shell that waits for Erlang, and more.
func (r *rig) servers(part string) []process {
	return find(func(dir string) bool {
		environ, err := os.ReadFile(filepath.Join(dir, "environ"))
		vars := strings.Split(string(environ), "\x00")
		return err == nil && slices.Contains(vars, "ETF_SANDBOX_PART="+part) &&
			slices.Contains(vars, "ETF_SANDBOX_PROCESS="+filepath.Dir(r.Sandbox.Root()))
	})
}

// end sends a signal to a server and waits until it is gone.
func (r *rig) end(t testing.TB, part string, sig syscall.Signal) {
	t.Helper()
	set := r.servers(part)
	if len(set) == 0 { // a plain container's root may not look into PostgreSQL
		set = []process{{pid: r.server(t, part)}}
	}
	for _, p := range set {
		_ = syscall.Kill(p.pid, sig) // one may have ended with another
	}
	r.Await(t, 20*time.Second, part+" to end", func() bool {
		return !slices.ContainsFunc(set, func(p process) bool { return state(p.pid) != 'Z' })
	})
}

// server is the process of a server by the sandbox's own word.
func (r *rig) server(t testing.TB, part string) int {
	t.Helper()
	status, err := r.Sandbox.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range status.Parts {
		if p.Name == part && p.PID != 0 {
			return p.PID
		}
	}
	t.Fatalf("%s does not run", part)
	return 0
}

// revive brings back the servers that are gone.
func (r *rig) revive(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	if err := r.Revive(ctx); err != nil {
		t.Fatal(err)
	}
}

// freeze stops a process, and returns when every thread of it has stopped.
func freeze(t testing.TB, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Fatal(err)
	}
	for range 100 {
		if s := state(pid); s == 'T' || s == 'Z' {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatalf("process %d does not stop", pid)
}

func thaw(pid int) { _ = syscall.Kill(pid, syscall.SIGCONT) }

// awaitJournal waits until the newest journal, other than the one before,
// holds a text; false when the process ended first.
func (r *rig) awaitJournal(pid int, before string, texts ...string) bool {
	for state(pid) != 'Z' {
		if file := r.Journal(); file != before {
			content, err := os.ReadFile(file)
			if err == nil && containsAll(string(content), texts) {
				return true
			}
		}
		time.Sleep(2 * time.Millisecond)
	}
	return false
}

func containsAll(s string, texts []string) bool {
	for _, text := range texts {
		if !strings.Contains(s, text) {
			return false
		}
	}
	return true
}
