package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// verifyAPI is “Check API endpoints”: all of them, side by side.
var verifyAPI = Check{
	Name:    "verify:api",
	Command: "curl -v http://localhost:8000/api/v1/etf/health",
	look: func(ctx context.Context, t *Target, s Subject) []report.Finding {
		pages := t.Config.API.Endpoints
		isHealth := func(e config.Endpoint) bool { return e.Path == t.Config.API.Health }
		if !slices.ContainsFunc(pages, isHealth) {
			pages = append([]config.Endpoint{{Path: t.Config.API.Health}}, pages...)
		}
		looks := []look{{at: t.Config.Services.API, see: func(ctx context.Context, t *Target) []report.Finding {
			return []report.Finding{t.lookAPIProcesses(ctx, s)}
		}}}
		for _, page := range pages {
			limit := t.Config.Timeouts.Connect + t.latency(page)
			looks = append(looks, look{page.Path, limit, func(ctx context.Context, t *Target) []report.Finding {
				return []report.Finding{t.lookPage(ctx, page, s)}
			}})
		}
		return lookAll(ctx, t, looks...)
	},
}

// lookAPIProcesses sees which release the API's processes really run: an answer
// comes from one of them, and need not name its release.
func (t *Target) lookAPIProcesses(ctx context.Context, s Subject) report.Finding {
	group := t.Config.Services.API
	if s.Live == nil {
		return as(fault(group, "no release is live", "run deploy"), group, nil)
	}
	procs, err := t.processes(ctx, group)
	if err != nil {
		return as(unseen(group, err, "see services:status"), group, nil)
	}
	counts := map[string]int64{"processes": int64(len(procs))}
	if err := t.onRelease(ctx, group, s.Live.ID); err != nil {
		return as(fault(group, err.Error(), "services:start"), group, counts)
	}
	return as(found(group, "%d processes run release %s", len(procs), s.Live.ID), group, counts)
}

func (t *Target) latency(page config.Endpoint) time.Duration {
	return cmp.Or(page.Latency, t.Config.Thresholds.Latency)
}

func (t *Target) lookPage(ctx context.Context, page config.Endpoint, s Subject) report.Finding {
	client, want := &http.Client{}, cmp.Or(page.Status, http.StatusOK)
	if want/100 == 3 { // that it leads elsewhere is what is asked for
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	began := time.Now()
	res, body, err := t.requestBy(ctx, client, http.MethodGet, t.Config.API.URL+page.Path)
	took := time.Since(began)
	counts := map[string]int64{"latency_ms": took.Milliseconds()}
	bad := func(what, do string) report.Finding { return as(fault(page.Path, what, do), page.Path, counts) }
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return bad("no whole answer within "+report.Duration(took), "see the API's log, and services:status")
	case err != nil:
		return bad(err.Error(), "see services:status")
	}
	counts["status"], counts["bytes"] = int64(res.StatusCode), int64(len(body))
	if res.StatusCode != want {
		return bad(fmt.Sprintf("answers %s, not %d: %s", res.Status, want, firstLine(body)), "see the API's log")
	}
	if id := t.pageRelease(page, res, body); s.Live != nil && id != "" && id != s.Live.ID {
		return bad(fmt.Sprintf("answered by release %q, live is %s", id, s.Live.ID), "services:start restarts what runs another release")
	}
	if wrong := judgeBody(page, body); len(wrong) > 0 {
		return as(fault(page.Path, strings.Join(wrong, "; "), "see the API's log, and api.endpoints in "+t.Config.File), page.Path, counts, wrong...)
	}
	if limit := t.latency(page); took > limit {
		return as(warn(page.Path, fmt.Sprintf("%d after %s", want, report.Duration(took)), "it may take "+report.Duration(limit)+" (thresholds.latency, or latency of the endpoint, in "+t.Config.File+")"), page.Path, counts)
	}
	return as(found(page.Path, "%d in %s%s", want, report.Duration(took), heldText(page)), page.Path, counts)
}

// pageRelease is the release that an answer names, if it does: in a header or,
// on the health page, in its JSON.
func (t *Target) pageRelease(page config.Endpoint, res *http.Response, body string) string {
	if page.Path != t.Config.API.Health {
		return res.Header.Get(t.Config.API.ReleaseHeader)
	}
	return t.releaseIn(res, body)
}

// heldText says what of an answer was looked at beside its status.
func heldText(page config.Endpoint) string {
	n := len(page.JSON)
	if page.Contains != "" {
		n++
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(", %d of %d conditions hold", n, n)
}
