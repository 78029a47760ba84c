package checklist

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

const (
	// collectTime is how long Prometheus gets at least to collect for the first
	// time: more than its scrape interval of the plan, 15 seconds.
	collectTime = 40 * time.Second
	// scrapeGrace is how much longer than its interval a scrape may take.
	scrapeGrace = 10 * time.Second
)

// A scrapeTarget is one that Prometheus collects from.
type scrapeTarget struct {
	Labels         map[string]string `json:"labels"`
	ScrapeURL      string            `json:"scrapeUrl"`
	LastError      string            `json:"lastError"`
	LastScrape     time.Time         `json:"lastScrape"`
	Health         string            `json:"health"`
	ScrapeInterval string            `json:"scrapeInterval"` // missing in old versions
}

// interval is how often it is collected from.
func (s scrapeTarget) interval() time.Duration {
	interval, err := time.ParseDuration(s.ScrapeInterval)
	if err != nil {
		return time.Minute
	}
	return interval
}

var errNoTarget = errors.New("no target of it is the service's API")

// lookScraped asks Prometheus whether it collects these metrics of the service,
// and still does since the cut-over. It gets until its next scrape to begin, as
// far as ctx allows.
func (t *Target) lookScraped(ctx context.Context, since time.Time, required []string) []report.Finding {
	const looked = "Prometheus"
	see := "see monitoring.prometheus in " + t.Config.File
	if t.Config.Monitoring.Prometheus == "" {
		return []report.Finding{marked(fault(looked, "monitoring.prometheus is not configured: nobody collects the metrics", "set it in "+t.Config.File), "scrape", nil)}
	}
	began, room := t.Now(), t.roomOf(ctx)
	for {
		targets, err := t.apiTargets(ctx)
		if err != nil && !errors.Is(err, errNoTarget) {
			return []report.Finding{marked(unseen(looked, notAnswering("Prometheus", t.Config.Monitoring.Prometheus, err), see), "scrape", nil)}
		}
		wrong, interval, late := "", time.Duration(0), false
		for _, target := range targets {
			interval, late = max(interval, target.interval()), late || target.LastScrape.Before(began)
		}
		if err != nil {
			wrong = err.Error()
		} else if wrong, err = t.wrongWithScrapes(ctx, targets, since, required); err != nil {
			return []report.Finding{marked(unseen(looked, notAnswering("Prometheus", t.Config.Monitoring.Prometheus, err), see), "scrape", nil)}
		}
		counts := map[string]int64{"looked": int64(len(required)), "targets": int64(len(targets))}
		if wrong == "" {
			return []report.Finding{marked(found(looked, "collects all %d metrics from %s", len(required), targets[0].ScrapeURL), "scrape", counts)}
		}
		if t.Now().Sub(began) < min(max(collectTime, interval+scrapeGrace), room) && sleep(ctx, 500*time.Millisecond) == nil {
			continue
		}
		// What it saw before may have been the restart.
		if late && interval+scrapeGrace > room {
			wrong += fmt.Sprintf("; it collects only every %s, and there are %s to wait for the next time", report.Duration(interval), report.Duration(room))
			counts["not_looked"] = 1
			return []report.Finding{marked(warn(looked, wrong, "run verify:metrics again later, or lower scrape_interval in prometheus.yml"), "scrape", counts)}
		}
		return []report.Finding{marked(fault(looked, wrong, "see scrape_configs in prometheus.yml, and /targets of Prometheus"), "scrape", counts)}
	}
}

// roomOf is how long may be waited until ctx ends, and what is asked last still
// be answered.
func (t *Target) roomOf(ctx context.Context) time.Duration {
	end, ok := ctx.Deadline()
	if !ok {
		return collectTime
	}
	return time.Until(end) - 2*(t.Config.Timeouts.Connect+t.Config.Thresholds.Latency)
}

// apiTargets are those whose pages are the service's metrics. Prometheus may
// know the API's machine by another name than the suite, which may be on it.
func (t *Target) apiTargets(ctx context.Context) ([]scrapeTarget, error) {
	var answer struct {
		Data struct{ ActiveTargets []scrapeTarget }
	}
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/targets?state=active", &answer); err != nil {
		return nil, err
	}
	api, err := url.Parse(t.Config.API.URL)
	if err != nil {
		return nil, err
	}
	var exact, like []scrapeTarget
	var others []string
	for _, target := range answer.Data.ActiveTargets {
		u, err := url.Parse(target.ScrapeURL)
		switch {
		case err != nil || u.Path != path.Join(api.Path, t.Config.API.Metrics):
			others = append(others, target.ScrapeURL)
		case u.Host == api.Host:
			exact = append(exact, target)
		case u.Port() == api.Port() && slices.Contains([]string{"127.0.0.1", "::1", "localhost"}, api.Hostname()):
			like = append(like, target)
		default:
			others = append(others, target.ScrapeURL)
		}
	}
	if len(exact)+len(like) == 0 {
		return nil, fmt.Errorf("%w at %s%s; it has %s", errNoTarget, t.Config.API.URL, t.Config.API.Metrics, orNone(fewOf(others)))
	}
	if len(exact) > 0 {
		return exact, nil
	}
	return like, nil
}

// wrongWithScrapes says what is wrong with these targets now; empty when
// nothing is.
func (t *Target) wrongWithScrapes(ctx context.Context, targets []scrapeTarget, since time.Time, required []string) (string, error) {
	for _, target := range targets {
		oldest := t.Now().Add(-3*target.interval() - scrapeGrace)
		if since.After(oldest) {
			oldest = since
		}
		switch {
		case target.Health != "up":
			return fmt.Sprintf("%s is %s: %s", target.ScrapeURL, target.Health, orNone(firstLine(target.LastError))), nil
		case target.LastScrape.Before(oldest):
			return fmt.Sprintf("%s was last collected from at %s", target.ScrapeURL, target.LastScrape.UTC().Format(time.RFC3339)), nil
		}
	}
	missing, err := t.notCollected(ctx, targets[0], required)
	if len(missing) > 0 {
		return "has no " + join(missing) + " from " + targets[0].ScrapeURL, err
	}
	return "", err
}

// notCollected asks in one query which of the required metrics Prometheus has
// no value of, from this target.
func (t *Target) notCollected(ctx context.Context, target scrapeTarget, required []string) (missing []string, err error) {
	var names []string
	for _, name := range required {
		names = append(names, seriesOf(name)...)
	}
	query := fmt.Sprintf("count by (__name__) ({__name__=~%q,job=%q,instance=%q})", strings.Join(names, "|"), target.Labels["job"], target.Labels["instance"])
	var answer struct {
		Data struct {
			Result []struct{ Metric map[string]string }
		}
	}
	if err := t.getJSON(ctx, t.Config.Monitoring.Prometheus+"/api/v1/query?query="+url.QueryEscape(query), &answer); err != nil {
		return nil, err
	}
	collected := map[string]bool{}
	for _, r := range answer.Data.Result {
		collected[r.Metric["__name__"]] = true
	}
	for _, name := range required {
		if !slices.ContainsFunc(seriesOf(name), func(s string) bool { return collected[s] }) {
			missing = append(missing, name)
		}
	}
	return missing, nil
}

// seriesOf are the names under which Prometheus may keep a metric: of one that
// the catalog does not know, the type is not known either.
func seriesOf(name string) []string {
	if m, ok := monitoring.Lookup(name); ok {
		return []string{m.Series()}
	}
	return []string{name, name + "_count", name + "_total"}
}
