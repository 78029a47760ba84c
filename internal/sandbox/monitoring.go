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
			return command{argv: []string{
				alertmanagerProgram, "--config.file=" + s.path(filepath.FromSlash(monitoring.AlertmanagerFile)), "--storage.path=" + s.path("alertmanager", "data"),
				"--web.listen-address=" + loopback(s.st.Ports[portAlertmanager]), "--cluster.listen-address=",
			}}, nil
		},
		ready: func(ctx context.Context, _ []process) error { return s.httpReady(ctx, portAlertmanager, "/-/ready") },
		limit: 30 * time.Second, stop: syscall.SIGTERM, grace: 10 * time.Second,
	}
}

// writeMonitoring writes the configuration of Prometheus and Alertmanager with
// all rules, as they are generated for the environment of that name, and
// reports whether they changed.
func (s *Sandbox) writeMonitoring() (bool, error) {
	variables := map[string]string{}
	for _, v := range s.shellSettings() {
		variables[v.name] = v.value
	}
	e, err := monitoring.Load(s.opt.Config, config.DefaultEnvironment, variables)
	if err != nil {
		return false, err
	}
	files, err := monitoring.Generate(e, monitoring.Prometheus, monitoring.AlertRules, monitoring.Alertmanager)
	if err != nil {
		return false, err
	}
	changed, err := monitoring.Write(s.dir, files)
	return len(changed) > 0, err
}

// configureMonitoring writes the files of Prometheus and Alertmanager, and lets
// those that run read them again when something in them has changed.
func (s *Sandbox) configureMonitoring(all []process) error {
	changed, err := s.writeMonitoring()
	if err != nil || !changed {
		return err
	}
	for _, p := range []part{s.prometheus(), s.alertmanager()} {
		if server, runs := p.server(all); runs {
			server.signal(syscall.SIGHUP)
		}
	}
	return nil
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
