package checklist

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// A drillReceiver is the webhook of contacts that are nobody's: it hears when
// Alertmanager tells them of the drill.
type drillReceiver struct {
	id     string
	server *http.Server

	mu   sync.Mutex
	when map[string]time.Time // path and status of the alert → first heard
}

// listen hears of one drill at the address of monitoring.receiver. Alertmanager
// of a sandbox runs on this machine.
func listen(address, id string) (*drillReceiver, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", u.Host)
	if err != nil {
		return nil, fmt.Errorf("listening for the drill: %w: another drill runs, or another program has the port of monitoring.receiver", err)
	}
	r := &drillReceiver{id: id, when: map[string]time.Time{}}
	r.server = &http.Server{Handler: r, ReadTimeout: 10 * time.Second}
	go func() { _ = r.server.Serve(l) }() // until it is closed
	return r, nil
}

func (r *drillReceiver) close() { _ = r.server.Close() }

// ServeHTTP takes what Alertmanager's webhooks send.
func (r *drillReceiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	var message struct {
		Alerts []struct {
			Status string
			Labels map[string]string
		}
	}
	if err := json.NewDecoder(http.MaxBytesReader(w, req.Body, 8<<20)).Decode(&message); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, a := range message.Alerts {
		key := req.URL.Path + " " + a.Status
		if _, before := r.when[key]; a.Labels["drill"] == r.id && !before {
			r.when[key] = time.Now()
		}
	}
}

// heard is when a contact was first told that the alert has this status.
func (r *drillReceiver) heard(path, status string) (time.Time, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at, ok := r.when[path+" "+status]
	return at, ok
}
