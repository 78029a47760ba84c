package checklist

import (
	"context"
	"strings"
	"testing"

	"github.com/goldfinch-etf/etf-deploy/internal/cache"
	"github.com/goldfinch-etf/etf-deploy/internal/release"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
	"github.com/goldfinch-etf/etf-deploy/internal/step"
)

// closing ends a deployment of the live release whose checks have found this.
type closing struct {
	criteriaStep
	findings []report.Finding
}

func (c closing) Run(ctx context.Context, r *step.Run) error {
	for _, f := range c.findings {
		if err := r.Note(ctx, "findings/"+f.Check, []report.Finding{f}); err != nil {
			return err
		}
	}
	live, err := c.t.Releases.Current(ctx)
	if err != nil {
		return err
	}
	live.State, live.ActivatedBy = release.Live, r.ID()
	if err := c.t.Releases.Put(ctx, *live); err != nil {
		return err
	}
	return c.criteriaStep.Run(ctx, r)
}

// While updates are paused none can be tried: the target says that the
// criterion is not met, and a deployment is not undone for it.
func TestCriteriaWhileUpdatesArePaused(t *testing.T) {
	target, c := withRedis(t)
	_, _, err := c.SetPause(t.Context(), pauseKey, cache.Pause{By: "eve", Reason: "wrong prices"})
	must(t, err)
	paused := verifyUpdate.Run(t.Context(), target, Subject{})
	if len(paused) != 1 || paused[0].Status != report.Warning || paused[0].Key != "paused" {
		t.Fatalf("%+v", paused)
	}
	findings := paused
	for _, name := range []string{"verify:api", "verify:tasks", "verify:logs", "verify:metrics", "verify:alerts", "verify:backups"} {
		findings = append(findings, report.Finding{Check: name, Looked: "it", Found: "well", Status: report.OK})
	}
	findings[4].Status, findings[4].Found = report.Warning, "not compared: monitoring.rules is not set"
	for i, c := range Criteria(findings) {
		if second := i == 1; c.Met == second || c.Later != second {
			t.Errorf("%+v", c)
		}
	}

	if _, says, err := target.ran(t, "deploy", closing{criteriaStep{inputs{target}}, findings}, Options{}); err != nil || !strings.Contains(says, "5 of 6 met and 1 not looked at yet") {
		t.Errorf("%q, %v", says, err)
	}
	if live, err := target.Releases.Current(t.Context()); err != nil || live.State != release.Verified {
		t.Errorf("%+v, %v", live, err)
	}

	findings[2].Status = report.Fault // verify:tasks, of the same criterion
	if second := Criteria(findings)[1]; second.Met || second.Later {
		t.Errorf("%+v", second)
	}
	if _, _, err := target.ran(t, "deploy", closing{criteriaStep{inputs{target}}, findings}, Options{}); err == nil {
		t.Error("a fault beside it was passed over")
	}
}
