// Package alembic speaks to the migrations of one release through the
// release's own Python: the revision files decide, not a guess at their text.
package alembic

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// Errors that a caller may want to tell apart.
var (
	// ErrUnknownRevision says that the release has no file for a revision.
	ErrUnknownRevision = errors.New("unknown revision")
	// ErrMissing says that the release's environment has no Alembic.
	ErrMissing = errors.New("alembic is not installed")
)

// lookTimeout bounds what only reads files. A migration is bounded by the
// timeouts of its own session; migrateTimeout is for a chain of them.
const (
	lookTimeout    = time.Minute
	migrateTimeout = 4 * time.Hour
)

// Options say where the migrations are and how they run.
type Options struct {
	Python           string        // interpreter of the release's virtual environment
	Dir              string        // folder of alembic.ini
	Env              []string      // NAME=value, such as DATABASE_URL of the owning role
	LockTimeout      time.Duration // of each statement of a migration; 0: none
	StatementTimeout time.Duration // of each statement of a migration; 0: none
}

// A Client works with the migrations of one release.
type Client struct {
	h host.Host
	o Options
}

// New returns a client; nothing is run yet.
func New(h host.Host, o Options) *Client { return &Client{h: h, o: o} }

// A Migration is one revision file.
type Migration struct {
	Revision      string `json:"revision"`
	Down          string `json:"down,omitempty"` // revision before it; comma-separated where it merges
	Title         string `json:"title"`
	Path          string `json:"path"`
	Compatibility string `json:"compatibility,omitempty"` // Expand, Contract or empty: not declared
}

// What a migration may declare, by a line “# compatibility: expand” of its own.
const (
	Expand   = "expand"   // the release before can go on running on the new schema
	Contract = "contract" // it cannot
)

//go:embed revisions.py
var revisionsScript string

// Heads returns the newest revisions of the release; more than one means that
// two branches were not merged.
func (c *Client) Heads(ctx context.Context) ([]string, error) {
	var answer struct{ Heads []string }
	err := c.look(ctx, &answer, "heads")
	return answer.Heads, err
}

// Pending lists the migrations that lead from one revision ("" for an empty
// database) to another, in the order in which they run. A revision that the
// release has no file for gives ErrUnknownRevision.
func (c *Client) Pending(ctx context.Context, from, to string) ([]Migration, error) {
	var answer struct{ Migrations []Migration }
	if err := c.look(ctx, &answer, "pending", from, to); err != nil {
		return nil, err
	}
	for i := range answer.Migrations {
		m := &answer.Migrations[i]
		content, err := c.h.ReadFile(ctx, m.Path)
		if err != nil {
			return nil, fmt.Errorf("reading migration %s: %w", m.Revision, err)
		}
		if m.Compatibility, err = declared(string(content)); err != nil {
			return nil, fmt.Errorf("migration %s (%s): %w", m.Revision, m.Path, err)
		}
	}
	return answer.Migrations, nil
}

// declared finds the line by which a migration declares its compatibility.
func declared(content string) (string, error) {
	for line := range strings.Lines(content) {
		word, ok := strings.CutPrefix(strings.TrimSpace(line), "# compatibility:")
		if !ok {
			continue
		}
		if word = strings.TrimSpace(word); !slices.Contains([]string{Expand, Contract}, word) {
			return "", fmt.Errorf("declares the compatibility %q: write expand or contract", word)
		}
		return word, nil
	}
	return "", nil
}

// look runs the script that reads the revision files.
func (c *Client) look(ctx context.Context, answer any, args ...string) error {
	res, err := c.h.Run(ctx, host.Command{
		Argv: append([]string{c.o.Python, "-c", revisionsScript}, args...), Dir: c.o.Dir, Env: c.o.Env, Timeout: lookTimeout,
	})
	if err != nil {
		return fmt.Errorf("reading the migrations in %s: %w", c.o.Dir, explain(err))
	}
	var failed struct{ Error, Unknown string }
	if err := json.Unmarshal(res.Stdout, &failed); err != nil {
		return fmt.Errorf("reading the migrations in %s: %w", c.o.Dir, err)
	}
	switch {
	case failed.Unknown != "":
		return fmt.Errorf("%w: the migrations in %s have no %q", ErrUnknownRevision, c.o.Dir, failed.Unknown)
	case failed.Error != "":
		return fmt.Errorf("reading the migrations in %s: %s", c.o.Dir, failed.Error)
	}
	return json.Unmarshal(res.Stdout, answer)
}

// SQL renders the migrations between two revisions without a database. It
// fails for migrations that ask the database what to do.
func (c *Client) SQL(ctx context.Context, from, to string) (string, error) {
	if from == "" {
		from = "base"
	}
	res, err := c.h.Run(ctx, host.Command{
		Argv: []string{c.o.Python, "-m", "alembic", "upgrade", from + ":" + to, "--sql"}, Dir: c.o.Dir, Env: c.o.Env, Timeout: lookTimeout,
	})
	if err != nil {
		return "", fmt.Errorf("rendering the migrations %s:%s: %w", from, to, explain(err))
	}
	return string(res.Stdout), nil
}

// Upgrade runs the migrations up to target ("head"); out gets Alembic's log.
func (c *Client) Upgrade(ctx context.Context, target string, out io.Writer) error {
	return c.migrate(ctx, out, "upgrade", target)
}

// Downgrade takes the migrations back down to target ("base" for all).
func (c *Client) Downgrade(ctx context.Context, target string, out io.Writer) error {
	return c.migrate(ctx, out, "downgrade", target)
}

// migrate runs in a session that carries its own timeouts: they hold also when
// nobody is left who could end it.
func (c *Client) migrate(ctx context.Context, out io.Writer, direction, target string) error {
	options := fmt.Sprintf("-c lock_timeout=%d -c statement_timeout=%d", c.o.LockTimeout.Milliseconds(), c.o.StatementTimeout.Milliseconds())
	_, err := c.h.Run(ctx, host.Command{
		Argv: []string{c.o.Python, "-m", "alembic", direction, target}, Dir: c.o.Dir,
		Env: append(slices.Clone(c.o.Env), "PGOPTIONS="+options), Stderr: out, Timeout: migrateTimeout,
	})
	if err != nil {
		return fmt.Errorf("alembic %s %s: %w", direction, target, explain(err))
	}
	return nil
}

// Check holds the database against the release's models; a difference is an
// error that names it.
func (c *Client) Check(ctx context.Context) error {
	res, err := c.h.Run(ctx, host.Command{
		Argv: []string{c.o.Python, "-m", "alembic", "check"}, Dir: c.o.Dir, Env: c.o.Env, Timeout: 5 * time.Minute,
	})
	if err != nil {
		return fmt.Errorf("alembic check: the database differs from the models: %w %s", explain(err), lastLine(string(res.Stdout)))
	}
	return nil
}

// explain recognises what is behind Alembic's exit.
func explain(err error) error {
	var exit *host.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	switch {
	case strings.Contains(exit.Stderr, "Can't locate revision"):
		return fmt.Errorf("%w: %w", ErrUnknownRevision, err)
	case strings.Contains(exit.Stderr, "No module named alembic"), strings.Contains(exit.Stderr, "No module named 'alembic'"):
		return fmt.Errorf("%w: add it to the requirements: %w", ErrMissing, err)
	}
	return err
}

func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}
