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
}

type revisionsAnswer struct {
	Heads     []string
	Revisions []struct {
		Migration
		Declared []string
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
	pending := make([]Migration, 0, len(answer.Revisions))
	for _, r := range answer.Revisions {
		switch {
		case len(r.Declared) == 0:
		case len(r.Declared) == 1 && slices.Contains([]string{Expand, Contract}, r.Declared[0]):
			r.Compatibility = r.Declared[0]
		default:
			return nil, fmt.Errorf("migration %s (%s): \"# compatibility: %s\": write it once, as expand or contract", r.Revision, r.Path, strings.Join(r.Declared, ", "))
		}
		pending = append(pending, r.Migration)
	}
	return pending, nil
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
