package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	dto "github.com/prometheus/client_model/go"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/celery"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
)

// activeGauge is the service's metric of the updates that run now.
const activeGauge = "etf_active_updates"

// An updatesWatch looks again and again at who updates.
type updatesWatch struct {
	t       *Target
	cache   *cache.Client
	control celery.Control
}

func (t *Target) watchUpdates(ctx context.Context) (*updatesWatch, error) {
	c, err := t.cache()
	if err != nil {
		return nil, err
	}
	// Only a broker that is asked by command needs the release; workers that
	// do not run have none.
	id := ""
	if workers, err := t.processes(ctx, t.Config.Services.Worker); err == nil {
		id, _ = t.releaseOf(ctx, firstRunning(workers))
	}
	if id == "" {
		if live, err := t.Releases.Current(ctx); err == nil && live != nil {
			id = live.ID
		}
	}
	control, err := t.celery(id)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &updatesWatch{t, c, control}, nil
}

// Close ends the connections.
func (w *updatesWatch) Close() { w.cache.Close(); w.control.Close() }

// look looks at the flag, then at the workers, then at what they write: a task
// writes the end of its row before it ends itself.
func (w *updatesWatch) look(ctx context.Context) (l updatesLook, err error) {
	t := w.t
	l.At = t.Now()
	if l.Pause, err = w.cache.Paused(ctx, t.Config.Cache.PauseKey); err != nil {
		return l, err
	}
	if err := w.askWorkers(ctx, &l); err != nil {
		return l, err
	}
	if l.Rows, err = t.processingRows(ctx); err != nil {
		return l, err
	}
	l.Gauge, l.Blind = t.activeUpdates(ctx)
	return l, ctx.Err()
}

func (w *updatesWatch) askWorkers(ctx context.Context, l *updatesLook) error {
	workers, err := w.t.processes(ctx, w.t.Config.Services.Worker)
	if err != nil {
		return err
	}
	atRest := 0
	for _, p := range workers {
		if !notAtRest(p) {
			atRest++
		}
	}
	if atRest == len(workers) {
		return nil // who does not run holds nothing
	}
	for _, q := range []struct {
		ask  func(context.Context, []string) (map[string][]celery.Task, error)
		into *[]heldTask
	}{{w.control.Reserved, &l.Reserved}, {w.control.Active, &l.Active}} {
		asking, cancel := context.WithTimeout(ctx, questionTime)
		answers, err := q.ask(asking, w.t.Config.Celery.Nodes)
		cancel()
		*q.into = w.t.updateTasks(answers)
		l.Unasked = unasked(err, atRest)
		if ctx.Err() != nil || l.Unasked != "" {
			return ctx.Err()
		}
	}
	return nil
}

// unasked says why it is not known what all workers do; empty where those that
// did not answer are as many as do not run.
func unasked(err error, atRest int) string {
	var missing *celery.MissingError
	if err == nil || errors.As(err, &missing) && len(missing.Missing) <= atRest {
		return ""
	}
	return firstLine(err.Error())
}

// updateTasks are those tasks that write ETF data, by celery.tasks.
func (t *Target) updateTasks(answers map[string][]celery.Task) []heldTask {
	var all []heldTask
	for node, tasks := range answers {
		for _, task := range tasks {
			if slices.ContainsFunc(t.Config.Celery.Tasks, func(begin string) bool { return strings.HasPrefix(task.Name, begin) }) {
				all = append(all, heldTask{task, node})
			}
		}
	}
	slices.SortFunc(all, func(a, b heldTask) int { return strings.Compare(a.Node+a.ID, b.Node+b.ID) })
	return all
}

// processingRows lists the updates that have begun and not ended.
func (t *Target) processingRows(ctx context.Context) ([]processingRow, error) {
	const doing = "looking for updates in processing"
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var all []processingRow
	for _, table := range []string{"etf_updates", "exchange_rate_updates"} {
		var exists bool
		if err := conn.QueryRow(ctx, "SELECT to_regclass($1) IS NOT NULL", table).Scan(&exists); err != nil {
			return nil, fmt.Errorf("%s: %w", doing, err)
		}
		if !exists && table == "exchange_rate_updates" { // which earlier versions of the service lack
			continue
		}
		rows, _ := conn.Query(ctx, `SELECT j->>'id', coalesce(j->>'etf_id', ''), (j->>'created_at')::timestamp
			FROM (SELECT to_jsonb(u) AS j FROM `+pgx.Identifier{table}.Sanitize()+` u WHERE status = 'processing') u ORDER BY 3 NULLS LAST, 1`)
		found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (processingRow, error) {
			r := processingRow{Table: table}
			var since *time.Time
			err := row.Scan(&r.ID, &r.ETF, &since)
			if since != nil {
				r.Since = *since
			}
			return r, err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", doing, table, err)
		}
		all = append(all, found...)
	}
	return all, nil
}

// activeUpdates reads the gauge; blind says why it could not.
func (t *Target) activeUpdates(ctx context.Context) (n float64, blind string) {
	families, err := t.metrics(ctx)
	if err != nil {
		return 0, err.Error()
	}
	family := families[activeGauge]
	if family == nil {
		return 0, fmt.Sprintf("%s is not among the metrics at %s", activeGauge, t.Config.API.Metrics)
	}
	for _, m := range family.GetMetric() {
		n += m.GetGauge().GetValue() + m.GetUntyped().GetValue()
	}
	return n, ""
}

// metrics reads what the API exposes.
func (t *Target) metrics(ctx context.Context) (map[string]*dto.MetricFamily, error) {
	if t.Config.API.Metrics == "" {
		return nil, errors.New("api.metrics is empty: the service is configured to have none")
	}
	res, body, err := t.get(ctx, t.Config.API.URL+t.Config.API.Metrics)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", t.Config.API.Metrics, res.Status)
	}
	return monitoring.Parse(body)
}
