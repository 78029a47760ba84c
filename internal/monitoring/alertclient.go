package monitoring

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// An AlertClient speaks to Alertmanager over its API, version 2.
type AlertClient struct {
	URL    string // without a slash at its end
	Client *http.Client
}

// ErrNoSilence says that Alertmanager has no silence of this id.
var ErrNoSilence = errors.New("there is no such silence")

// A Matcher is a condition on a label of an alert.
type Matcher struct {
	Name    string `json:"name"`
	Value   string `json:"value"`
	IsRegex bool   `json:"isRegex"`
	IsEqual bool   `json:"isEqual"`
}

// A Silence keeps alerts from being sent while it lasts.
type Silence struct {
	ID        string    `json:"id,omitempty"`
	Matchers  []Matcher `json:"matchers"`
	StartsAt  time.Time `json:"startsAt"`
	EndsAt    time.Time `json:"endsAt"`
	CreatedBy string    `json:"createdBy"`
	Comment   string    `json:"comment"`
	Status    struct {
		State string `json:"state"` // active, pending or expired
	} `json:"status,omitzero"`
}

// Set makes a silence or, with an id, changes it. It returns the id that the
// silence has then: one that cannot be changed is replaced.
func (a AlertClient) Set(ctx context.Context, s Silence) (id string, err error) {
	var answer struct{ SilenceID string }
	err = a.do(ctx, http.MethodPost, "/api/v2/silences", s, &answer)
	return answer.SilenceID, err
}

// Prolong lets a silence last so long from now on: the one with this id, where
// it is still in force, or else a new one. It returns the id.
func (a AlertClient) Prolong(ctx context.Context, id string, lasts time.Duration, now func() time.Time, s Silence) (string, error) {
	ahead, err := a.Ahead(ctx, now)
	if err != nil {
		return id, err
	}
	// One that would begin later than now by Alertmanager's clock would not be in
	// force yet; one in the past it lets begin now.
	s.StartsAt, s.EndsAt = now().Add(ahead-time.Minute).UTC(), now().Add(ahead+lasts).UTC()
	if id != "" {
		old, err := a.Silence(ctx, id)
		if err != nil && !errors.Is(err, ErrNoSilence) {
			return id, err
		}
		if err == nil && old.Status.State != "expired" {
			s.ID, s.StartsAt = old.ID, old.StartsAt
		}
	}
	return a.Set(ctx, s)
}

// Ahead is how much Alertmanager's clock is ahead of one. It tells whole
// seconds, so that less than two are none.
func (a AlertClient) Ahead(ctx context.Context, now func() time.Time) (time.Duration, error) {
	_, header, err := a.request(ctx, http.MethodGet, "/api/v2/status", nil)
	if err != nil {
		return 0, err
	}
	there, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return 0, nil // then it cannot be known
	}
	if ahead := there.Sub(now()); ahead.Abs() >= 2*time.Second {
		return ahead, nil
	}
	return 0, nil
}

// Silence reads a silence; the error is ErrNoSilence where there is none.
func (a AlertClient) Silence(ctx context.Context, id string) (s Silence, err error) {
	err = a.do(ctx, http.MethodGet, "/api/v2/silence/"+url.PathEscape(id), nil, &s)
	return s, err
}

// Silences lists those in force, or about to be, with all of these matchers,
// such as drill="x".
func (a AlertClient) Silences(ctx context.Context, filters ...string) ([]Silence, error) {
	var all []Silence
	err := a.do(ctx, http.MethodGet, "/api/v2/silences?"+url.Values{"filter": filters}.Encode(), nil, &all)
	return slices.DeleteFunc(all, func(s Silence) bool { return s.Status.State == "expired" }), err
}

// Loaded is the configuration that Alertmanager runs with, its secrets masked.
func (a AlertClient) Loaded(ctx context.Context) ([]byte, error) {
	var status struct {
		Config struct{ Original string }
	}
	err := a.do(ctx, http.MethodGet, "/api/v2/status", nil, &status)
	return []byte(status.Config.Original), err
}

// Started is when Alertmanager was started, by its clock. It has forgotten
// then what fired before, until Prometheus sends it again.
func (a AlertClient) Started(ctx context.Context) (time.Time, error) {
	var status struct{ Uptime time.Time }
	err := a.do(ctx, http.MethodGet, "/api/v2/status", nil, &status)
	return status.Uptime, err
}

// Expire ends a silence at once.
func (a AlertClient) Expire(ctx context.Context, id string) error {
	return a.do(ctx, http.MethodDelete, "/api/v2/silence/"+url.PathEscape(id), nil, nil)
}

// A PostedAlert is an alert as it is given to Alertmanager. While it goes on
// it is given again before its end.
type PostedAlert struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations,omitempty"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// Post gives Alertmanager an alert.
func (a AlertClient) Post(ctx context.Context, alert PostedAlert) error {
	return a.do(ctx, http.MethodPost, "/api/v2/alerts", []PostedAlert{alert}, nil)
}

// A HeldAlert is an alert that Alertmanager has and that has not ended.
type HeldAlert struct {
	Labels    map[string]string
	Receivers []struct{ Name string }
	Status    struct{ SilencedBy, InhibitedBy []string }
}

// Alerts lists the alerts that all filters, such as alertname="x", hold for.
func (a AlertClient) Alerts(ctx context.Context, filters ...string) (all []HeldAlert, err error) {
	path := "/api/v2/alerts?" + url.Values{"filter": filters}.Encode()
	err = a.do(ctx, http.MethodGet, path, nil, &all)
	return all, err
}

// Requests counts what Alertmanager has sent by each kind of integration
// (email, webhook, slack), and what of that was refused or did not get through.
func (a AlertClient) Requests(ctx context.Context) (sent, failed map[string]float64, err error) {
	body, _, err := a.request(ctx, http.MethodGet, "/metrics", nil)
	if err != nil {
		return nil, nil, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(body))
	if err != nil {
		return nil, nil, fmt.Errorf("reading Alertmanager's metrics: %w", err)
	}
	sent = byIntegration(families["alertmanager_notification_requests_total"])
	failed = byIntegration(families["alertmanager_notification_requests_failed_total"])
	if sent == nil || failed == nil {
		return nil, nil, errors.New("reading Alertmanager's metrics: it does not count its requests; 0.22 and later do")
	}
	return sent, failed, nil
}

func byIntegration(family *dto.MetricFamily) map[string]float64 {
	if family == nil {
		return nil
	}
	sums := map[string]float64{}
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "integration" {
				sums[l.GetValue()] += m.GetCounter().GetValue()
			}
		}
	}
	return sums
}

// do sends in as JSON, if any, and reads the answer into out, if any.
func (a AlertClient) do(ctx context.Context, method, path string, in, out any) error {
	var content []byte
	if in != nil {
		var err error
		if content, err = json.Marshal(in); err != nil {
			return err
		}
	}
	body, _, err := a.request(ctx, method, path, content)
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(body, out); err != nil {
		return fmt.Errorf("reading Alertmanager's answer: %w", err)
	}
	return nil
}

func (a AlertClient) request(ctx context.Context, method, path string, content []byte) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(a.URL, "/")+path, bytes.NewReader(content))
	if err != nil {
		return nil, nil, err
	}
	if content != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := a.Client.Do(req)
	if err != nil {
		return nil, nil, withoutAddress(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, 8<<20))
	switch {
	case err != nil:
		return nil, nil, withoutAddress(err)
	case res.StatusCode == http.StatusNotFound && strings.HasPrefix(path, "/api/v2/silence/"):
		return nil, nil, ErrNoSilence
	case res.StatusCode != http.StatusOK:
		return nil, nil, fmt.Errorf("asking Alertmanager at %s: it answered %s: %.200s", req.URL.Host, res.Status, bytes.TrimSpace(body))
	}
	return body, res.Header, nil
}

// withoutAddress leaves out the long address that the HTTP client adds.
func withoutAddress(err error) error {
	var long *url.Error
	if errors.As(err, &long) {
		err = long.Err
	}
	return fmt.Errorf("asking Alertmanager: %w", err)
}
