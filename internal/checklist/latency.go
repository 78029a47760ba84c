package checklist

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// latencyFloor: nobody notices what is quicker, however much slower it became.
const latencyFloor = 50 * time.Millisecond

// latencyTime is how long the measurement may take where each answer takes as
// long as it may.
func (t *Target) latencyTime() time.Duration {
	return t.Config.Timeouts.Connect + time.Duration(baselineRequests*len(t.pages()))*t.Config.Thresholds.Latency
}

// lookLatency measures each path as it was measured before the cut-over.
func (t *Target) lookLatency(ctx context.Context, s Subject) []report.Finding {
	before, err := t.baseline(ctx, s)
	var all []report.Finding
	if err != nil {
		all = append(all, marked(warn("latency before the cut-over", err.Error(), "the journal of the deployment has it"), "baseline", nil))
	}
	if before == nil {
		before = &baseline{}
	}
	now := t.latencies(ctx)
	for _, page := range t.pages() {
		all = append(all, t.judgeLatency(page, before.Latencies[page], now[page]))
	}
	return all
}

func (t *Target) judgeLatency(page string, before, now latency) report.Finding {
	looked := "latency of " + page
	counts := map[string]int64{"looked": int64(now.Requests), "failed": int64(now.Failed), "median_ms": now.Median.Milliseconds(), "p95_ms": now.P95.Milliseconds()}
	if now.Requests == now.Failed {
		return marked(unseen(looked, errors.New("no request was answered with 200"), "see verify:api"), page, counts)
	}
	text := fmt.Sprintf("median %s, p95 %s", report.Duration(now.Median), report.Duration(now.P95))
	if now.Failed > 0 {
		return marked(warn(looked, fmt.Sprintf("%s; %d of %d requests failed", text, now.Failed, now.Requests), "see verify:api"), page, counts)
	}
	if before.Requests == before.Failed {
		return marked(found(looked, "%s; nothing from before the cut-over to hold it against", text), page, counts)
	}
	counts["median_before_ms"], counts["p95_before_ms"] = before.Median.Milliseconds(), before.P95.Milliseconds()
	text += fmt.Sprintf("; before the cut-over %s and %s", report.Duration(before.Median), report.Duration(before.P95))
	limit := max(latencyFloor, time.Duration(float64(before.Median)*t.Config.Thresholds.Slower))
	if now.Median > limit {
		return marked(warn(looked, text, fmt.Sprintf("see what became slower; thresholds.slower is %g", t.Config.Thresholds.Slower)), page, counts)
	}
	return marked(found(looked, "%s", text), page, counts)
}
