package monitoring

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/template"
)

// The parts of the service that follow from the catalog, or from nothing.
//
//go:embed service
var serviceFiles embed.FS

// Where the modules of the service are generated to, and where the sandbox's
// service has its copies.
const (
	MetricsModuleFile = "monitoring/metrics.py"
	serviceBackend    = "internal/sandbox/etfservice/releases/1.0/src/backend/"
)

// MetricsModule generates the service's metrics module, for prometheus_client.
func MetricsModule(Environment) (File, error) {
	content, err := metricsModule(Of(Service))
	return File{Path: MetricsModuleFile, Content: content}, err
}

// pythonMetric is a metric as the module's template needs it.
type pythonMetric struct{ Metric }

// Class is the one of prometheus_client.
func (m pythonMetric) Class() string {
	name := lower(m.Type)
	return strings.ToUpper(name[:1]) + name[1:]
}

// Arguments are those of its constructor.
func (m pythonMetric) Arguments() []string {
	args := []string{pythonString(m.Name), pythonString(m.Meaning)}
	if len(m.Labels) > 0 {
		var names []string
		for _, l := range m.Labels {
			names = append(names, pythonString(l.Name))
		}
		args = append(args, "["+strings.Join(names, ", ")+"]")
	}
	if m.Mode != "" {
		args = append(args, "multiprocess_mode="+pythonString(string(m.Mode)))
	}
	if len(m.Buckets) > 0 {
		args = append(args, "buckets="+pythonTuple(m.Buckets, func(b float64) string { return strconv.FormatFloat(b, 'g', -1, 64) }))
	}
	return args
}

func metricsModule(metrics []Metric) ([]byte, error) {
	var all []pythonMetric
	for _, m := range metrics {
		all = append(all, pythonMetric{m})
	}
	return render("metrics.py.tmpl", "monitoring:generate", all)
}

// render fills in a template of the service's and puts the header before it.
func render(name, target string, data any) ([]byte, error) {
	t, err := template.New(name).Funcs(template.FuncMap{
		"join": strings.Join, "section": sectionName, "tuple": func(values []string) string { return pythonTuple(values, pythonString) },
	}).ParseFS(serviceFiles, "service/"+name)
	if err != nil {
		return nil, fmt.Errorf("reading a template: %w", err)
	}
	var b bytes.Buffer
	b.WriteString(header(target))
	err = t.Execute(&b, data)
	return b.Bytes(), err
}

// pythonString is a literal of Python: JSON's are, whatever they hold.
func pythonString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}

func pythonTuple[T any](values []T, literal func(T) string) string {
	var all []string
	for _, v := range values {
		all = append(all, literal(v))
	}
	if len(all) == 1 {
		return "(" + all[0] + ",)"
	}
	return "(" + strings.Join(all, ", ") + ")"
}

// copyOf is a generated file under the name that it has in the sandbox's service.
func copyOf(generate Generator, path string) Generator {
	return func(e Environment) (File, error) {
		f, err := generate(e)
		f.Path = serviceBackend + path
		return f, err
	}
}
