package checklist

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/report"
)

// An alertState is an alert that Prometheus has pending or firing, and that
// nobody has silenced.
type alertState struct {
	Labels   map[string]string `json:"labels"`
	State    string            `json:"state"` // pending or firing
	ActiveAt time.Time         `json:"activeAt"`
	Summary  string            `json:"summary,omitempty"`
}

// alertStates lists them, without the watchdog.
func (t *Target) alertStates(ctx context.Context) ([]alertState, error) {
	address := t.Config.Monitoring.Prometheus
	if address == "" {
		return nil, fmt.Errorf("monitoring.prometheus is not configured")
	}
	var answer struct {
		Data struct {
			Alerts []struct {
				alertState
				Annotations struct{ Summary string }
			}
		}
	}
	if err := t.getJSON(ctx, address+"/api/v1/alerts", &answer); err != nil {
		return nil, notAnswering("Prometheus", address, err)
	}
	suppressed := t.suppressed(ctx)
	var all []alertState
	for _, a := range answer.Data.Alerts {
		a.Summary = a.Annotations.Summary
		quiet := slices.ContainsFunc(suppressed, func(labels map[string]string) bool { return contains(labels, a.Labels) })
		if a.Labels["alertname"] != watchdog && !quiet {
			all = append(all, a.alertState)
		}
	}
	slices.SortStableFunc(all, func(a, b alertState) int {
		return cmp.Or(a.ActiveAt.Compare(b.ActiveAt), cmp.Compare(a.String(), b.String()))
	})
	return all, nil
}

// suppressed are the labels of those that Alertmanager keeps quiet. One that
// does not answer is another look's to report.
func (t *Target) suppressed(ctx context.Context) (all []map[string]string) {
	am, ok := t.alertmanager()
	if !ok {
		return nil
	}
	held, _ := am.Alerts(ctx)
	for _, a := range held {
		if len(a.Status.SilencedBy)+len(a.Status.InhibitedBy) > 0 {
			all = append(all, a.Labels)
		}
	}
	return all
}

// contains: Alertmanager's labels are those of the alert, and external ones.
func contains(labels, of map[string]string) bool {
	for name, value := range of {
		if labels[name] != value {
			return false
		}
	}
	return true
}

// String is the alert with what tells it from others of its name.
func (a alertState) String() string {
	var labels []string
	for _, name := range slices.Sorted(maps.Keys(a.Labels)) {
		if !slices.Contains([]string{"alertname", "service", "environment"}, name) { // the latter are those of all
			labels = append(labels, name+"="+a.Labels[name])
		}
	}
	text := a.Labels["alertname"]
	if len(labels) > 0 {
		text += "{" + strings.Join(labels, ",") + "}"
	}
	return text
}

// calls: it is one for which somebody is called. An alert that does
// not say its severity may be one.
func (a alertState) calls() bool {
	return slices.Contains([]string{"critical", "page", ""}, a.Labels["severity"])
}

// isOurs: it comes from a rule of the service's file. Where none is configured,
// all may be.
func (t *Target) isOurs(a alertState) bool {
	ours, err := t.generatedRules()
	return err != nil || slices.ContainsFunc(ours, func(r monitoring.Rule) bool { return r.Name == a.Labels["alertname"] })
}

// lookAlerts names what is pending or fires and did not before the cut-over.
// Somebody who is called by a rule of the service's is a fault; what may still
// pass is a warning, and so are other teams' alerts, and what was there before:
// no release can be blamed for it.
func (t *Target) lookAlerts(ctx context.Context, s Subject) []report.Finding {
	const looked = "alerts that are pending or firing"
	now, err := t.alertStates(ctx)
	if err != nil {
		return []report.Finding{marked(unseen(looked, err, "see pre:connections, and monitoring in "+t.Config.File), "alerts", nil)}
	}
	// Where the journal cannot be read, verify:performance says so; that an
	// alert is older than the cut-over it says itself.
	if then, err := t.baseline(ctx, s); err == nil {
		s.before = then
	}
	var calling, others, before []string
	waiting := int64(0) // pending before: what a service that did not run yet is told by
	for _, a := range now {
		text := a.String() + " is " + a.State
		if a.Summary != "" {
			text += ": " + firstLine(a.Summary)
		}
		switch {
		case s.wasThere(a) && a.State == "firing":
			before = append(before, text)
		case s.wasThere(a):
			waiting++
		case a.State == "firing" && a.calls() && t.isOurs(a):
			calling = append(calling, text)
		default:
			others = append(others, text)
		}
	}
	counts := map[string]int64{"looked": int64(len(now)), "violations": int64(len(calling)), "new": int64(len(calling) + len(others)), "before": int64(len(before)) + waiting}
	samples := slices.Concat(calling, others, before)
	switch {
	case len(calling) > 0:
		return []report.Finding{marked(fault(looked, "new since the cut-over: "+fewOf(slices.Concat(calling, others)), "see what they tell; rollback:immediate goes back"), "alerts", counts, samples...)}
	case len(others) > 0:
		return []report.Finding{marked(warn(looked, "new since the cut-over: "+fewOf(others), "see whether they pass"), "alerts", counts, samples...)}
	case len(before) > 0:
		return []report.Finding{marked(warn(looked, "as before the cut-over: "+fewOf(before), "they are not from this release; see what they tell"), "alerts", counts, samples...)}
	}
	text := "none"
	if waiting > 0 {
		text = fmt.Sprintf("none that fires or is new; %d were pending before the cut-over", waiting)
	}
	return []report.Finding{marked(found(looked, "%s", text), "alerts", counts)}
}

// wasThere: by the baseline, or since it has been active for longer.
func (s Subject) wasThere(a alertState) bool {
	if !s.Since.IsZero() && a.ActiveAt.Before(s.Since) {
		return true
	}
	return s.before != nil && slices.ContainsFunc(s.before.Alerts, func(b alertState) bool {
		return maps.Equal(a.Labels, b.Labels) && (b.State == "firing" || a.State == "pending")
	})
}
