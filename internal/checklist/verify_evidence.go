package checklist

import (
	"context"
	"errors"
	"fmt"
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
	if err := runs.fromTable(ctx, conn); err != nil {
		runs.err = fmt.Errorf("looking for the runs of tasks in task_status: %w", err)
	}
	for entry, query := range t.Config.Celery.Evidence {
		at, err := lastBy(ctx, conn, query)
		if err != nil {
			runs.queryErr[entry] = err
			continue
		}
		runs.entries[entry] = at
	}
	return runs
}

func (r *taskRuns) fromTable(ctx context.Context, conn *pgx.Conn) error {
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

// lastBy is the one time that a query returns; it may change nothing.
func lastBy(ctx context.Context, conn *pgx.Conn, query string) (at time.Time, err error) {
	err = pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
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
	if r.tasks != nil && same == 1 {
		run := r.tasks[e.Task]
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
	return "beat's own file does not, and there is no table of it"
}
