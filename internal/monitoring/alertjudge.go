package monitoring

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/goldfinch-etf/etf-deploy/internal/host"
)

// ErrToolMissing says that promtool or amtool is not on this machine.
var ErrToolMissing = errors.New("a tool is missing")

// ErrAlertsFaulty says that the files of alerts do not do what they should.
var ErrAlertsFaulty = errors.New("the alerts are at fault")

// packageOf is the Debian package that brings a tool.
var packageOf = map[string]string{"promtool": "prometheus", "amtool": "prometheus-alertmanager"}

// A Verdict is what one judge said of the files of alerts.
type Verdict struct {
	Judge string `json:"judge"` // the command, “lint”, or “note”: no fault, but worth knowing
	OK    bool   `json:"ok"`
	Text  string `json:"text"` // in short, or all that is wrong
}

// judgeLimit bounds one run of a tool; tests over days take half a minute.
const judgeLimit = 5 * time.Minute

// TestAlerts lets promtool, amtool and our own lint judge the files of alerts
// of an environment as they lie there. Further promtools, such as that of a
// newer version, judge the same. The error wraps ErrToolMissing, or
// ErrAlertsFaulty where a verdict is not OK.
func TestAlerts(ctx context.Context, e Environment, h host.Host, promtools ...string) ([]Verdict, error) {
	files, err := readAlertFiles(e)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("testing alerts: %w: run `go tool mage generate` first", err)
	}
	if err != nil {
		return nil, fmt.Errorf("testing alerts: %w", err)
	}
	verdicts := []Verdict{lintVerdict(files.lint())}
	commands := promtoolCommands(e.Folder, append([]string{"promtool"}, promtools...))
	commands = append(commands, amtoolCommands(e.Folder, files.routes)...)
	judged, err := runAll(ctx, h, commands)
	verdicts = append(verdicts, judged...)
	for _, note := range alertNotes(e) {
		verdicts = append(verdicts, Verdict{judgeNote, true, note})
	}
	if err == nil && slices.ContainsFunc(verdicts, func(v Verdict) bool { return !v.OK }) {
		err = ErrAlertsFaulty
	}
	return verdicts, err
}

const judgeNote = "note"

// alertNotes are what is no fault of the files, and worth knowing.
func alertNotes(e Environment) (all []string) {
	switch {
	case e.Alertmanager == nil:
		all = append(all, "monitoring.alertmanager is not configured: alerts fire in Prometheus, and nobody is called; name it in deploy.yaml")
	case e.Alerts.Watchdog == "":
		all = append(all, "alerts.watchdog is empty: nobody hears when Prometheus or Alertmanager dies, and no alert arrives then; name a dead man's switch in deploy.yaml")
	}
	var missing []string // reasons, in the catalog's order
	names := map[string][]string{}
	for _, a := range Alerts(e) {
		if a.Missing != "" {
			if names[a.Missing] == nil {
				missing = append(missing, a.Missing)
			}
			names[a.Missing] = append(names[a.Missing], a.Name)
		}
	}
	for _, why := range missing {
		all = append(all, fmt.Sprintf("not generated: %s: %s", strings.Join(names[why], ", "), why))
	}
	return all
}

func lintVerdict(problems []string) Verdict {
	if len(problems) == 0 {
		return Verdict{"lint", true, "metrics, runbook, tests, routes, receivers, inhibition, dashboard"}
	}
	return Verdict{"lint", false, strings.Join(problems, "\n")}
}

func promtoolCommands(folder string, tools []string) (all [][]string) {
	for _, tool := range tools {
		all = append(all,
			[]string{tool, "test", "rules", filepath.Join(folder, DayTestsFile)},
			[]string{tool, "test", "rules", filepath.Join(folder, TestsFile)},
			[]string{tool, "check", "rules", filepath.Join(folder, RulesFile)},
			[]string{tool, "check", "config", filepath.Join(folder, PrometheusFile)})
	}
	return all
}

// amtoolCommands check the configuration, and ask for each alert of routes.yml
// which receivers it reaches.
func amtoolCommands(folder string, routes expectedRoutes) [][]string {
	conf := filepath.Join(folder, AlertmanagerFile)
	all := [][]string{{"amtool", "check-config", conf}}
	seen := map[string]bool{}
	for _, r := range routes.Routes {
		var receivers []string
		for _, one := range r.Reach {
			receivers = append(receivers, one.Receiver)
		}
		argv := []string{"amtool", "config", "routes", "test", "--config.file=" + conf, "--verify.receivers=" + strings.Join(receivers, ",")}
		for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
			argv = append(argv, name+"="+promString(r.Labels[name]))
		}
		if key := strings.Join(argv, " "); !seen[key] {
			seen[key], all = true, append(all, argv)
		}
	}
	return all
}

// runAll runs the commands side by side, two at a time, and keeps their order.
func runAll(ctx context.Context, h host.Host, commands [][]string) ([]Verdict, error) {
	verdicts, errs := make([]Verdict, len(commands)), make([]error, len(commands))
	turn := make(chan struct{}, 2)
	var all sync.WaitGroup
	for i, argv := range commands {
		all.Go(func() {
			turn <- struct{}{}
			defer func() { <-turn }()
			verdicts[i], errs[i] = judge(ctx, h, argv)
		})
	}
	all.Wait()
	for i, err := range errs {
		// A tool that is missing fails with each of its commands: once is enough.
		if err != nil && slices.ContainsFunc(errs[:i], func(other error) bool { return other != nil && other.Error() == err.Error() }) {
			errs[i] = nil
		}
	}
	verdicts = slices.DeleteFunc(verdicts, func(v Verdict) bool { return v.Judge == "" })
	return verdicts, errors.Join(errs...)
}

// judge runs one command. That it finds a fault is a verdict, not an error.
func judge(ctx context.Context, h host.Host, argv []string) (Verdict, error) {
	var out strings.Builder
	_, err := h.Run(ctx, host.Command{Argv: argv, Stdout: &out, Stderr: &out, Timeout: judgeLimit})
	var exit *host.ExitError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if pkg := packageOf[argv[0]]; pkg != "" {
			return Verdict{}, fmt.Errorf("testing alerts: %s: %w: install it with: apt-get install --no-install-recommends %s", argv[0], ErrToolMissing, pkg)
		}
		return Verdict{}, fmt.Errorf("testing alerts: %s: %w: there is no such program", argv[0], ErrToolMissing)
	case err != nil && !errors.As(err, &exit):
		return Verdict{}, fmt.Errorf("testing alerts: %s: %w", argv[0], err)
	}
	v := Verdict{Judge: strings.Join(argv, " "), OK: err == nil, Text: strings.TrimSpace(out.String())}
	if v.OK {
		v.Text = "" // what it says when all is well is of no interest
	}
	return v, nil
}

// WriteVerdicts shows what the judges said: a line for each, those of the
// routes as one, and all that is wrong.
func WriteVerdicts(w io.Writer, all []Verdict) error {
	var b strings.Builder
	routes := 0
	for _, v := range all {
		isRoute := strings.HasPrefix(v.Judge, "amtool config routes test ")
		switch {
		case !v.OK:
			fmt.Fprintf(&b, "fault  %s\n       %s\n", v.Judge, strings.ReplaceAll(v.Text, "\n", "\n       "))
		case v.Judge == judgeNote:
			fmt.Fprintf(&b, "note   %s\n", v.Text)
		case isRoute:
			routes++
		default:
			fmt.Fprintf(&b, "ok     %s%s\n", v.Judge, prefixed(": ", v.Text))
		}
	}
	if routes > 0 {
		fmt.Fprintf(&b, "ok     amtool config routes test: %d alerts reach whom they should\n", routes)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func prefixed(prefix, text string) string {
	if text == "" {
		return ""
	}
	return prefix + text
}
