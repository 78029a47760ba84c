package monitoring

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// decimal writes a number for an expression or a series of a test.
func decimal(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// seconds is a duration in an expression.
func seconds(d time.Duration) string { return decimal(d.Seconds()) }

// promString is a string for an expression or for a matcher of Alertmanager; both
// read those of Go.
func promString(s string) string { return strconv.Quote(s) }

// plain keeps a text of the configuration from being read as a template.
func plain(s string) string { return strings.ReplaceAll(s, "{{", `{{"{{"}}`) }

var placeholder = regexp.MustCompile(`\{\{ *(?:\$labels\.(\w+)|\$value \| (\w+)(?: "([^"]+)")?|"(\{\{)") *\}\}`)

// rendered is what Prometheus makes of a text of the catalog, as far as
// those go: a label, or the value in one of three forms.
func rendered(text string, labels map[string]string, value float64) string {
	return placeholder.ReplaceAllStringFunc(text, func(found string) string {
		m := placeholder.FindStringSubmatch(found)
		switch {
		case m[1] != "":
			return labels[m[1]]
		case m[4] != "":
			return m[4]
		case m[2] == "humanizeDuration":
			return humanDuration(value)
		case m[2] == "humanizePercentage":
			return fmt.Sprintf("%.4g%%", value*100)
		}
		return fmt.Sprintf(m[3], value)
	})
}

// humanDuration is Prometheus' humanizeDuration for times of a second and more.
func humanDuration(v float64) string {
	s := int64(math.Abs(v))
	days, hours, minutes := s/86400, s/3600%24, s/60%60
	switch {
	case days > 0:
		return fmt.Sprintf("%dd %dh %dm %ds", days, hours, minutes, s%60)
	case hours > 0:
		return fmt.Sprintf("%dh %dm %ds", hours, minutes, s%60)
	case minutes > 0:
		return fmt.Sprintf("%dm %ds", minutes, s%60)
	}
	return fmt.Sprintf("%.4gs", v)
}
