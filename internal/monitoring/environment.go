// Package monitoring is the catalog of what is measured, and of everything
// that is generated from it and from deploy.yaml: Prometheus' and
// Alertmanager's configuration, rules and their tests, the dashboard, the
// service's metrics module, logging. It also holds what servers expose and
// have loaded against what they should.
//
// A generator is a pure function from an Environment to a File: the same
// environment gives the same bytes.
package monitoring

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/config"
)

// Committed is the environment whose files are committed.
const Committed = "production"

// The names of the jobs whose metrics dashboard and alerts rely on.
const (
	JobService      = "etf_service"  // the API; its workers too where they share a machine
	JobWorker       = "etf_worker"   // machines with workers alone
	JobRedis        = "redis"        // redis_exporter
	JobPostgres     = "postgres"     // postgres_exporter
	JobRabbitMQ     = "rabbitmq"     // rabbitmq_prometheus
	JobNode         = "node"         // node_exporter
	JobCelery       = "celery"       // celery-exporter
	JobPushgateway  = "pushgateway"  // what the suite pushes
	JobPrometheus   = "prometheus"   // itself
	JobAlertmanager = "alertmanager" // as monitoring.alertmanager says
)

// An Environment is what the generators know of one environment of
// deploy.yaml. It holds no secret.
type Environment struct {
	Name       string // as in deploy.yaml
	Folder     string // that its files are written to
	Interval   time.Duration
	Evaluation time.Duration // of the rules
	Jobs       []Job         // what Prometheus collects, the service first
	Queue      string        // that the workers take tasks from
	SuiteJob   string        // that brings this program's own metrics, by where they go; empty: nowhere

	Alertmanager *Endpoint // nil: there is none
	Alerts       Alerting

	days bool // steps of the tests are those of days
}

// A Job is what Prometheus collects in one way.
type Job struct {
	Name     string
	Scheme   string
	Path     string
	Targets  []string // host:port
	Interval time.Duration
}

// An Endpoint is where a server answers.
type Endpoint struct {
	Scheme  string
	Address string // host:port
	Prefix  string // of every path; may be empty
}

func (p Endpoint) url() string { return p.Scheme + "://" + p.Address + p.Prefix }

// needs are the keys that FromConfig reads: generating asks for a value of no
// other, so that it works where the secrets of an environment are not.
var needs = []string{"monitoring", "api", "celery.queue", "alerts", "contacts", "thresholds"}

// Load reads an environment of deploy.yaml. The variables, if any, go before
// those of the process.
func Load(file, environment string, variables map[string]string) (Environment, error) {
	cfg, err := config.LoadWith(file, environment, config.Options{Needs: needs, Variables: variables, Further: func(c *config.Config) []config.Fault {
		_, faults := fromConfig(c)
		return faults
	}})
	if err != nil {
		return Environment{}, err
	}
	return FromConfig(cfg)
}

// FromConfig takes from a configuration what the generators need. The error
// holds everything that cannot be generated from, and wraps config.ErrInvalid.
func FromConfig(c *config.Config) (Environment, error) {
	e, faults := fromConfig(c)
	if len(faults) > 0 {
		return Environment{}, &config.Error{File: c.File, Faults: faults}
	}
	return e, nil
}

func fromConfig(c *config.Config) (Environment, []config.Fault) {
	m := c.Monitoring
	e := Environment{Name: c.Environment, Folder: folder(c.Environment),
		Interval: m.Interval, Evaluation: m.Evaluation, Queue: c.Celery.Queue}
	var faults []config.Fault
	endpoint := func(key, raw string) *Endpoint {
		found, problem := parseEndpoint(raw)
		if problem != "" {
			faults = append(faults, config.Fault{Path: "environments." + c.Environment + "." + key, Problem: problem})
		}
		return found
	}
	switch {
	case m.Pushgateway != "":
		e.SuiteJob = JobPushgateway
	case m.Textfile != "":
		e.SuiteJob = JobNode
	}
	for _, j := range m.Jobs {
		e.Jobs = append(e.Jobs, Job{Name: j.Name, Scheme: cmp.Or(j.Scheme, "http"), Targets: j.Targets,
			Path: cmp.Or(j.Path, pathOf(j.Name, c.API.Metrics)), Interval: cmp.Or(j.Interval, m.Interval)})
	}
	if _, listed := e.Job(JobService); !listed && c.API.Metrics != "" {
		e.collect(JobService, endpoint("api.url", c.API.URL), c.API.Metrics)
	}
	e.collect(JobPrometheus, endpoint("monitoring.prometheus", m.Prometheus), "/metrics")
	e.Alertmanager = endpoint("monitoring.alertmanager", m.Alertmanager)
	e.collect(JobAlertmanager, e.Alertmanager, "/metrics")
	slices.SortStableFunc(e.Jobs, func(a, b Job) int { return rank(a.Name) - rank(b.Name) })
	e.Alerts = alertingOf(c, e)
	return e, append(faults, collectedTwice(e)...)
}

// collectedTwice finds what two jobs collect, or one job under two names.
func collectedTwice(e Environment) (faults []config.Fault) {
	first := map[string]string{}
	for _, j := range e.Jobs {
		for _, target := range j.Targets {
			at := canonical(target) + j.Path
			if other, twice := first[at]; twice {
				faults = append(faults, config.Fault{Path: "environments." + e.Name + ".monitoring.jobs",
					Problem: fmt.Sprintf("%s%s of %s is collected by %s already; sums would count it twice: remove one", target, j.Path, j.Name, other)})
			}
			first[at] = j.Name
		}
	}
	return faults
}

// canonical writes host:port as it is written most: Etf1:08000 is etf1:8000.
func canonical(target string) string {
	host, port, _ := net.SplitHostPort(target)
	if n, err := strconv.Atoi(port); err == nil {
		port = strconv.Itoa(n)
	}
	return net.JoinHostPort(strings.ToLower(host), port)
}

// Job returns the job of a name, if it is collected.
func (e Environment) Job(name string) (Job, bool) {
	i := slices.IndexFunc(e.Jobs, func(j Job) bool { return j.Name == name })
	if i < 0 {
		return Job{}, false
	}
	return e.Jobs[i], true
}

// Collects reports whether a job of one of these names is collected.
func (e Environment) Collects(names ...string) bool {
	return slices.ContainsFunc(e.Jobs, func(j Job) bool { return slices.Contains(names, j.Name) })
}

// collect adds a job for a server that the configuration names elsewhere.
func (e *Environment) collect(name string, at *Endpoint, metrics string) {
	if at != nil {
		e.Jobs = append(e.Jobs, Job{Name: name, Scheme: at.Scheme, Path: path.Join(at.Prefix, metrics),
			Targets: []string{at.Address}, Interval: e.Interval})
	}
}

// parseEndpoint takes a URL apart; an empty one is none. Credentials would
// end up in a file that is committed.
func parseEndpoint(raw string) (*Endpoint, string) {
	if raw == "" {
		return nil, ""
	}
	u, err := url.Parse(raw)
	if err != nil || u.Hostname() == "" {
		return nil, "is not a URL with a host"
	}
	if u.User != nil {
		return nil, "holds a user, and a generated file holds no credentials; write the address alone"
	}
	port := cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
	prefix := path.Clean("/" + u.Path)
	if prefix == "/" {
		prefix = ""
	}
	return &Endpoint{Scheme: u.Scheme, Address: net.JoinHostPort(u.Hostname(), port), Prefix: prefix}, ""
}

// pathOf is where the jobs of a name expose their metrics. RabbitMQ's own
// default sums all queues up.
func pathOf(job, service string) string {
	switch job {
	case JobService, JobWorker:
		return cmp.Or(service, "/metrics")
	case JobRabbitMQ:
		return "/metrics/per-object"
	}
	return "/metrics"
}

// rank is the order of the jobs in what is generated: as they are declared
// above, others last, in the order of deploy.yaml.
func rank(job string) int {
	known := []string{JobService, JobWorker, JobRedis, JobPostgres, JobRabbitMQ, JobNode, JobCelery, JobPushgateway, JobPrometheus, JobAlertmanager}
	if i := slices.Index(known, job); i >= 0 {
		return i
	}
	return len(known)
}

// folder is where the files of an environment are written: the committed
// ones at the top, those of the sandbox into it.
func folder(environment string) string {
	switch environment {
	case Committed:
		return "."
	case config.DefaultEnvironment:
		return config.SandboxFolder()
	}
	return filepath.Join("generated", environment)
}

// A Generator makes one file of an environment.
type Generator func(Environment) (File, error)

// Generate runs generators. The error holds those of all.
func Generate(e Environment, all ...Generator) ([]File, error) {
	var files []File
	var errs []error
	for _, generate := range all {
		f, err := generate(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("generating: %s: %w", f.Path, err))
		}
		files = append(files, f)
	}
	return files, errors.Join(errs...)
}
