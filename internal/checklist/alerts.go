package checklist

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"
)

// An Alert is one that fires now and is neither silenced nor inhibited.
type Alert struct {
	Name     string    `json:"name"`
	Severity string    `json:"severity,omitempty"`
	Since    time.Time `json:"since"`
	Summary  string    `json:"summary,omitempty"`
}

// watchdog is the alert that always fires, to show that alerts arrive.
const watchdog = "Watchdog"

type alertLabels struct{ Alertname, Severity string }

// Alerts lists what fires now, the longest first: as Alertmanager has it or,
// where none is configured, as Prometheus does, which knows of no silences.
func (t *Target) Alerts(ctx context.Context) ([]Alert, error) {
	var all []Alert
	var err error
	switch m := t.Config.Monitoring; {
	case m.Alertmanager != "":
		all, err = t.alertsOfAlertmanager(ctx, m.Alertmanager)
	case m.Prometheus != "":
		all, err = t.alertsOfPrometheus(ctx, m.Prometheus)
	default:
		err = errors.New("monitoring.alertmanager and monitoring.prometheus are not configured: nothing tells when the service fails")
	}
	all = slices.DeleteFunc(all, func(a Alert) bool { return a.Name == watchdog })
	slices.SortStableFunc(all, func(a, b Alert) int { return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Name, b.Name)) })
	return all, err
}

func (t *Target) alertsOfAlertmanager(ctx context.Context, address string) ([]Alert, error) {
	var answer []struct {
		Labels      alertLabels
		Annotations struct{ Summary string }
		StartsAt    time.Time
		Status      struct{ State string }
	}
	if err := t.getJSON(ctx, address+"/api/v2/alerts?active=true&silenced=false&inhibited=false&unprocessed=true", &answer); err != nil {
		return nil, notAnswering("Alertmanager", address, err)
	}
	var all []Alert
	for _, a := range answer {
		if a.Status.State != "suppressed" {
			all = append(all, Alert{a.Labels.Alertname, a.Labels.Severity, a.StartsAt, a.Annotations.Summary})
		}
	}
	return all, nil
}

// notAnswering leaves out the long address that the HTTP client adds.
func notAnswering(who, address string, err error) error {
	var long *url.Error
	if errors.As(err, &long) {
		err = long.Err
	}
	return fmt.Errorf("asking %s at %s: %w", who, address, err)
}

func (t *Target) alertsOfPrometheus(ctx context.Context, address string) ([]Alert, error) {
	var answer struct {
		Data struct {
			Alerts []struct {
				Labels      alertLabels
				Annotations struct{ Summary string }
				State       string
				ActiveAt    time.Time
			}
		}
	}
	if err := t.getJSON(ctx, address+"/api/v1/alerts", &answer); err != nil {
		return nil, notAnswering("Prometheus", address, err)
	}
	var all []Alert
	for _, a := range answer.Data.Alerts {
		if a.State == "firing" {
			all = append(all, Alert{a.Labels.Alertname, a.Labels.Severity, a.ActiveAt, a.Annotations.Summary})
		}
	}
	return all, nil
}
