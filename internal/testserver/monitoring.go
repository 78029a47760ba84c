package testserver

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// A Web is a running server that is asked over HTTP.
type Web struct {
	URL string
	p   *process
}

// Stop ends the server.
func (s *Web) Stop() { s.p.stop() }

// StartAlertmanager starts an Alertmanager that tells nobody.
func StartAlertmanager(dir string) (*Web, error) {
	return StartAlertmanagerWith(dir, "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
}

// StartAlertmanagerWith starts one with this configuration.
func StartAlertmanagerWith(dir, config string) (*Web, error) {
	return startWeb(dir, "alertmanager.yml", config, func(dir, file, address string) *exec.Cmd {
		return exec.Command("/usr/bin/prometheus-alertmanager", "--config.file="+file, "--storage.path="+dir, "--web.listen-address="+address, "--cluster.listen-address=")
	})
}

// StartPrometheus starts a Prometheus that judges these rules (the content of
// a rules file) each tenth of a second. What it collects, and whom it tells,
// more of its configuration says.
func StartPrometheus(dir, rules string, more ...string) (*Web, error) {
	dir, err := mkdir(dir, "rules")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "rules.yml")
	if err := os.WriteFile(file, []byte(rules), 0o644); err != nil {
		return nil, err
	}
	config := fmt.Sprintf("global: {evaluation_interval: 100ms}\nrule_files: [%s]\n%s\n", file, strings.Join(more, "\n"))
	return startWeb(dir, "prometheus.yml", config, func(dir, file, address string) *exec.Cmd {
		return exec.Command("/usr/bin/prometheus", "--config.file="+file, "--storage.tsdb.path="+dir, "--web.listen-address="+address, "--rules.alert.resend-delay=1s")
	})
}

func startWeb(dir, name, config string, command func(dir, file, address string) *exec.Cmd) (*Web, error) {
	dir, err := mkdir(dir, "data")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		return nil, err
	}
	port, err := Port()
	if err != nil {
		return nil, err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	s := &Web{URL: "http://" + address}
	if s.p, err = start(command(dir, file, address), filepath.Join(dir, "log"), syscall.SIGTERM); err != nil {
		return nil, err
	}
	return s, s.p.await(name, 30*time.Second, func() error {
		res, err := http.Get(s.URL + "/-/ready")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	})
}
