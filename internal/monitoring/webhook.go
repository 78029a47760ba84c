package monitoring

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// A Webhook hears what Alertmanager sends to contacts that are nobody's: those
// whose address lies below one of this machine.
type Webhook struct {
	server *http.Server
	now    func() time.Time

	mu    sync.Mutex
	calls []WebhookCall
}

// A WebhookCall is what such a contact was told of one alert.
type WebhookCall struct {
	At     time.Time
	Path   string // of the contact
	Status string // firing or resolved
	Labels map[string]string
}

// Listen hears at the host and port of an address.
func Listen(address string, now func() time.Time) (*Webhook, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return nil, err
	}
	w := &Webhook{now: now}
	w.server = &http.Server{Handler: w, ReadTimeout: 10 * time.Second}
	go func() { _ = w.server.Serve(l) }() // until it is closed
	return w, nil
}

// Close ends it.
func (w *Webhook) Close() { _ = w.server.Close() }

// ServeHTTP takes what Alertmanager's webhooks send.
func (w *Webhook) ServeHTTP(res http.ResponseWriter, req *http.Request) {
	var message struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(http.MaxBytesReader(res, req.Body, 8<<20)).Decode(&message); err != nil {
		http.Error(res, err.Error(), http.StatusBadRequest)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range message.Alerts {
		w.calls = append(w.calls, WebhookCall{w.now(), req.URL.Path, a.Status, a.Labels})
	}
}

// Calls are those heard so far, in their order.
func (w *Webhook) Calls() []WebhookCall {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.calls)
}
