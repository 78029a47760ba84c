package monitoring

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
)

// RoutesFile is where it is written who hears of which alert.
const RoutesFile = "alerts/routes.yml"

// expectedRoutes say of each alert as it arrives whom it reaches, and when: the
// expectation that alerts:test holds Alertmanager's configuration against.
type expectedRoutes struct {
	Routes []routed `yaml:"routes"`
}

type routed struct {
	Labels map[string]string `yaml:"labels"`
	Reach  []reached         `yaml:"reach"`
}

type reached struct {
	Receiver string `yaml:"receiver"`
	After    string `yaml:"after"`
}

// AlertRoutes generates the expectation of alerts × contacts, from the
// severities alone.
func AlertRoutes(e Environment) (File, error) {
	var f expectedRoutes
	for _, a := range generated(e) {
		for _, r := range a.Rules {
			labels := a.labels(e, r)
			labels["alertname"] = a.Name
			one := routed{Labels: labels}
			if a.Severity == None {
				one.Reach = []reached{{e.watchdogReceiver(), "0s"}}
			}
			for i, c := range e.Alerts.Contacts {
				if slices.Contains(heardBy(i), labels[labelSeverity]) {
					one.Reach = append(one.Reach, reached{c.Level, promDuration(e.delay(i))})
				}
			}
			f.Routes = append(f.Routes, one)
		}
	}
	slices.SortStableFunc(f.Routes, func(a, b routed) int { return cmp.Compare(a.Labels["alertname"], b.Labels["alertname"]) })
	return yamlFile(RoutesFile, "alerts:generate", f)
}

// visit calls at for every route that an alert with these labels gets to, as
// Alertmanager walks them: depth first, and on to the next one only behind
// continue. A route inherits the wait of the one above.
func (r route) visit(labels map[string]string, here string, at func(string, route)) {
	taken := false
	for i, one := range r.Routes {
		if !matches(one.Matchers, labels) {
			continue
		}
		taken = true
		one.Wait = cmp.Or(one.Wait, r.Wait)
		one.visit(labels, fmt.Sprintf("%s.routes[%d]", here, i), at)
		if !one.Continue {
			break
		}
	}
	r.last = !taken
	at(here, r)
}

var matcherParts = regexp.MustCompile(`^\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*(.*?)\s*$`)

// matches reports whether labels satisfy all matchers of Alertmanager; one
// that cannot be read is satisfied by none.
func matches(matchers []string, labels map[string]string) bool {
	for _, one := range matchers {
		m := matcherParts.FindStringSubmatch(one)
		if m == nil {
			return false
		}
		value, err := strconv.Unquote(m[3])
		if err != nil {
			value = m[3]
		}
		equal, ok := labelMatch{m[1], m[2], value}.equals(labels[m[1]])
		if !ok || equal == (m[2][0] == '!') {
			return false
		}
	}
	return true
}
