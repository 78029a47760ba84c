package checklist

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// A look is one of the things that a check looks at, side by side with others.
type look struct {
	at    string        // what it looks at: said of one that did not come back
	limit time.Duration // of it alone; 0: two timeouts.connect
	see   func(ctx context.Context, t *Target) []report.Finding
}

// lookGrace is what a look gets to return after its time is up, with what it
// has seen by then.
const lookGrace = 500 * time.Millisecond

// lookAll makes the looks side by side and returns their findings in order.
// One that hangs ends at its own limit and holds none of the others; what it
// says later is not heard.
func lookAll(ctx context.Context, t *Target, looks ...look) []report.Finding {
	results := make([][]report.Finding, len(looks))
	var wg sync.WaitGroup
	for i, l := range looks {
		if l.limit == 0 {
			l.limit = 2 * t.Config.Timeouts.Connect
		}
		wg.Go(func() { results[i] = l.within(ctx, t) })
	}
	wg.Wait()
	var all []report.Finding
	for _, r := range results {
		all = append(all, r...)
	}
	return all
}

func (l look) within(ctx context.Context, t *Target) []report.Finding {
	ctx, cancel := context.WithTimeout(ctx, l.limit)
	defer cancel()
	began := time.Now()
	seen := make(chan []report.Finding, 1)
	go func() { seen <- l.see(ctx, t) }()
	var findings []report.Finding
	select {
	case findings = <-seen:
	case <-ctx.Done():
		select {
		case findings = <-seen:
		case <-time.After(lookGrace):
			return []report.Finding{marked(unseen(l.at, fmt.Errorf("it had not come back after %s: %w", report.Duration(time.Since(began)), context.Cause(ctx)), "see what holds it up; timeouts in "+t.Config.File+" limit it"), l.at, nil)}
		}
	}
	if len(findings) == 0 {
		findings = []report.Finding{marked(unseen(l.at, errors.New("it looked at nothing"), "report this: a check has to look"), l.at, nil)}
	}
	for i := range findings {
		if findings[i].Duration == 0 {
			findings[i].Duration = time.Since(began)
		}
	}
	return findings
}
