// Package host is where commands run and files lie: the machine that the
// service is deployed to. Local is this machine; every other kind of host has
// to pass the same conformance suite (package hosttest).
//
// Nothing above this package starts a process, opens a file of the target or
// dials one of its servers by any other way, so that a target works the same
// from a laptop, in a pipeline and, later, over OpenSSH.
package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"time"
)

// Default limits of a command that does not say its own.
const (
	DefaultTimeout = time.Minute      // a command without a Timeout ends after this
	DefaultGrace   = 10 * time.Second // between SIGTERM and SIGKILL
)

// A Host runs commands, keeps files and dials servers on the target machine.
// All methods end when their context does. Errors name the host's object (the
// path, the command, the address) and carry no secret that was registered
// with AddSecret. Missing files are reported so that errors.Is(err,
// fs.ErrNotExist) holds, taken names so that errors.Is(err, fs.ErrExist) does.
type Host interface {
	// String is the name of the host as a person would say it.
	String() string

	// Run runs one command to its end. A command that could be started and
	// ended with another status than 0 gives an *ExitError; a program that is
	// not there fs.ErrNotExist. When the context or the time ends, so does
	// the command with all its children, and the error holds the cause.
	Run(ctx context.Context, c Command) (Result, error)

	// ReadFile returns the content of a file.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// Open reads a file from offset on, in memory that does not grow with it.
	// The FileInfo is that of the file that was opened, whatever its path
	// names by now; reading goes on in that file also after it was renamed or
	// removed, up to its end at that time. Behind the end there is nothing to
	// read. What is no regular file is an error.
	Open(ctx context.Context, path string, offset int64) (io.ReadCloser, FileInfo, error)
	// WriteFile replaces a file in one step: a reader sees the old content
	// or the new one whole, also after a crash.
	WriteFile(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// Create makes a new file with this content; when the name is taken, by
	// whomever and however short ago, it fails with fs.ErrExist and of many
	// callers exactly one succeeds.
	Create(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// Append adds data to the end of a file in one write and returns when it
	// is on the disk. The file is made, with mode, when it is missing.
	Append(ctx context.Context, path string, data []byte, mode fs.FileMode) error
	// Mkdir makes a folder and those above it; existing ones stay as they are.
	Mkdir(ctx context.Context, path string, mode fs.FileMode) error
	// Remove deletes a file, a link or a whole folder; a missing one is fine.
	Remove(ctx context.Context, path string) error
	// Rename moves a file or folder within one file system.
	Rename(ctx context.Context, from, to string) error
	// Symlink lets link point to target, replacing what link was in one step.
	Symlink(ctx context.Context, target, link string) error
	// Readlink returns where a link points, unresolved.
	Readlink(ctx context.Context, path string) (string, error)
	// Stat describes a file, following links.
	Stat(ctx context.Context, path string) (FileInfo, error)
	// List names the entries of a folder, sorted.
	List(ctx context.Context, path string) ([]string, error)
	// FreeBytes is the room that the present user has left on the file
	// system of path, which must exist.
	FreeBytes(ctx context.Context, path string) (int64, error)

	// Dial connects to a server as seen from the host. network is "tcp" or
	// "unix".
	Dial(ctx context.Context, network, address string) (net.Conn, error)

	// Process describes a running process of the host; fs.ErrNotExist when
	// there is none or it is a zombie.
	Process(ctx context.Context, pid int) (Process, error)
	// Processes lists those whose environment holds this NAME=value: the
	// children of an operation, found even when nobody wrote them down.
	Processes(ctx context.Context, env string) ([]Process, error)
	// Terminate ends the process group that p leads, or p alone where it
	// leads none, with SIGTERM and, after grace, SIGKILL, and returns when all
	// of it is gone. A process that is gone already, or a stranger that has
	// its number now, is left alone.
	Terminate(ctx context.Context, p Process, grace time.Duration) error
}

// A Command is one program with its arguments, run without a shell.
type Command struct {
	Argv    []string      // program and arguments; never holds a secret
	Dir     string        // working directory; empty: the host's default
	Env     []string      // NAME=value, added to the host's environment; may hold secrets
	Stdin   io.Reader     // nil: empty; a command that ends early leaves the rest unread
	Stdout  io.Writer     // nil: collected in Result.Stdout; may be the same as Stderr
	Stderr  io.Writer     // as printed, not redacted; nil: only the end is kept, for errors
	Timeout time.Duration // 0: DefaultTimeout
	Grace   time.Duration // 0: DefaultGrace
}

// A Result is what a command left behind.
type Result struct {
	Stdout   []byte        // what it printed, when Command.Stdout was nil
	Stderr   []byte        // the end of what it printed as errors, redacted
	Duration time.Duration // from start to end
}

// FileInfo describes a file of a host.
type FileInfo struct {
	Size    int64 // bytes
	Mode    fs.FileMode
	ModTime time.Time
	ID      string // of the file itself, not of its name: survives a rename; another file's after its end
}

// A Process is one life of a process: the number alone would be reused.
type Process struct {
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, /proc/PID/stat field 22
	Boot  string `json:"boot"`  // /proc/sys/kernel/random/boot_id
}

// Running reports whether p still runs on h; a process of an earlier boot does
// not. An error says that it could not be looked.
func Running(ctx context.Context, h Host, p Process) (bool, error) {
	now, err := h.Process(ctx, p.PID)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("looking for process %d: %w", p.PID, err)
	}
	return now == p, nil
}

// Alive is Running for callers that take a process which they could not look
// for as still there: the safe side for whoever waits for its end.
func Alive(ctx context.Context, h Host, p Process) bool {
	running, err := Running(ctx, h, p)
	return running || err != nil
}

type contextKey struct{}

// An Operation is what every command run on its behalf carries: the
// environment that names it, and a record of the process as soon as it runs.
// What is killed in between is found by its environment.
type Operation struct {
	Env     []string                            // NAME=value for every child
	Started func(p Process, argv0 string) error // called when a child has started; an error ends the child
}

// WithOperation returns a context whose commands belong to op.
func WithOperation(ctx context.Context, op Operation) context.Context {
	return context.WithValue(ctx, contextKey{}, op)
}

// OperationOf returns what WithOperation put into ctx, or an empty Operation.
func OperationOf(ctx context.Context) Operation {
	op, _ := ctx.Value(contextKey{}).(Operation)
	return op
}
