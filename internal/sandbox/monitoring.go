package sandbox

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
	"github.com/goldfinch-etf/etf-deploy/internal/monitoring"
	"github.com/goldfinch-etf/etf-deploy/internal/sandbox/etfservice"
)

const (
	prometheusProgram   = "/usr/bin/prometheus"
	alertmanagerProgram = "/usr/bin/prometheus-alertmanager"
	pythonProgram       = "/usr/bin/python3"
)

func (s *Sandbox) prometheus() part {
	return part{
		name: partPrometheus, port: portPrometheus,
		launch: func(context.Context) (command, error) {
			if err := s.folders("prometheus", "prometheus/data"); err != nil {
				return command{}, err
			}
			if _, err := s.writePrometheus(); err != nil {
				return command{}, err
			}
			return command{argv: []string{
				prometheusProgram, "--config.file=" + s.path(filepath.FromSlash(monitoring.PrometheusFile)),
				"--storage.tsdb.path=" + s.path("prometheus", "data"), "--storage.tsdb.retention.time=15d",
				"--web.listen-address=" + loopback(s.st.Ports[portPrometheus]),
			}}, nil
		},
		ready: func(ctx context.Context, _ []process) error { return s.httpReady(ctx, portPrometheus, "/-/ready") },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 20 * time.Second,
	}
}

func (s *Sandbox) alertmanager() part {
	return part{
		name: partAlertmanager, port: portAlertmanager,
		launch: func(context.Context) (command, error) {
			if err := s.folders("alertmanager", "alertmanager/data"); err != nil {
				return command{}, err
			}
			path := s.path("alertmanager", "alertmanager.yml")
			if err := writeFile(path, []byte(alertmanagerConf), 0o600); err != nil {
				return command{}, err
			}
			return command{argv: []string{
				alertmanagerProgram, "--config.file=" + path, "--storage.path=" + s.path("alertmanager", "data"),
				"--web.listen-address=" + loopback(s.st.Ports[portAlertmanager]), "--cluster.listen-address=",
			}}, nil
		},
		ready: func(ctx context.Context, _ []process) error { return s.httpReady(ctx, portAlertmanager, "/-/ready") },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 10 * time.Second,
	}
}

const alertmanagerConf = `# written by sandbox:up: alerts can be seen here and go nowhere
route:
  receiver: nobody
  group_by: [alertname]
receivers:
  - name: nobody
`

// writePrometheus writes Prometheus' configuration, as it is generated for the
// environment of that name, and rules, and reports whether they changed.
func (s *Sandbox) writePrometheus() (bool, error) {
	variables := map[string]string{}
	for _, v := range s.shellSettings() {
		variables[v.name] = v.value
	}
	e, err := monitoring.Load(s.opt.Config, config.DefaultEnvironment, variables)
	if err != nil {
		return false, err
	}
	conf, err := monitoring.Prometheus(e)
	if err != nil {
		return false, err
	}
	rules := monitoring.File{Path: monitoring.RulesFile, Content: []byte(alertRules)}
	changed, err := monitoring.Write(s.dir, []monitoring.File{conf, rules})
	return len(changed) > 0, err
}

// alertRules are the plan's two alerts in a form that fires. As written there
// they look at each series alone, join series that share no label, and take a
// timestamp of 0 for 1970.
const alertRules = `# written by sandbox:up
groups:
  - name: etf_service
    rules:
      - alert: HighErrorRate
        # Many errors in all, or most of a few updates: one update a minute
        # that always fails makes a small rate.
        expr: |
          sum(rate(etf_errors_total[5m])) > 0.1
          or
          sum(increase(etf_updates_total{status!="completed"}[15m]))
            > 0.5 * sum(increase(etf_updates_total[15m]))
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: High ETF update error rate
      - alert: UpdateStuck
        # The value is the age of the last successful update in seconds. Where
        # none succeeded yet, updates that have run for an hour tell.
        expr: |
          (time() - max(etf_last_update_timestamp > 0) > 3600 and sum(etf_active_updates) > 0)
          or
          (sum(min_over_time(etf_active_updates[1h])) > 0
            and sum(etf_active_updates offset 1h) > 0
            unless max(etf_last_update_timestamp > 0))
        for: 10m
        labels:
          severity: critical
        annotations:
          summary: ETF update process stuck
`

// reloadMonitoring lets a running Prometheus read its configuration again
// when a port in it has changed.
func (s *Sandbox) reloadMonitoring(all []process) error {
	server, runs := s.prometheus().server(all)
	if !runs {
		return nil
	}
	changed, err := s.writePrometheus()
	if err == nil && changed {
		server.signal(syscall.SIGHUP)
	}
	return err
}

// prices is the source that the service fetches prices and rates from.
func (s *Sandbox) prices() part {
	return part{
		name: partPrices, port: portPrices,
		launch: func(context.Context) (command, error) {
			if err := s.folders("prices"); err != nil {
				return command{}, err
			}
			path := s.path("prices", "pricesource.py")
			if err := writeFile(path, etfservice.PriceSource(), 0o600); err != nil {
				return command{}, err
			}
			return command{argv: []string{pythonProgram, path, fmt.Sprint(s.st.Ports[portPrices])}}, nil
		},
		ready: func(ctx context.Context, _ []process) error { return s.httpReady(ctx, portPrices, "/health") },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 5 * time.Second,
	}
}

// httpReady expects 200 from one of our servers.
func (s *Sandbox) httpReady(ctx context.Context, port, path string) error {
	address := s.httpURL(port) + path
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	// A proxy of the environment has no business on loopback.
	client := &http.Client{Transport: &http.Transport{Proxy: nil, DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, resp.Status)
	}
	return nil
}

func (s *Sandbox) httpURL(port string) string { return "http://" + loopback(s.st.Ports[port]) }

// folders makes folders of the sandbox that only this user can look into.
func (s *Sandbox) folders(names ...string) error {
	for _, name := range names {
		if err := os.MkdirAll(s.path(name), 0o700); err != nil {
			return err
		}
	}
	return nil
}
