package checklist

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/etfdata"
	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/postgres"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/rowdiff"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// Inconsistencies are what the live database was found to differ in from a
// backup, and how those rows were judged.
type Inconsistencies struct {
	Version   int               `json:"version"`
	Operation string            `json:"operation"`
	Backup    string            `json:"backup"`
	Source    string            `json:"source"` // where the backup's rows were read: a side database, or the dump
	Diff      *rowdiff.Diff     `json:"diff"`
	Judged    []rowdiff.Tallied `json:"judged"`
	Wrong     map[string]int64  `json:"wrong_by_release,omitempty"` // rows, certainly or likely
	CSV       string            `json:"csv"`
	SQL       string            `json:"sql"`
}

// inconsistencyFile is where the rows are listed that an operation has found.
func (t *Target) inconsistencyFile(operation, kind string) string {
	return path.Join(t.opsDir(), "inconsistencies", operation+"."+kind)
}

// factInconsistencies is the latest Inconsistencies of an operation.
const factInconsistencies = "inconsistencies"

// factBackupChosen is the id of the backup that rows are compared with and
// restored from.
const factBackupChosen = "backup.chosen"

// chooseBackup finds the backup for who only compares.
type chooseBackup struct {
	inputs
	id string
}

func (chooseBackup) String() string { return "backup:choose" }

func (s chooseBackup) Run(ctx context.Context, r *step.Run) error {
	m, err := s.t.backupToCompare(ctx, s.id)
	if err := errors.Join(err, r.Fault(ctx, "during")); err != nil {
		return err
	}
	r.Say("%s, %s old, of release %s", m.ID, report.Duration(s.t.Now().Sub(m.Created)), orNone(m.Release))
	return r.Note(ctx, factBackupChosen, m.ID)
}

// backupToCompare is the proven backup of this id; of none, the one from before
// the live release wrote anything or, where that is gone, the newest.
func (t *Target) backupToCompare(ctx context.Context, id string) (*Manifest, error) {
	if id != "" {
		return t.provenBackup(ctx, id)
	}
	live, err := t.Releases.Current(ctx)
	if err != nil {
		return nil, err
	}
	all, err := t.Backups(ctx)
	good := slices.DeleteFunc(all, func(m *Manifest) bool { return !proven(m) })
	for _, m := range good {
		if live != nil && m.ID == live.Backup {
			return m, nil
		}
	}
	if len(good) > 0 {
		return good[0], nil
	}
	return nil, errors.Join(fmt.Errorf("%w: there is no proven backup to compare with: `backup:list` shows those there are", step.ErrFault), err)
}

// inconsistenciesStep is “Identify affected records”.
type inconsistenciesStep struct{ inputs }

func (inconsistenciesStep) String() string { return "data:inconsistencies" }

func (inconsistenciesStep) Deadline() time.Duration { return 2 * time.Hour }

func (s inconsistenciesStep) Run(ctx context.Context, r *step.Run) error {
	found, err := s.t.findInconsistencies(ctx, r)
	if err != nil {
		return err
	}
	for _, line := range found.tableLines() {
		r.Log("%s", line)
	}
	r.Say("%s", found.summary())
	return nil
}

// findInconsistencies compares, judges and lists, and notes what came of it.
func (t *Target) findInconsistencies(ctx context.Context, r *step.Run) (*Inconsistencies, error) {
	m, err := t.backupChosen(ctx, r)
	if err != nil {
		return nil, err
	}
	o, source, err := t.compareWith(ctx, m)
	if err != nil {
		return nil, err
	}
	o.ApplicationName, o.Token, o.Operation = r.ApplicationName(), r.Token(), r.ID()
	o.Progress = r.Progress
	found := &Inconsistencies{Version: formatVersion, Operation: r.ID(), Backup: m.ID, Source: source}
	found.CSV, found.SQL = t.inconsistencyFile(r.ID(), "csv"), t.inconsistencyFile(r.ID(), "sql")
	if found.Diff, err = rowdiff.Compare(ctx, o); err != nil {
		return nil, err
	}
	if err := r.Fault(ctx, "during"); err != nil {
		return nil, err
	}
	r.Progress(0, 0, fmt.Sprintf("judging %s rows", report.Count(found.Diff.Differ())))
	if err := t.judgeRows(ctx, r, m); err != nil {
		return nil, err
	}
	if err := t.listInconsistencies(ctx, r, found); err != nil {
		return nil, err
	}
	if err := r.Note(ctx, factWrong, found.Wrong); err != nil {
		return nil, err
	}
	return found, r.Note(ctx, factInconsistencies, found)
}

// backupChosen is the backup that the operation works with.
func (t *Target) backupChosen(ctx context.Context, r *step.Run) (*Manifest, error) {
	var id string
	if ok, err := r.Operation.Fact(factBackupChosen, &id); err != nil {
		return nil, err
	} else if !ok {
		return nil, errors.New("the operation has chosen no backup")
	}
	return t.Manifest(ctx, id)
}

// compareWith says where the rows of a backup are read: in a side database that
// surely holds them as they were, else in the dump.
func (t *Target) compareWith(ctx context.Context, m *Manifest) (o rowdiff.Options, source string, err error) {
	o = t.comparison(m, "", "")
	kept, err := t.listKept(ctx)
	if err != nil {
		return o, "", err
	}
	for _, k := range kept {
		if k.Holds(m.Database) && !k.InUse && t.untouched(ctx, k) {
			o.Backup.Side = k.Name
			return o, "side database " + k.Name, nil
		}
	}
	return o, "dump " + o.Backup.File, nil
}

// untouched reports whether it is sure that nothing was written to a side
// database since it was restored: an immediate rollback carries rows over.
func (t *Target) untouched(ctx context.Context, k postgres.KeptDatabase) bool {
	if k.Operation == "" {
		return true // made to prove a backup: nobody writes to it
	}
	log, err := journal.Read(ctx, t.Host, path.Join(t.journalDir(), path.Base(k.Operation)+".jsonl"))
	if err != nil {
		return false
	}
	_, carried := log.Step(writtenStep{}.String())
	return !carried
}

// judgeRows has the rules and the rows' history judge what was found.
func (t *Target) judgeRows(ctx context.Context, r *step.Run, m *Manifest) error {
	writers, err := t.writers(ctx, m.Database.Started)
	if err != nil {
		return err
	}
	conn, err := t.connect(ctx, r.ApplicationName())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	limits := t.Config.Thresholds
	return postgres.WithFence(ctx, conn, r.Token(), func(tx pgx.Tx) error {
		return etfdata.Judge(ctx, tx, etfdata.JudgeOptions{
			Now: t.Now(), StuckAfter: limits.StuckAfter, Backup: m.Database.Started,
			Correction: limits.PriceCorrection, Jump: limits.PriceJump, Writers: writers,
		})
	})
}

// listInconsistencies writes the files to be read before anything is restored,
// and counts.
func (t *Target) listInconsistencies(ctx context.Context, r *step.Run, found *Inconsistencies) error {
	conn, err := t.connect(ctx, r.ApplicationName())
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if err := t.writeFile(ctx, found.CSV, func(w io.Writer) error { return rowdiff.WriteCSV(ctx, conn, w) }); err != nil {
		return fmt.Errorf("writing %s: %w", found.CSV, err)
	}
	if err := t.writeFile(ctx, found.SQL, func(w io.Writer) error { return rowdiff.WriteSQL(ctx, conn, w) }); err != nil {
		return fmt.Errorf("writing %s: %w", found.SQL, err)
	}
	if found.Judged, err = rowdiff.Tally(ctx, conn); err != nil {
		return err
	}
	found.Wrong, err = t.wrongByRelease(ctx, conn)
	return err
}

// wrongByRelease counts the rows that are wrong, certainly or likely, by the
// release that wrote them. What it cannot tell it leaves out.
func (t *Target) wrongByRelease(ctx context.Context, q postgres.Querier) (map[string]int64, error) {
	releases, err := t.Releases.All(ctx)
	if err != nil {
		return nil, err
	}
	wrong := map[string]int64{}
	rows, _ := q.Query(ctx, `SELECT coalesce(writer, ''), count(*) FROM etf_ops.work_rows
		WHERE class IN ('restore', 'quarantine') AND sure IN ('certain', 'likely') GROUP BY 1`)
	var writer string
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&writer, &n}, func() error {
		for _, rel := range releases {
			if strings.Contains(writer, rel.ID) {
				wrong[rel.ID] += n
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("counting the wrong rows by their writer: %w", err)
	}
	return wrong, nil
}
