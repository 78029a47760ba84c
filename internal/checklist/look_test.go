package checklist

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// One that hangs, even one that does not hear that its time is up, neither
// holds the others nor passes.
func TestLookAll(t *testing.T) {
	hung := make(chan struct{})
	defer close(hung)
	target := &Target{Config: &config.Config{File: "deploy.yaml"}}
	began := time.Now()
	got := lookAll(t.Context(), target,
		look{"deaf", 20 * time.Millisecond, func(context.Context, *Target) []report.Finding { <-hung; return nil }},
		look{"quick", time.Minute, func(context.Context, *Target) []report.Finding { return []report.Finding{found("a", "b")} }},
		look{"slow", 20 * time.Millisecond, func(ctx context.Context, _ *Target) []report.Finding {
			<-ctx.Done()
			return []report.Finding{found("as far as it came", "c")}
		}},
		look{"idle", time.Minute, func(context.Context, *Target) []report.Finding { return nil }},
	)
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("took %s", took)
	}
	want := []struct {
		status report.Status
		looked string
		found  string
	}{
		{report.Unknown, "deaf", "it had not come back after"}, {report.OK, "a", "b"},
		{report.OK, "as far as it came", "c"}, {report.Unknown, "idle", "it looked at nothing"},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v", got)
	}
	for i, w := range want {
		if f := got[i]; f.Status != w.status || f.Looked != w.looked || !strings.HasPrefix(f.Found, w.found) || f.Duration == 0 && w.status == report.OK {
			t.Errorf("%+v, want %+v", f, w)
		}
	}
}
