package monitoring

import (
	"fmt"
	"io"
	"path/filepath"
)

// A Part is what one target generates; its value is the target's name.
type Part string

// The parts.
const (
	Everything     Part = "generate"
	MonitoringPart Part = "monitoring:generate"
	LoggingPart    Part = "logging:generate"
	AlertsPart     Part = "alerts:generate"
	RunbookPart    Part = "docs:runbook"
)

// parts says which generators each target has. The copies, which the sandbox's
// service runs with, and what is written into docs, belong to the environment
// that is committed.
var parts = []struct {
	part          Part
	files, copies []Generator
}{
	{
		MonitoringPart,
		[]Generator{Prometheus, Dashboard, MetricsModule},
		[]Generator{copyOf(MetricsModule, "app/core/metrics.py")},
	},
	{
		LoggingPart,
		[]Generator{Logging, LogModule},
		[]Generator{copyOf(Logging, "logging.conf"), copyOf(LogModule, "app/core/jsonlog.py")},
	},
	{
		AlertsPart,
		[]Generator{AlertRules, AlertTests, AlertDayTests, Alertmanager, AlertRoutes},
		[]Generator{AlertsCompared},
	},
	{RunbookPart, []Generator{presentRunbook}, nil},
}

// Files generates the files of a part.
func Files(e Environment, part Part) ([]File, error) {
	var all []Generator
	for _, p := range parts {
		if part != Everything && part != p.part {
			continue
		}
		all = append(all, p.files...)
		if e.Name == Committed {
			all = append(all, p.copies...)
		}
	}
	return Generate(e, all...)
}

// Run generates a part for an environment of deploy.yaml and writes the files
// or, with check, writes none: a difference goes to out, with an error that
// wraps ErrDrift.
func Run(file, environment string, part Part, check bool, out io.Writer) error {
	e, err := Load(file, environment, nil)
	if err != nil {
		return err
	}
	files, err := Files(e, part)
	if err != nil {
		return err
	}
	for _, name := range lostNotes(files) {
		fmt.Fprintf(out, "%s: notes on %s are kept at the end: there is no such alert any more; move them or take them out\n", RunbookFile, name)
	}
	if part == Everything || part == AlertsPart {
		for _, note := range alertNotes(e) {
			fmt.Fprintf(out, "note: %s: %s\n", e.Name, note)
		}
	}
	if check {
		text, err := Check(e.Folder, files)
		fmt.Fprint(out, text)
		return err
	}
	changed, err := Write(e.Folder, files)
	for _, path := range changed {
		fmt.Fprintln(out, "written: "+filepath.Join(e.Folder, path))
	}
	if err == nil {
		fmt.Fprintf(out, "%s: %d files, %d changed\n", e.Name, len(files), len(changed))
	}
	return err
}
