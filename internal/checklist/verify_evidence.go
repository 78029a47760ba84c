package checklist

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/beat"
	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// taskRuns is what the database tells of the runs of tasks.
type taskRuns struct {
	tasks    map[string]taskRun   // by the name of the task; nil: there is no table that tells
	newest   time.Time            // when the table last took note of any
	entries  map[string]time.Time // by entry, from the configured queries; zero: it never ran
	queryErr map[string]error
	err      error // the database could not be asked
}

type taskRun struct {
	at     time.Time
	status string
}

// taskRuns asks the table task_status, which knows what workers began, and the
// configured queries. A service need not have that table.
func (t *Target) taskRuns(ctx context.Context) taskRuns {
	runs := taskRuns{entries: map[string]time.Time{}, queryErr: map[string]error{}}
	ctx, cancel := context.WithTimeout(ctx, 2*t.Config.Timeouts.Connect)
	defer cancel()
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		runs.err = err
		return runs
	}
	defer conn.Close(context.WithoutCancel(ctx))
	left := len(t.Config.Celery.Evidence) + 1
	if err := limited(ctx, conn, left, func(tx pgx.Tx) error { return runs.fromTable(ctx, tx) }); err != nil {
		runs.err = fmt.Errorf("looking for the runs of tasks in task_status: %w", err)
	}
	for _, entry := range slices.Sorted(maps.Keys(t.Config.Celery.Evidence)) {
		left--
		at, err := lastBy(ctx, conn, left, t.Config.Celery.Evidence[entry])
		if err != nil {
			runs.queryErr[entry] = err
			continue
		}
		runs.entries[entry] = at
	}
	return runs
}

// limited asks in a transaction that changes nothing and whose statements get
// no more than their share of the time that remains for all that are left to
// ask, this one too: a slow one must not take it from the others.
func limited(ctx context.Context, conn *pgx.Conn, left int, ask func(pgx.Tx) error) error {
	return pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if deadline, ok := ctx.Deadline(); ok {
			share := max(1, (time.Until(deadline) / time.Duration(left+1)).Milliseconds())
			if _, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL statement_timeout = %d", share)); err != nil {
				return err
			}
		}
		return ask(tx)
	})
}

func (r *taskRuns) fromTable(ctx context.Context, conn pgx.Tx) error {
	var columns int
	err := conn.QueryRow(ctx, `SELECT count(*) FROM pg_attribute WHERE attrelid = to_regclass('task_status')
		AND attname IN ('task_name', 'started_at', 'status') AND NOT attisdropped`).Scan(&columns)
	if err != nil || columns < 3 {
		return err
	}
	rows, err := conn.Query(ctx, `SELECT DISTINCT ON (task_name) task_name, started_at, coalesce(status, '')
		FROM task_status WHERE started_at IS NOT NULL ORDER BY task_name, started_at DESC`)
	if err != nil {
		return err
	}
	tasks := map[string]taskRun{}
	var name, status string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &at, &status}, func() error {
		tasks[name] = taskRun{at.UTC(), status}
		if at.After(r.newest) {
			r.newest = at
		}
		return nil
	})
	if err == nil {
		r.tasks = tasks
	}
	return err
}

// lastBy is the one time that a query returns.
func lastBy(ctx context.Context, conn *pgx.Conn, left int, query string) (at time.Time, err error) {
	err = limited(ctx, conn, left, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, query)
		if err != nil {
			return err
		}
		values, err := pgx.CollectOneRow(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return nil
		case err != nil:
			return err
		case len(values) != 1:
			return fmt.Errorf("it returns %d columns, one is needed", len(values))
		case values[0] == nil:
			return nil
		}
		var ok bool
		if at, ok = values[0].(time.Time); !ok {
			return errors.New("it does not return a time")
		}
		at = at.UTC()
		return nil
	})
	if err != nil {
		return time.Time{}, errors.New(host.Redact(err.Error()))
	}
	return at, nil
}

// of is what tables tell of one entry, by which of them, and how its last run
// failed. Where two entries send the same task, the table does not tell which ran.
func (r taskRuns) of(e beat.Entry, all []beat.Entry) (ev beat.Evidence, by, failed string) {
	same := 0
	for _, other := range all {
		if other.Task == e.Task {
			same++
		}
	}
	// A task that the table does not know may be new, or its rows were removed.
	if run, known := r.tasks[e.Task]; known && same == 1 {
		ev.Tables, ev.Ran, by = true, run.at, "by task_status"
		switch run.status {
		case "FAILURE", "FAILED", "failed", "failure":
			failed = run.status
		}
	}
	if at, ok := r.entries[e.Name]; ok {
		ev.Tables = true
		if at.After(ev.Ran) {
			ev.Ran, by = at, "by celery.evidence"
		}
	}
	return ev, by, failed
}

// whyNot says why no table tells of an entry.
func (r taskRuns) whyNot() string {
	if r.err != nil {
		return host.Redact(r.err.Error())
	}
	return "beat's own file does not, and no table knows of it"
}
