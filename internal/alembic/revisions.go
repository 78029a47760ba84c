package alembic

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
)

//go:embed revisions.py
var revisionsScript string

// What a migration says of itself by a comment on a line of its own:
// "# compatibility: expand" or "# compatibility: contract".
const (
	Expand   = "expand"   // the release before can go on running on the new schema
	Contract = "contract" // takes away what the release before no longer uses
)

// A Migration is one revision file.
type Migration struct {
	Revision      string `json:"revision"`
	Down          string `json:"down,omitempty"` // what it builds upon; comma-separated where it merges
	Title         string `json:"title"`
	Path          string `json:"path"`                    // its file, on the host
	Compatibility string `json:"compatibility,omitempty"` // Expand, Contract or empty: not declared

	Up   Rendered `json:"-"` // what it will run; filled in by Look
	Back Rendered `json:"-"` // what would take it back; filled in by Look
}

// Rendered is the SQL that a step writes in offline mode.
type Rendered struct {
	SQL    string
	Error  string // why there is none: mostly that it needs a connection
	Raised bool   // the step itself refuses, by a raise of its own
}

type revisionsAnswer struct {
	Heads     []string
	Revisions []struct {
		Migration
		Declared []string
		Up, Back Rendered
	}
}

// revisions asks the script. An empty target asks for the heads only.
func (c *Client) revisions(ctx context.Context, current []string, target string) (answer revisionsAnswer, err error) {
	ctx, cancel := withDeadline(ctx, lookTimeout)
	defer cancel()
	if target != "" {
		if err := checkRevision(append([]string{target}, current...)...); err != nil {
			return answer, err
		}
	}
	out, err := c.python(ctx, nil, strings.NewReader(revisionsScript), append([]string{"-", target}, current...)...)
	if err != nil {
		return answer, err
	}
	out = strings.TrimSpace(out)
	if err := json.Unmarshal([]byte(out[strings.LastIndexByte(out, '\n')+1:]), &answer); err != nil {
		return answer, fmt.Errorf("the answer of alembic's script is not JSON: %w", err)
	}
	return answer, nil
}

// Heads returns the heads of the release's migrations, sorted; more than one
// is a fault that has to be merged.
func (c *Client) Heads(ctx context.Context) ([]string, error) {
	answer, err := c.revisions(ctx, nil, "")
	if err != nil {
		return nil, fmt.Errorf("reading the heads of the migrations in %s: %w", c.o.Dir, err)
	}
	return answer.Heads, nil
}

// Pending lists the migrations from the database's present revisions
// (comma-separated; "" for an empty database) to another ("head" for all), in
// the order in which they will run. ErrSeveralHeads; ErrUnknownRevision. A
// declared compatibility that is neither expand nor contract, or declared
// twice, is an error.
func (c *Client) Pending(ctx context.Context, from, to string) ([]Migration, error) {
	var current []string
	if from != "" {
		current = strings.Split(from, ",")
	}
	answer, err := c.revisions(ctx, current, to)
	if err != nil {
		return nil, fmt.Errorf("listing the migrations from %q to %s: %w", from, to, err)
	}
	return answer.migrations()
}

func (a revisionsAnswer) migrations() ([]Migration, error) {
	all := make([]Migration, 0, len(a.Revisions))
	for _, r := range a.Revisions {
		switch {
		case len(r.Declared) == 0:
		case len(r.Declared) == 1 && slices.Contains([]string{Expand, Contract}, r.Declared[0]):
			r.Compatibility = r.Declared[0]
		default:
			return nil, fmt.Errorf("migration %s (%s): \"# compatibility: %s\": write it once, as expand or contract", r.Revision, r.Path, strings.Join(r.Declared, ", "))
		}
		r.Migration.Up, r.Migration.Back = r.Up, r.Back
		all = append(all, r.Migration)
	}
	return all, nil
}

// An Outlook is what separates a database from the migrations of a release.
type Outlook struct {
	Heads   []string    // of the release, sorted
	Pending []Migration // in the order in which they will run, with their SQL; none where there are several heads
}

// Look asks in one start of Python for the heads and for what is pending from
// the database's present revisions on, with what each migration would run. It
// fails as Pending does, but several heads of the release are an answer.
func (c *Client) Look(ctx context.Context, current []string) (Outlook, error) {
	answer, err := c.revisions(ctx, current, "?")
	var pending []Migration
	if err == nil {
		pending, err = answer.migrations()
	}
	if err != nil {
		return Outlook{}, fmt.Errorf("listing the migrations in %s from %q on: %w", c.o.Dir, strings.Join(current, ","), err)
	}
	return Outlook{Heads: answer.Heads, Pending: pending}, nil
}

// SQL is all that the pending migrations will run. The error names the first
// whose SQL could not be written.
func (o Outlook) SQL() (string, error) {
	var all strings.Builder
	for _, m := range o.Pending {
		if m.Up.Error != "" {
			return "", fmt.Errorf("writing the SQL of migration %s: %s", m.Revision, m.Up.Error)
		}
		all.WriteString(m.Up.SQL)
	}
	return all.String(), nil
}

// CurrentSQL reads the revisions of the database from its table, sorted; none
// when the table is missing or empty.
func CurrentSQL(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	return postgres.Heads(ctx, conn)
}

// A DeclarationError is a migration that declares itself expand and does
// something else.
type DeclarationError struct {
	Migration Migration
	Reasons   []string
}

func (e *DeclarationError) Error() string {
	return fmt.Sprintf("migration %s (%s) declares \"# compatibility: expand\" and is not: %s: correct the migration or its declaration",
		e.Migration.Revision, e.Migration.Path, strings.Join(e.Reasons, "; "))
}

// CheckDeclared holds the pending migrations that declare expand against the
// SQL that leads from the present revision through all of them (see SQL). The
// first that does otherwise, or wrote no SQL, is a *DeclarationError.
func CheckDeclared(pending []Migration, sql string) error {
	verdicts := ClassifyEach(sql)
	for _, m := range pending {
		if m.Compatibility != Expand {
			continue
		}
		reasons, ok := verdicts[m.Revision]
		if !ok {
			reasons = []string{"alembic wrote no SQL for it"}
		}
		if len(reasons) > 0 {
			return &DeclarationError{Migration: m, Reasons: reasons}
		}
	}
	return nil
}
