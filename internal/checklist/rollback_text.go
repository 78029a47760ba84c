package checklist

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Text is the first screen of a rollback.
func (p *RollbackPlan) Text(w io.Writer, now time.Time) error {
	row := pageWriter{w}.row
	row("live", "%s “%s”, %s, Alembic head %s", p.Live.ID, p.Live.Subject, p.Live.State, orNone(p.Live.Head))
	row("database", "at %s", orNone(p.Head))
	row("go back to", "%s “%s”, verified, Alembic head %s", p.To.ID, p.To.Subject, orNone(p.To.Head))
	row("path", "%s", p.wayText())
	for _, why := range p.Reasons {
		row("", "not %s", why)
	}
	for _, m := range p.Migrations {
		row("", "migration %s %s (%s)", m.Revision, m.Title, orUndeclared(m.Compatibility))
	}
	if p.Backup == nil {
		row("backup", "none that was taken while that release was live")
	} else {
		row("backup", "%s, %s old, %s, proven %s", p.Backup.ID, report.Duration(now.Sub(p.Backup.Created)), report.Bytes(p.Backup.Database.Size), proofText(p.Backup.Proof))
	}
	if p.Gradual {
		row("stops", "updates, until the rows are repaired; the API goes on answering")
	} else {
		row("takes", "%s", p.Expected)
	}
	if err := p.writtenText(w); err != nil {
		return err
	}
	fmt.Fprintln(w)
	table := report.NewTable("", "candidate", "activated", "commit", "Alembic head", "newest backup", "subject")
	for _, c := range p.Candidates {
		mark, backup := "", "none"
		if c.ID == p.To.ID {
			mark = "→"
		}
		if c.Newest != nil {
			backup = c.Newest.ID
		}
		table.Row(mark, c.ID, report.Duration(now.Sub(*c.Activated))+" ago", c.Commit[:8], orNone(c.Head), backup, c.Subject)
	}
	return table.Write(w)
}

func (p *RollbackPlan) wayText() string {
	switch {
	case p.Gradual:
		return p.gradualText()
	case p.Way == WayCode:
		return "code only: the database stays as it is, with every row"
	case p.Way == WayDowngrade && p.Beside:
		return "downgrade under the running API: every row and value stays"
	case p.Way == WayDowngrade:
		return "downgrade with the API stopped: every row and value stays"
	}
	return "restore of the backup beside the live database, which is swapped out and kept whole"
}

// writtenText says what was written since the backup, and what becomes of it.
func (p *RollbackPlan) writtenText(w io.Writer) error {
	if p.Written == nil {
		return nil
	}
	row := pageWriter{w}.row
	if writtenSummary(*p.Written) == "" {
		row("written since", "nothing")
		return nil
	}
	if p.Gradual {
		row("written since", "is judged row by row: what is wrong is restored or quarantined, the rest stays")
	} else if p.Way == WayRestore {
		row("written since", "stays in the replaced database and is listed in a file; -carry=all writes it into the restored one")
	} else {
		row("written since", "stays where it is")
	}
	fmt.Fprintln(w)
	table := report.NewTable("table", "added", "changed", "deleted", "columns that only one has")
	for _, d := range p.Written.Tables {
		if d.Added+d.Changed+d.Deleted > 0 {
			table.Row(d.Table, report.Count(d.Added), report.Count(d.Changed), report.Count(d.Deleted), strings.Join(d.LeftOut, ", "))
		}
	}
	return table.Write(w)
}

// writtenSummary is one line of how many rows differ; empty where none does.
func writtenSummary(d rowdiff.Diff) string {
	var parts []string
	for _, table := range d.Tables {
		if table.Added+table.Changed+table.Deleted > 0 {
			parts = append(parts, fmt.Sprintf("%s +%d ~%d −%d", strings.TrimPrefix(table.Table, "public."), table.Added, table.Changed, table.Deleted))
		}
	}
	return strings.Join(parts, ", ")
}

// carriedText says what of it is in the restored database.
func carriedText(c *rowdiff.Carried) string {
	text := fmt.Sprintf("carried over +%d ~%d −%d", c.Added, c.Changed, c.Deleted)
	if c.Left > 0 {
		text += fmt.Sprintf("; %d could not be, they are in the kept database only: %s", c.Left, strings.Join(c.Samples, "; "))
	}
	return text
}

// listRows writes the rows of the present comparison into a file of the target.
func (t *Target) listRows(ctx context.Context, file string) error {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return t.writeFile(ctx, file, func(w io.Writer) error { return rowdiff.WriteCSV(ctx, conn, w) })
}

// writeFile writes a file of any size, which has its name only once it is
// complete. What is in it is for its owner only.
func (t *Target) writeFile(ctx context.Context, file string, write func(io.Writer) error) error {
	if err := t.Host.Mkdir(ctx, path.Dir(file), 0o700); err != nil {
		return err
	}
	partial := file + ".partial"
	if err := t.Host.WriteFile(ctx, partial, nil, 0o600); err != nil { // what an interrupted try has left is gone
		return err
	}
	w := bufio.NewWriterSize(writerFunc(func(b []byte) (int, error) {
		return len(b), t.Host.Append(ctx, partial, b, 0o600)
	}), 1<<20)
	if err := errors.Join(write(w), w.Flush()); err != nil {
		return errors.Join(err, t.Host.Remove(context.WithoutCancel(ctx), partial))
	}
	return t.Host.Rename(ctx, partial, file)
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// rollbackNotesStep is "Document rollback reason" and what was done.
type rollbackNotesStep struct{ inputs }

func (rollbackNotesStep) String() string { return "rollback:notes" }

func (s rollbackNotesStep) Run(ctx context.Context, r *step.Run) error {
	text, err := s.t.rollbackNotes(r.Operation)
	if err != nil {
		return err
	}
	return s.t.writeNotes(ctx, r, r.ID(), text)
}

func (t *Target) rollbackNotes(op *step.Operation) (string, error) {
	log := op.Journal().Log()
	f, err := rollbackOf(op)
	if err != nil {
		return "", err
	}
	rel, err := releaseToCome(op)
	if err != nil {
		return "", err
	}
	left, err := previous(op)
	if err != nil {
		return "", err
	}
	workers, api, err := Stopped(op, t.Now())
	if err != nil {
		return "", err
	}
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	line("# Rollback from release %s to %s\n", left, rel.ID)
	line("| | |\n|---|---|")
	line("| environment | %s |", t.Config.Environment)
	line("| operation | %s |", op.ID())
	line("| by | %s |", log.Header().By)
	line("| began | %s |", log.Began().Format(time.RFC3339))
	line("| path | %s |", f.Way)
	for _, why := range f.Reasons {
		line("| not | %s |", why)
	}
	line("| backup | %s |", orNone(f.Backup))
	line("| workers stopped | %s |", report.Duration(workers))
	line("| API stopped | %s |", report.Duration(api))
	stepsTable(&b, log)
	return b.String(), nil
}
