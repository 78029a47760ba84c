package checklist

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyUpdate is “Test ETF updates”: one travels through API, broker, worker
// and database. It leaves one marked row in etf_updates, and prices that are
// the same as before or completed by the source. A price source that fails is
// no fault of the release.
var verifyUpdate = Check{
	Name:    "verify:update",
	Command: "python -m scripts.test_etf_update",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		if paused := t.updatesPaused(ctx); paused != nil {
			return paused
		}
		conn, err := t.connect(ctx, "etf-deploy")
		if err != nil {
			return []report.Finding{as(unseen("an ETF to update", err, "see pre:connections"), "canary", nil)}
		}
		defer conn.Close(context.WithoutCancel(ctx))
		etf, err := t.canary(ctx, conn)
		if err != nil {
			return []report.Finding{as(unseen("an ETF to update", err, "api.canary in "+t.Config.File+" names one"), "canary", nil)}
		}
		before, err := pricesOf(ctx, conn, etf)
		if err != nil {
			return []report.Finding{as(unseen("prices of "+etf, err, ""), "prices", nil)}
		}
		u := travel{t: t, conn: conn, etf: etf, began: time.Now(), counts: map[string]int64{}}
		if refused := u.send(ctx); refused != nil {
			return []report.Finding{*refused}
		}
		if err := u.mark(ctx); err != nil {
			return []report.Finding{u.as(unseen(u.looked(), err, ""))}
		}
		findings := []report.Finding{u.await(ctx, s)}
		if conn.IsClosed() { // its time was up in the middle of a query: that is said
			return findings
		}
		after, err := pricesOf(ctx, conn, etf)
		if err != nil {
			return append(findings, as(unseen("prices of "+etf, err, ""), "prices", nil))
		}
		return append(findings, t.judgePrices(etf, before, after))
	},
}

// updatesPaused is why no update is tried; nil: one can be.
func (t *Target) updatesPaused(ctx context.Context) []report.Finding {
	c, err := t.cache()
	if err != nil {
		return nil // the API says what it makes of that
	}
	defer c.Close()
	if pause, err := c.Paused(ctx, t.Config.Cache.PauseKey); err != nil || pause == nil {
		return nil
	}
	return []report.Finding{as(warn("an update", "not tried: updates are paused ("+t.Config.Cache.PauseKey+")", "`updates:resume` when its reason is gone, then `verify:update`"), "paused", nil)}
}

// canary is the configured ETF, or the one that was updated last: one that updates.
func (t *Target) canary(ctx context.Context, conn *pgx.Conn) (id string, err error) {
	if want := t.Config.API.Canary; want != "" {
		err = conn.QueryRow(ctx, "select id from etfs where id = $1", want).Scan(&id)
		if errors.Is(err, pgx.ErrNoRows) {
			err = fmt.Errorf("there is no ETF %s", want)
		}
		return id, err
	}
	err = conn.QueryRow(ctx, "select id from etfs order by last_update desc nulls last, id limit 1").Scan(&id)
	if errors.Is(err, pgx.ErrNoRows) {
		err = errors.New("the service has no ETF at all")
	}
	return id, err
}

// A travel is the way of one update.
type travel struct {
	t        *Target
	conn     *pgx.Conn
	etf      string
	began    time.Time
	UpdateID int64  `json:"update_id"`
	TaskID   string `json:"task_id"`
	counts   map[string]int64
}

func (u *travel) looked() string { return "update of " + u.etf }

func (u *travel) as(f report.Finding) report.Finding {
	u.counts["took_ms"] = time.Since(u.began).Milliseconds()
	if u.UpdateID > 0 {
		u.counts["update_id"] = u.UpdateID
		f.Details = map[string]string{"task_id": u.TaskID}
	}
	return as(f, "update", u.counts, u.etf)
}

// send asks the API for it; a finding says why it went no further.
func (u *travel) send(ctx context.Context) *report.Finding {
	stop := func(f report.Finding) *report.Finding { f = u.as(f); return &f }
	address := u.t.Config.API.URL + "/api/v1/etf/" + url.PathEscape(u.etf) + "/update?update_type=prices_only"
	res, body, err := u.t.request(ctx, http.MethodPost, address)
	if err != nil {
		return stop(fault(u.looked(), "it did not get as far as the API: "+err.Error(), "see the API's log"))
	}
	if res.StatusCode != http.StatusAccepted {
		if paused := u.t.updatesPaused(ctx); paused != nil {
			return &paused[0]
		}
		return stop(fault(u.looked(), "the API did not accept it: "+res.Status+": "+firstLine(body), "see the API's log"))
	}
	if err := json.Unmarshal([]byte(body), u); err != nil || u.UpdateID == 0 {
		return stop(fault(u.looked(), "the API accepted it, and its answer has no update_id: "+short(body), "see the API's log"))
	}
	return nil
}

// mark writes into the row of the update whose it is, where it has room for that.
func (u *travel) mark(ctx context.Context) error {
	const hasNotes = "select exists (select from pg_attribute where attrelid = to_regclass('etf_updates') and attname = 'notes' and not attisdropped)"
	var notes bool
	if err := u.conn.QueryRow(ctx, hasNotes).Scan(&notes); err != nil || !notes {
		return err
	}
	by := Whoami()
	for _, v := range host.OperationOf(ctx).Env {
		if id, ok := strings.CutPrefix(v, "ETF_OPERATION="); ok {
			by = "operation " + id
		}
	}
	tag, err := u.conn.Exec(ctx, "update etf_updates set notes = $2 where id = $1", u.UpdateID, "etf-deploy verify:update, "+by)
	if err != nil {
		return fmt.Errorf("marking update %d: %w", u.UpdateID, err)
	}
	u.counts["marked"] = tag.RowsAffected()
	return nil
}
