package monitoring

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// lintDashboard finds what makes a dashboard useless or misleading: data of a
// fixed source, values without a unit, panels without a title or one upon the
// other, rates over a time that does not follow the zoom, series that nobody
// exposes, labels that they do not have. Each problem names its panel.
func lintDashboard(f alertFiles) []string {
	d := f.dashboard
	l := &dashboardLint{files: f}
	variable := slices.ContainsFunc(d.Templating.List, func(v variable) bool { return v.Name == "datasource" && v.Type == "datasource" })
	l.check(variable, "dashboard", "has no variable for its data source")
	l.check(d.SchemaVersion == 42, "dashboard", "has another schema version than 42")
	for _, a := range d.Annotations.List {
		l.check(a.Datasource == source, a.Name, "has a data source of its own")
		l.expression(a.Name, a.Expr)
		l.legend(a.Name, a.Expr, a.TitleFormat+a.TextFormat)
	}
	titles, ids := map[string]bool{}, map[int]bool{}
	for i, p := range d.Panels {
		at := fmt.Sprintf("panel %d %q", p.ID, p.Title)
		l.check(p.Title != "" && !titles[p.Title], at, "has no title, or one that another has")
		l.check(!ids[p.ID], at, "has the number of another")
		titles[p.Title], ids[p.ID] = true, true
		l.place(at, p, d.Panels[:i])
		if p.Type != "row" {
			l.panel(at, p)
		}
	}
	return l.problems
}

type dashboardLint struct {
	files    alertFiles
	problems []string
}

// units are those of Grafana's that our panels use: it shows values of one
// that it does not know without any.
var units = []string{"s", "short", "percentunit", "opm", "bytes", "dateTimeFromNow", "bool_yes_no"}

func (l *dashboardLint) check(holds bool, at, otherwise string) {
	if !holds {
		l.problems = append(l.problems, fmt.Sprintf("%s: %s: %s", DashboardFile, at, otherwise))
	}
}

func (l *dashboardLint) place(at string, p panel, before []panel) {
	g := p.GridPos
	l.check(g.W > 0 && g.H > 0 && g.X >= 0 && g.X+g.W <= gridWidth, at, "does not fit on the grid")
	for _, other := range before {
		o := other.GridPos
		apart := g.X+g.W <= o.X || o.X+o.W <= g.X || g.Y+g.H <= o.Y || o.Y+o.H <= g.Y
		l.check(apart, at, fmt.Sprintf("lies upon panel %d %q", other.ID, other.Title))
	}
}

func (l *dashboardLint) panel(at string, p panel) {
	l.check(p.Datasource != nil && *p.Datasource == source, at, "has a data source of its own")
	unit := ""
	if p.FieldConfig != nil {
		unit = p.FieldConfig.Defaults.Unit
	}
	l.check(unit != "", at, "has no unit")
	l.check(unit == "" || slices.Contains(units, unit), at, fmt.Sprintf("has the unit %s: write one of %s, or add it to these if Grafana has it", unit, strings.Join(units, ", ")))
	l.check(len(p.Targets) > 0, at, "has no query")
	refs := map[string]bool{}
	for _, t := range p.Targets {
		l.check(t.Datasource == source, at, "has a data source of its own")
		l.check(!refs[t.RefID], at, "has two queries of one name")
		l.check(len(p.Targets) == 1 || t.LegendFormat != "", at, "has several queries and does not say which is which")
		refs[t.RefID] = true
		l.expression(at, t.Expr)
		l.legend(at, t.Expr, t.LegendFormat)
	}
}

func (l *dashboardLint) expression(at, expr string) {
	for _, w := range Windows(expr) {
		l.check(w == "$__rate_interval" || w == "$__range", at, fmt.Sprintf("looks at [%s], not at [$__rate_interval] or [$__range]", w))
	}
	names := MetricsIn(expr)
	l.check(len(names) > 0, at, "asks for nothing")
	for _, name := range names {
		l.check(l.files.known(name), at, name+" stands neither in the catalog nor among the metrics of what is collected")
	}
	for _, problem := range l.files.wrongLabels(expr) {
		l.check(false, at, problem)
	}
}

var shown = regexp.MustCompile(`\{\{\s*(\w+)\s*\}\}`)

// legend wants the labels that a text shows among those of the expression.
func (l *dashboardLint) legend(at, expr, text string) {
	s := scanned(expr)
	labels, known := s.visible(l.files.labelsOf, 0, s.size)
	for _, m := range shown.FindAllStringSubmatch(text, -1) {
		l.check(!known || slices.Contains(labels, m[1]), at, "shows the label "+m[1]+", which its series do not have")
	}
}

// DashboardQueries returns each expression of an environment's dashboard by
// the title of its panel, with Grafana's variables filled in for a look at
// the given time's worth of data.
func DashboardQueries(e Environment, span string) map[string][]string {
	d := dashboardOf(e)
	all := map[string][]string{}
	for _, a := range d.Annotations.List {
		all[a.Name] = append(all[a.Name], a.Expr)
	}
	for _, p := range d.Panels {
		for _, t := range p.Targets {
			all[p.Title] = append(all[p.Title], filled(e, t.Expr, span))
		}
	}
	return all
}

// filled is an expression as Grafana sends it: its interval for rates is four
// times that of the collection.
func filled(e Environment, expr, span string) string {
	return strings.NewReplacer("$__rate_interval", promDuration(4*e.Interval), "$__range", span).Replace(expr)
}
