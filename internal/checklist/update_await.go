package checklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// await follows the update's row until it is at its end or the time is up. On
// the way it notes how long the queue is, which tells afterwards whether it moves.
func (u *travel) await(ctx context.Context, s Subject) report.Finding {
	limit := u.t.Config.Timeouts.Verify
	waiting, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	status := ""
	for early := u.began.Add(limit / 10); ; {
		var message *string
		err := u.conn.QueryRow(waiting, "select status, error from etf_updates where id = $1", u.UpdateID).Scan(&status, &message)
		switch {
		case waiting.Err() != nil:
			return u.stuck(ctx, s, status)
		case errors.Is(err, pgx.ErrNoRows):
			return u.as(fault(u.looked(), fmt.Sprintf("the API accepted it as update %d, and there is no such row in etf_updates of %s", u.UpdateID, u.t.Config.Database.Name),
				"DATABASE_URL in .env names another database, or the row was removed"))
		case err != nil:
			return u.as(unseen(u.looked(), err, "see pre:connections"))
		case status != "pending" && status != "processing":
			return u.ended(ctx, status, text(message))
		}
		if u.early == nil && time.Now().After(early) {
			depth := u.depth(waiting, s)
			u.early = &depth
		}
		if sleep(waiting, 100*time.Millisecond) != nil {
			return u.stuck(ctx, s, status)
		}
	}
}

// ended judges the state that an update has come to.
func (u *travel) ended(ctx context.Context, status, message string) report.Finding {
	took := report.Duration(time.Since(u.began))
	switch status {
	case "completed":
		return u.as(found(u.looked(), "completed in %s through API, broker, worker and database, as update %d", took, u.UpdateID))
	case "completed_with_errors":
		return u.as(warn(u.looked(), fmt.Sprintf("update %d completed with errors after %s: %s", u.UpdateID, took, message), "it travelled all the way; see the price source"))
	}
	if why := u.sourceFailed(ctx); why != "" {
		return u.as(warn(u.looked(), fmt.Sprintf("update %d travelled all the way and failed at the price source: %s (%s)", u.UpdateID, message, why), "see the price source; then `verify:update`"))
	}
	return u.as(fault(u.looked(), fmt.Sprintf("update %d ended as %q: %s", u.UpdateID, status, message), "see the workers' log"))
}

// sourceFailed is what tells that the price source is to blame: the service's
// own record of it, made since this update was sent, or that nothing answers there.
func (u *travel) sourceFailed(ctx context.Context) string {
	if u.errors != nil {
		now, err := apiErrors(ctx, u.conn, u.etf)
		for row := range now {
			if err == nil && !u.errors[row] {
				return "etf_errors has it as api_error"
			}
		}
	}
	if u.t.Config.PriceSourceURL == "" {
		return ""
	}
	switch res, _, err := u.t.get(ctx, u.t.Config.PriceSourceURL); {
	case err != nil:
		return "nothing answers there"
	case res.StatusCode >= 500:
		return "it answers " + res.Status
	}
	return ""
}

// apiErrors are the unresolved rows by which the service says that the price
// source failed for an ETF. The row of an error that comes back keeps its
// creation time and often its text: each is named with the transaction that
// wrote it last.
func apiErrors(ctx context.Context, conn *pgx.Conn, etf string) (map[string]bool, error) {
	rows, err := conn.Query(ctx, "select id || ' ' || xmin from etf_errors where etf_id = $1 and error_type = 'api_error' and not resolved", etf)
	if err != nil {
		return nil, err
	}
	all, row := map[string]bool{}, ""
	_, err = pgx.ForEachRow(rows, []any{&row}, func() error { all[row] = true; return nil })
	return all, err
}

// stuck says how far an update came that is not at its end in time. One that
// waits for its turn, in a queue that workers come along with, is no fault.
func (u *travel) stuck(ctx context.Context, s Subject, status string) report.Finding {
	place, waits := u.where(ctx, s)
	what := fmt.Sprintf("the API accepted it as update %d, which is still %q after %s: %s", u.UpdateID, status, report.Duration(time.Since(u.began)), place)
	if waits {
		return u.as(warn(u.looked(), what, "`verify:update` when the queue is empty; see deps:celery"))
	}
	return u.as(fault(u.looked(), what, "see deps:celery and the workers' log"))
}

// A queueDepth is the queue at one time, or why it could not be seen.
type queueDepth struct {
	celery.Queue
	err error
}

// depth looks at the queue of the updates.
func (u *travel) depth(ctx context.Context, s Subject) (d queueDepth) {
	if s.Live == nil {
		return queueDepth{err: errors.New("no release is live to ask its workers")}
	}
	control, err := u.t.celery(s.Live.ID)
	if err != nil {
		return queueDepth{err: err}
	}
	defer control.Close()
	asking, cancel := context.WithTimeout(ctx, questionTime)
	defer cancel()
	d.Queue, d.err = control.QueueDepth(asking, u.t.Config.Celery.Queue)
	return d
}

// drains reports whether a queue has become shorter, and is taken from.
func drains(early *queueDepth, now queueDepth) bool {
	return early != nil && early.err == nil && now.err == nil && now.Consumers != 0 && now.Messages < early.Messages
}

// where asks workers and broker in whose hands the task is; waits: in nobody's,
// and those before it are being done.
func (u *travel) where(ctx context.Context, s Subject) (place string, waits bool) {
	if s.Live == nil {
		return "no release is live to ask its workers", false
	}
	control, err := u.t.celery(s.Live.ID)
	if err != nil {
		return err.Error(), false
	}
	defer control.Close()
	ask := func(question func(context.Context, []string) (map[string][]celery.Task, error)) (node string, task celery.Task, err error) {
		asking, cancel := context.WithTimeout(ctx, questionTime)
		defer cancel()
		answers, err := question(asking, u.t.Config.Celery.Nodes)
		for node, tasks := range answers {
			for _, task := range tasks {
				if task.ID == u.TaskID {
					return node, task, nil
				}
			}
		}
		return "", celery.Task{}, err
	}
	node, task, activeErr := ask(control.Active)
	if node != "" {
		return fmt.Sprintf("%s runs it since %s", node, clock(task.Started)), false
	}
	node, _, err = ask(control.Reserved)
	if node != "" {
		return node + " has taken it and not begun", false
	}
	queue, depth := u.t.Config.Celery.Queue, u.depth(ctx, s)
	switch err = errors.Join(activeErr, err); {
	case depth.err != nil:
		return "whether it waits in the queue is not known: " + firstLine(depth.err.Error()), false
	case depth.Messages > 0 && drains(u.early, depth):
		return fmt.Sprintf("it still waits behind %d tasks in queue %s, where %d waited earlier", depth.Messages-1, queue, u.early.Messages), true
	case depth.Messages > 0:
		return fmt.Sprintf("no worker that answers has it, %d tasks wait in queue %s", depth.Messages, queue), false
	case err != nil:
		return fmt.Sprintf("queue %s is empty and no worker that answers has it, so one that does not may: %s", queue, firstLine(err.Error())), false
	}
	return fmt.Sprintf("no worker has it, and queue %s is empty: it was lost, or put off", queue), false
}

func text(s *string) string {
	if s == nil {
		return "no reason given"
	}
	return firstLine(*s)
}
