// Package alembic runs the migrations of a release with the release's own
// alembic, and looks at them beforehand.
package alembic

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Deadlines of calls whose context has none.
const (
	lookTimeout    = time.Minute
	migrateTimeout = 2 * time.Hour // the session's own timeouts end it long before
)

// Why alembic did not do it.
var (
	ErrMissing          = errors.New("alembic is not installed")
	ErrSeveralHeads     = errors.New("there are several heads")
	ErrUnknownRevision  = errors.New("unknown revision")
	ErrNotUpToDate      = errors.New("the database is not at the head")
	ErrDrift            = errors.New("the models differ from the database")
	ErrLockTimeout      = errors.New("the migration gave up waiting for a lock")
	ErrStatementTimeout = errors.New("a statement of the migration took too long")
)

// Why a migration was refused, by its own sessions.
var (
	ErrBusy   = errors.New("another migration of this database is at work") // the error names its session
	ErrFenced = errors.New("fenced off")                                    // the error names who holds the fence
)

// Options say where the migrations are and how their sessions behave.
type Options struct {
	Dir    string   // folder of alembic.ini, on the host
	Python string   // interpreter of the release's virtual environment
	Env    []string // NAME=value, such as DATABASE_URL of the owning role

	// The migrating session carries these itself, through libpq's own
	// environment, and so keeps them when the suite has died.
	ApplicationName  string        // at most 63 bytes
	LockTimeout      time.Duration // 0: as the server has it
	StatementTimeout time.Duration // 0: as the server has it
	Fence            int64         // token that etf_ops.fence must have in every transaction of a migration; 0: not looked at
}

// A Client runs alembic for one release.
type Client struct {
	h host.Host
	o Options
}

// New returns a client; nothing is run yet.
func New(h host.Host, o Options) *Client { return &Client{h: h, o: o} }

func withDeadline(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, limit)
}

func (c *Client) env() []string {
	env := append(c.o.Env[:len(c.o.Env):len(c.o.Env)], "PYTHONUNBUFFERED=1", fmt.Sprintf("ETF_FENCE=%d", c.o.Fence))
	if c.o.ApplicationName != "" {
		env = append(env, "PGAPPNAME="+c.o.ApplicationName)
	}
	var options []string
	for name, d := range map[string]time.Duration{"lock_timeout": c.o.LockTimeout, "statement_timeout": c.o.StatementTimeout} {
		if d > 0 {
			options = append(options, fmt.Sprintf("-c %s=%d", name, d.Milliseconds()))
		}
	}
	if len(options) > 0 {
		env = append(env, "PGOPTIONS="+strings.Join(options, " "))
	}
	return env
}

// run runs "alembic args…" and returns what it printed; out, which may be nil,
// gets output and messages as they come.
func (c *Client) run(ctx context.Context, out io.Writer, args ...string) (string, error) {
	return c.python(ctx, out, nil, append([]string{"-m", "alembic"}, args...)...)
}

func (c *Client) python(ctx context.Context, out io.Writer, stdin io.Reader, args ...string) (string, error) {
	at, _ := ctx.Deadline()
	var stdout bytes.Buffer
	command := host.Command{
		Argv: append([]string{c.o.Python}, args...), Dir: c.o.Dir, Env: c.env(), Stdin: stdin,
		Stdout: &stdout, Timeout: max(time.Until(at), time.Millisecond),
	}
	if out != nil {
		out = &locked{w: out} // both streams end in it
		command.Stdout, command.Stderr = io.MultiWriter(&stdout, out), out
	}
	res, err := c.h.Run(ctx, command)
	if err != nil {
		// Alembic says what failed on its output, Python on its error output.
		err = diagnose(err, host.Redact(stdout.String())+"\n"+string(res.Stderr))
	}
	return stdout.String(), err
}

// A locked writer is written to by one at a time.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// checkRevision keeps words that would be options, or ranges, out of argv.
func checkRevision(revisions ...string) error {
	for _, r := range revisions {
		if r == "" || strings.HasPrefix(r, "-") || strings.ContainsAny(r, ": \t\n") {
			return fmt.Errorf("%q is no revision", r)
		}
	}
	return nil
}

// Current asks alembic for the revisions of the database; none before the
// first migration. ErrUnknownRevision when it has no file for one of them.
func (c *Client) Current(ctx context.Context) ([]string, error) {
	ctx, cancel := withDeadline(ctx, lookTimeout)
	defer cancel()
	out, err := c.run(ctx, nil, "current")
	if err != nil {
		return nil, fmt.Errorf("reading the database's revision: %w", err)
	}
	return revisionLines(out), nil
}

var revisionLine = regexp.MustCompile(`^(\S+)(?: \((?:head|branchpoint|mergepoint|effective head)\))*$`)

func revisionLines(out string) (revisions []string) {
	for line := range strings.Lines(out) {
		if m := revisionLine.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			revisions = append(revisions, m[1])
		}
	}
	return revisions
}

// SQL returns the statements that lead from one revision up to another,
// without touching the database; from "" is from the very beginning.
func (c *Client) SQL(ctx context.Context, from, to string) (string, error) {
	return c.offline(ctx, "upgrade", cmp.Or(from, "base"), to)
}

// DowngradeSQL returns the statements that lead from one revision back to an
// earlier one, without touching the database; to "" is to the very beginning.
// The error of a migration that has no way back is its own.
func (c *Client) DowngradeSQL(ctx context.Context, from, to string) (string, error) {
	return c.offline(ctx, "downgrade", from, cmp.Or(to, "base"))
}

func (c *Client) offline(ctx context.Context, command, from, to string) (string, error) {
	ctx, cancel := withDeadline(ctx, lookTimeout)
	defer cancel()
	if strings.Contains(from, ",") {
		return "", fmt.Errorf("writing the SQL of the migrations to %s: the database is at several revisions (%s): merge them first", to, from)
	}
	if err := checkRevision(from, to); err != nil {
		return "", err
	}
	out, err := c.run(ctx, nil, command, from+":"+to, "--sql")
	if err != nil {
		return "", fmt.Errorf("writing the SQL of the migrations to %s: %w", to, err)
	}
	// What the application printed at its start is no SQL.
	if at := sqlBegin.FindStringIndex(out); at != nil {
		out = out[at[0]:]
	}
	return out, nil
}

var sqlBegin = regexp.MustCompile(`(?m)^(?:BEGIN;|-- Running (?:upgrade|downgrade) |CREATE TABLE \S*alembic_version)`)

// Check compares the models with the database. ErrDrift with the differences,
// ErrNotUpToDate before the migration.
func (c *Client) Check(ctx context.Context) error {
	ctx, cancel := withDeadline(ctx, lookTimeout)
	defer cancel()
	if _, err := c.run(ctx, nil, "check"); err != nil {
		return fmt.Errorf("comparing the models with the database: %w", err)
	}
	return nil
}
