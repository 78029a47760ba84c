package checklist

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// restoringData is data:restore alone. What a batch has restored is right, and
// stays.
func (t *Target) restoringData(o Options) Agenda {
	in := inputs{t}
	return Agenda{
		Steps:  []step.Step{fenceStep{in}, restoreDataStep{in, o}},
		Keep:   true,
		Onward: &onward{state: "some of the rows may be restored", ways: "`data:restore` goes on, `data:inconsistencies` compares anew"},
	}
}

// factRestored is what a data:restore did: rowdiff.Applied.
const factRestored = "restored"

// restoreDataStep is “Restore affected records”: those that were judged wrong,
// or that a person chose.
type restoreDataStep struct {
	inputs
	o Options
}

func (restoreDataStep) String() string { return "data:restore" }

func (restoreDataStep) ChangesService() {}

func (restoreDataStep) Deadline() time.Duration { return 2 * time.Hour }

func (s restoreDataStep) Run(ctx context.Context, r *step.Run) error {
	t := s.t
	if err := s.ownComparison(ctx, r); err != nil {
		return fmt.Errorf("%w: %w", errUntouched, err)
	}
	choice, err := t.choice(ctx, s.o)
	if err != nil {
		return fmt.Errorf("%w: %w", errUntouched, err)
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	faulted := false
	applied, err := rowdiff.Apply(ctx, rowdiff.ApplyOptions{
		Host: t.Host, Live: u, ApplicationName: r.ApplicationName(), Token: r.Token(), Operation: r.ID(), Choice: choice, Progress: r.Progress,
		Between: func(ctx context.Context) error { faulted = true; return r.Fault(ctx, "during") },
	})
	switch {
	case err != nil && !faulted:
		return fmt.Errorf("%w: %w", errUntouched, orNoComparison(err))
	case err == nil && !faulted:
		err = r.Fault(ctx, "during")
	}
	if err != nil {
		return err
	}
	// The API has answers in it that were made of the wrong rows.
	if _, err := t.clearCache(ctx, r); err != nil {
		return fmt.Errorf("%s; the cache still has answers made of what was wrong: %w", appliedText(applied), err)
	}
	for _, sample := range applied.Samples {
		r.Log("left: %s", sample)
	}
	r.Say("%s", appliedText(applied))
	return r.Note(ctx, factRestored, applied)
}

func rowsText(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return report.Count(n) + " rows"
}

func appliedText(a *rowdiff.Applied) string {
	text := fmt.Sprintf("%s restored, %s quarantined, %s brought back", rowsText(a.Restored), report.Count(a.Quarantined), report.Count(a.BroughtBack))
	if a.Left > 0 {
		text += fmt.Sprintf(", %s left as they are: they have changed since they were compared, or others depend on them", report.Count(a.Left))
	}
	return text
}

// ownComparison makes sure that what is applied is what this operation has
// judged. In a rollback another comparison made meanwhile is made again; alone,
// any is taken that is there and whose backup is.
func (s restoreDataStep) ownComparison(ctx context.Context, r *step.Run) error {
	c, err := s.t.comparisonNow(ctx)
	if err != nil && !errors.Is(err, rowdiff.ErrNoComparison) {
		return err
	}
	if r.Journal().Log().Header().Kind != gradualKind {
		if err != nil {
			return orNoComparison(err)
		}
		if _, err := s.t.Manifest(ctx, c.Backup); err != nil {
			return fmt.Errorf("%w: the comparison in the database is with backup %s, which cannot be read any more: `data:inconsistencies` compares anew: %v", step.ErrFault, c.Backup, err)
		}
		r.Log("as compared with backup %s by %s, at %s", c.Backup, c.Operation, c.At.UTC().Format(time.RFC3339))
		return nil
	}
	if err == nil && c.Operation == r.ID() {
		return nil
	}
	what := "there is none in this database any more"
	if err == nil {
		what = c.Operation + " has replaced it"
	}
	r.Log("the comparison is made again: %s", what)
	_, err = s.t.findInconsistencies(ctx, r)
	return err
}

// orNoComparison says what to do where there is nothing to go by.
func orNoComparison(err error) error {
	if errors.Is(err, rowdiff.ErrChoice) {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if errors.Is(err, rowdiff.ErrNoComparison) {
		return fmt.Errorf("%w: %w: `data:inconsistencies` does", step.ErrFault, err)
	}
	return err
}

// A comparisonHeader is what the comparison in the database says of itself.
type comparisonHeader struct {
	Operation, Backup string
	At                time.Time
}

// comparisonNow reads the present comparison; rowdiff.ErrNoComparison.
func (t *Target) comparisonNow(ctx context.Context) (c comparisonHeader, err error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return c, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('etf_ops.work_comparison') IS NOT NULL").Scan(&exists); err != nil {
		return c, fmt.Errorf("reading the comparison: %w", err)
	}
	if !exists {
		return c, rowdiff.ErrNoComparison
	}
	err = conn.QueryRow(ctx, "SELECT operation, backup, at FROM etf_ops.work_comparison").Scan(&c.Operation, &c.Backup, &c.At)
	if errors.Is(err, pgx.ErrNoRows) {
		return c, rowdiff.ErrNoComparison
	}
	if err != nil {
		return c, fmt.Errorf("reading the comparison: %w", err)
	}
	return c, nil
}

// tableForm is schema.table, or the table alone.
var tableForm = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// checkRepair refuses options of a repair that cannot be meant, all at once.
func checkRepair(o Options) error {
	var faults []error
	refuse := func(format string, args ...any) {
		faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrUsage}, args...)...))
	}
	for _, id := range []struct{ option, value, list string }{{"to", o.To, "release:list"}, {"backup", o.Backup, "backup:list"}} {
		if strings.HasPrefix(id.value, "-") || strings.ContainsAny(id.value, "/ \t\n\x00") {
			refuse("-%s=%q is no id: `%s` shows them", id.option, id.value, id.list)
		}
	}
	if o.Table != "" && !tableForm.MatchString(o.Table) {
		refuse("-table=%q is no name of a table, such as public.etf_prices", o.Table)
	}
	if strings.HasPrefix(o.CSV, "-") {
		refuse("-csv=%q is no name of a file", o.CSV)
	}
	switch {
	case o.Table == "" && o.Where != "":
		refuse("-where says which rows of a table: -table=public.etf_prices names it")
	case o.Table != "" && o.Where == "":
		refuse("-table without -where would take every row that differs: say -where=true if that is meant")
	case o.CSV != "" && o.Table != "":
		refuse("either the rows of -csv, or those of -table and -where")
	}
	return errors.Join(faults...)
}

// choice is which rows a person chose.
func (t *Target) choice(ctx context.Context, o Options) (rowdiff.Choice, error) {
	c := rowdiff.Choice{BringBack: o.BringBack, Table: o.Table, Where: o.Where}
	if c.Table != "" && !strings.Contains(c.Table, ".") {
		c.Table = "public." + c.Table
	}
	if o.CSV == "" {
		return c, nil
	}
	reviewed, err := t.Host.ReadFile(ctx, o.CSV)
	if err != nil {
		return c, fmt.Errorf("%w: -csv: %w", ErrUsage, err)
	}
	c.CSV = bytes.NewReader(reviewed)
	return c, nil
}

// WriteRestoreSQL prints the statements that data:restore would run by the
// present comparison, and changes nothing.
func (t *Target) WriteRestoreSQL(ctx context.Context, w io.Writer, o Options) error {
	if err := checkRepair(o); err != nil {
		return err
	}
	choice, err := t.choice(ctx, o)
	if err != nil {
		return err
	}
	u, err := t.databaseURL()
	if err != nil {
		return err
	}
	return orNoComparison(rowdiff.WriteChosenSQL(ctx, rowdiff.ApplyOptions{Host: t.Host, Live: u, ApplicationName: "etf-deploy", Choice: choice}, w))
}
