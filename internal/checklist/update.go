package checklist

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyUpdate is “Test ETF updates”: one travels through API, broker, worker
// and database. It leaves one row in etf_updates. A price source that fails is
// no fault of the release.
var verifyUpdate = Check{
	Name:    "verify:update",
	Command: "python -m scripts.test_etf_update",
	look: func(ctx context.Context, t *Target, _ Subject) []report.Finding {
		if c, err := t.cache(); err == nil {
			pause, err := c.Paused(ctx, t.Config.Cache.PauseKey)
			c.Close()
			if err == nil && pause != nil {
				return []report.Finding{warn("an update", "not tried: updates are paused ("+t.Config.Cache.PauseKey+")", "`updates:resume` when its reason is gone, then `verify:update`")}
			}
		}
		etf, err := t.canary(ctx)
		if err != nil {
			return []report.Finding{unseen("an ETF to update", err, "")}
		}
		looked := "update of " + etf
		began := time.Now()
		base := t.Config.API.URL + "/api/v1/etf/" + url.PathEscape(etf)
		res, body, err := t.request(ctx, http.MethodPost, base+"/update?update_type=prices_only")
		if err != nil {
			return []report.Finding{fault(looked, err.Error(), "see the API's log")}
		}
		if res.StatusCode != http.StatusAccepted {
			return []report.Finding{fault(looked, "the API answers "+res.Status+": "+firstLine(body), "see the API's log")}
		}
		var accepted struct {
			UpdateID int64 `json:"update_id"`
		}
		if err := json.Unmarshal([]byte(body), &accepted); err != nil || accepted.UpdateID == 0 {
			return []report.Finding{fault(looked, "the API's answer has no update_id: "+firstLine(body), "")}
		}
		return []report.Finding{t.awaitUpdate(ctx, looked, accepted.UpdateID, began)}
	},
}

// canary is the ETF with the newest price: one that updates.
func (t *Target) canary(ctx context.Context) (string, error) {
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return "", err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var id string
	err = conn.QueryRow(ctx, "select id from etfs order by last_update desc nulls last, id limit 1").Scan(&id)
	return id, err
}

func (t *Target) awaitUpdate(ctx context.Context, looked string, id int64, began time.Time) report.Finding {
	ctx, cancel := context.WithTimeout(ctx, t.Config.Timeouts.Verify)
	defer cancel()
	conn, err := t.connect(ctx, "etf-deploy")
	if err != nil {
		return unseen(looked, err, "")
	}
	defer conn.Close(context.WithoutCancel(ctx))
	status := ""
	for {
		var message *string
		err := conn.QueryRow(ctx, "select status, error from etf_updates where id = $1", id).Scan(&status, &message)
		if err != nil {
			if ctx.Err() != nil {
				return fault(looked, fmt.Sprintf("update %d is still %q after %s", id, status, t.Config.Timeouts.Verify), "see deps:celery and the workers' log")
			}
			return unseen(looked, err, "")
		}
		switch status {
		case "completed":
			return found(looked, "completed in %s", report.Duration(time.Since(began)))
		case "completed_with_errors":
			return warn(looked, "completed with errors: "+text(message), "the update travelled all the way; see the price source")
		case "failed":
			if t.priceSourceDown(ctx) {
				return warn(looked, "failed, and the price source does not answer: "+text(message), "the update travelled all the way; see the price source")
			}
			return fault(looked, "failed: "+text(message), "see the workers' log")
		}
		if sleep(ctx, 100*time.Millisecond) != nil {
			return fault(looked, fmt.Sprintf("update %d is still %q after %s", id, status, t.Config.Timeouts.Verify), "see deps:celery and the workers' log")
		}
	}
}

func (t *Target) priceSourceDown(ctx context.Context) bool {
	return t.Config.PriceSourceURL != "" && t.lookTCP(ctx, "price source", t.Config.PriceSourceURL, "").Status != report.OK
}

func text(s *string) string {
	if s == nil {
		return "no reason given"
	}
	return firstLine(*s)
}
