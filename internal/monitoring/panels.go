package monitoring

// panelKind is a type of panel as ours are set up.
type panelKind struct {
	name          string
	width, height int
	instant       bool // shows the present, not a course
	options       any
	custom        any
}

var (
	number = panelKind{name: "stat", width: 6, height: 4, instant: true, options: map[string]any{
		"colorMode": "value", "graphMode": "none", "textMode": "auto", "reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}}
	course = panelKind{name: "timeseries", width: 12, height: 8, options: map[string]any{
		"legend": map[string]any{"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []string{}}, "tooltip": map[string]any{"mode": "multi", "sort": "desc"},
	}, custom: map[string]any{"drawStyle": "line", "fillOpacity": 10, "lineWidth": 1, "showPoints": "never", "spanNulls": false}}
	bars = panelKind{name: "bargauge", width: 12, height: 8, instant: true, options: map[string]any{
		"displayMode": "basic", "orientation": "horizontal", "showUnfilled": true, "reduceOptions": map[string]any{"calcs": []string{"lastNotNull"}, "fields": "", "values": false},
	}}
	density = panelKind{name: "heatmap", width: 12, height: 8, options: map[string]any{
		"calculate": false, "yAxis": map[string]any{"unit": "s"}, "cellGap": 1, "color": map[string]any{"mode": "scheme", "scheme": "Oranges", "steps": 64},
		"tooltip": map[string]any{"mode": "single", "yHistogram": false, "showColorScale": false}, "legend": map[string]any{"show": true},
	}}
)

// A query is an expression and how its series are called.
type query struct{ expr, legend string }

// of makes a panel of this kind.
func (k panelKind) of(title, unit, description string, queries ...query) panel {
	p := panel{
		Type: k.name, Title: title, Description: description, Datasource: &source, Options: k.options,
		GridPos:     gridPos{W: k.width, H: k.height},
		FieldConfig: &fieldConfig{Defaults: fieldDefaults{Unit: unit, Mappings: []any{}, Custom: k.custom}, Overrides: []any{}},
	}
	p.FieldConfig.Defaults.Color = &color{"palette-classic"}
	for i, q := range queries {
		t := target{RefID: string(rune('A' + i)), Datasource: source, Expr: q.expr, LegendFormat: q.legend, Instant: k.instant, Range: !k.instant}
		if k.name == density.name {
			t.Format = "heatmap"
		}
		p.Targets = append(p.Targets, t)
	}
	return p
}

// above colours what lies above these values.
func (p panel) above(warning, critical float64) panel {
	return p.steps(threshold{"green", nil}, threshold{"orange", &warning}, threshold{"red", &critical})
}

// below colours what lies below these values.
func (p panel) below(warning, critical float64) panel {
	return p.steps(threshold{"red", nil}, threshold{"orange", &critical}, threshold{"green", &warning})
}

func (p panel) steps(steps ...threshold) panel {
	config := *p.FieldConfig
	config.Defaults.Color = &color{"thresholds"}
	config.Defaults.Thresholds = &thresholds{"absolute", steps}
	p.FieldConfig = &config
	return p
}

// none is what a panel shows where there is no data.
func (p panel) none(text string) panel {
	config := *p.FieldConfig
	config.Defaults.NoValue = text
	p.FieldConfig = &config
	return p
}

func (p panel) wide(width int) panel {
	p.GridPos.W = width
	return p
}

// A section is a row of the dashboard.
type section struct {
	title  string
	panels []panel
}

// sections are what the dashboard shows of an environment: what nobody in it
// exposes is left out.
func sections(e Environment) []section {
	var all []section
	if e.Collects(JobService, JobWorker) {
		all = append(all, atAGlance, updates)
	}
	all = append(all, queue(e))
	if e.HearsTheSuite() {
		all = append(all, deployments(e))
	}
	return append(all, servers(e), watching(e))
}
