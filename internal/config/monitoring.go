package config

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// jobName is what serves as a label value without quoting and as a file name.
var jobName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

func (v *validator) monitoring(m Monitoring) {
	v.url("monitoring.prometheus", m.Prometheus, false, "http", "https")
	v.url("monitoring.alertmanager", m.Alertmanager, false, "http", "https")
	v.interval("monitoring.interval", m.Interval)
	v.interval("monitoring.evaluation", m.Evaluation)
	v.url("monitoring.pushgateway", m.Pushgateway, false, "http", "https")
	if m.Textfile != "" {
		v.absolute("monitoring.textfile", m.Textfile)
	}
	if m.Textfile != "" && m.Pushgateway != "" {
		v.fault("monitoring.textfile", "stands beside monitoring.pushgateway: each metric would be there twice; remove one of them")
	}
	v.drillReceiver(m.Receiver)
	names := map[string]int{}
	for i, job := range m.Jobs {
		key := fmt.Sprintf("monitoring.jobs[%d]", i)
		first, twice := names[job.Name]
		switch {
		case job.Name == "":
			v.required(key+".name", job.Name)
		case !jobName.MatchString(job.Name):
			v.fault(key+".name", "%q is not the name of a job; write small letters, digits, _ and -", job.Name)
		case twice:
			v.fault(key+".name", "%q is the name of monitoring.jobs[%d] too; list all targets under one", job.Name, first)
		case job.Name == "prometheus" || job.Name == "alertmanager":
			v.fault(key+".name", "%q follows from monitoring.%[1]s; remove the job", job.Name)
		default:
			names[job.Name] = i
		}
		v.job(key, job)
	}
}

// drillReceiver judges where this program itself listens for alerts.
func (v *validator) drillReceiver(raw string) {
	const key = "monitoring.receiver"
	u := v.url(key, raw, false, "http")
	if u == nil {
		return
	}
	ip := net.ParseIP(u.Hostname())
	if ip == nil || !ip.IsLoopback() || u.Port() == "" || u.Path != "" || u.User != nil {
		v.fault(key, "is no port of this machine; write it like http://127.0.0.1:9095")
	}
}

func (v *validator) job(key string, job Job) {
	if len(job.Targets) == 0 {
		v.fault(key+".targets", "is missing; list what is collected from, like etf1:8000")
	}
	v.each(key+".targets", job.Targets, v.target)
	if job.Scheme != "" {
		v.oneOf(key+".scheme", job.Scheme, "http", "https")
	}
	if job.Path != "" && (job.Path[0] != '/' || strings.ContainsAny(job.Path, "? #\t\r\n")) {
		v.fault(key+".path", "%q is not a path; begin it with a slash, and write no parameters", job.Path)
	}
	if job.Interval != 0 {
		v.interval(key+".interval", job.Interval)
	}
}

// longestInterval leaves Prometheus two collections within the five minutes
// after which it forgets a series.
const longestInterval = 2 * time.Minute

// interval is one that Prometheus can keep: it counts milliseconds.
func (v *validator) interval(key string, d time.Duration) {
	switch {
	case d < time.Millisecond || d%time.Millisecond != 0:
		v.fault(key, "is %s; write a time in whole milliseconds above zero, like 15s", d)
	case d > longestInterval:
		v.fault(key, "is %s; write %s or less: Prometheus forgets a series five minutes after it was collected", d, longestInterval)
	}
}

// target judges the address of something that Prometheus collects from: a
// host and a port, since Prometheus itself would take a missing one for 80.
func (v *validator) target(key, target string) {
	host, port, err := net.SplitHostPort(target)
	n, number := strconv.ParseUint(port, 10, 16)
	switch {
	case target == "":
		v.fault(key, "is empty; write host:port")
	case strings.Contains(target, "://") || strings.ContainsAny(target, "/@ \t\r\n\"'"):
		v.fault(key, "%q is not host:port; scheme and path are keys of the job", target)
	case err != nil && !strings.Contains(target, ":"):
		v.fault(key, "%q has no port; write it like %s:8000", target, target)
	case err != nil || host == "" || number != nil || n == 0:
		v.fault(key, "%q is not host:port, like etf1:8000", target)
	}
}
