package checklist

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/journal"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// factBaseline is how the service did just before an operation touched it.
const factBaseline = "baseline" // baseline

// A baseline is what the verification is held against.
type baseline struct {
	At        time.Time          `json:"at"`
	Latencies map[string]latency `json:"latencies"` // by path
	Alerts    []alertState       `json:"alerts,omitempty"`
	Blind     string             `json:"blind,omitempty"` // why the alerts are not known
}

// A latency is how long some requests of one path took; of those that failed
// nothing is known but their number.
type latency struct {
	Requests int           `json:"requests"`
	Failed   int           `json:"failed,omitempty"`
	Median   time.Duration `json:"median"`
	P95      time.Duration `json:"p95"`

	times []time.Duration // of those that did not fail, sorted
}

const (
	baselineRequests = 5               // of each path
	baselineTime     = 3 * time.Second // for everything: it precedes a stop
)

// noteBaseline measures the service before the first step that touches it,
// once. That it could not be measured holds up nothing.
func (t *Target) noteBaseline(ctx context.Context, r *step.Run) error {
	var before baseline
	if ok, err := r.Fact(factBaseline, &before); ok || err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, baselineTime)
	defer cancel()
	before.At = t.Now().UTC()
	var wg sync.WaitGroup
	wg.Go(func() { before.Latencies = t.latencies(ctx) })
	wg.Go(func() {
		var err error
		if before.Alerts, err = t.alertStates(ctx); err != nil {
			before.Blind = firstLine(err.Error())
		}
	})
	wg.Wait()
	return r.Note(context.WithoutCancel(ctx), factBaseline, before)
}

// pages are the paths of the API that are looked at.
func (t *Target) pages() []string {
	pages := []string{t.Config.API.Health}
	for _, e := range t.Config.API.Endpoints {
		if e.Status == 0 || e.Status == http.StatusOK {
			pages = append(pages, e.Path)
		}
	}
	slices.Sort(pages)
	return slices.Compact(pages)
}

// latencies measures all paths, one request after the other: side by side they
// would wait for each other.
func (t *Target) latencies(ctx context.Context) map[string]latency {
	all := map[string]latency{}
	for range baselineRequests {
		for _, page := range t.pages() {
			began := time.Now()
			res, _, err := t.get(ctx, t.Config.API.URL+page)
			took := time.Since(began)
			l := all[page]
			if l.Requests++; err != nil || res.StatusCode != http.StatusOK {
				l.Failed++
			} else {
				l.took(took)
			}
			all[page] = l
			if ctx.Err() != nil {
				return all
			}
		}
	}
	return all
}

// took adds the time of one request.
func (l *latency) took(d time.Duration) {
	l.times = append(l.times, d)
	slices.Sort(l.times)
	l.Median = l.times[(len(l.times)-1)/2]
	l.P95 = l.times[(len(l.times)*95+99)/100-1]
}

// baselineOf is what an operation has noted, if it has.
func baselineOf(op interface {
	Fact(key string, v any) (bool, error)
}) (*baseline, error) {
	var b baseline
	ok, err := op.Fact(factBaseline, &b)
	if !ok || err != nil {
		return nil, err
	}
	return &b, nil
}

// baseline is what a release is held against: what its operation has noted
// before it touched the service. Nil where there is nothing, as for a first
// deployment.
func (t *Target) baseline(ctx context.Context, s Subject) (*baseline, error) {
	if s.before != nil || s.Live == nil || s.Live.ActivatedBy == "" {
		return s.before, nil
	}
	log, err := journal.Read(ctx, t.Host, path.Join(t.journalDir(), s.Live.ActivatedBy+".jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return baselineOf(log)
}
