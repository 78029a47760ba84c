package monitoring

import (
	"bytes"
	"encoding/json"
)

// DashboardFile is where the dashboard is generated to.
const DashboardFile = "monitoring/dashboards/etf-service.json"

// The parts of Grafana's dashboard model, schema version 42, that ours needs.
type dashboard struct {
	Annotations   annotations `json:"annotations"`
	Description   string      `json:"description"`
	Editable      bool        `json:"editable"`
	GraphTooltip  int         `json:"graphTooltip"` // 1: one crosshair over all panels
	Panels        []panel     `json:"panels"`
	Refresh       string      `json:"refresh"`
	SchemaVersion int         `json:"schemaVersion"`
	Tags          []string    `json:"tags"`
	Templating    templating  `json:"templating"`
	Time          timeRange   `json:"time"`
	Timezone      string      `json:"timezone"`
	Title         string      `json:"title"`
	UID           string      `json:"uid"`
}

type timeRange struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type templating struct {
	List []variable `json:"list"`
}

type variable struct {
	Name    string `json:"name"`
	Label   string `json:"label"`
	Type    string `json:"type"`
	Query   string `json:"query"`
	Refresh int    `json:"refresh"`
	Hide    int    `json:"hide"`
}

type annotations struct {
	List []annotation `json:"list"`
}

type annotation struct {
	Name        string     `json:"name"`
	Datasource  datasource `json:"datasource"`
	Enable      bool       `json:"enable"`
	IconColor   string     `json:"iconColor"`
	Expr        string     `json:"expr"`
	TitleFormat string     `json:"titleFormat"`
	TextFormat  string     `json:"textFormat"`
	Step        string     `json:"step"`
	ValueIsTime bool       `json:"useValueForTime"` // the value is when it happened, in milliseconds
}

type datasource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

type panel struct {
	ID          int          `json:"id"`
	Type        string       `json:"type"`
	Title       string       `json:"title"`
	Description string       `json:"description,omitempty"`
	GridPos     gridPos      `json:"gridPos"`
	Datasource  *datasource  `json:"datasource,omitempty"`
	Targets     []target     `json:"targets,omitempty"`
	FieldConfig *fieldConfig `json:"fieldConfig,omitempty"`
	Options     any          `json:"options,omitempty"`
	Collapsed   *bool        `json:"collapsed,omitempty"` // of a row
	Panels      []panel      `json:"panels,omitempty"`
}

type gridPos struct {
	X int `json:"x"`
	Y int `json:"y"`
	W int `json:"w"`
	H int `json:"h"`
}

type target struct {
	RefID        string     `json:"refId"`
	Datasource   datasource `json:"datasource"`
	Expr         string     `json:"expr"`
	LegendFormat string     `json:"legendFormat,omitempty"`
	Format       string     `json:"format,omitempty"` // heatmap
	Instant      bool       `json:"instant"`
	Range        bool       `json:"range"`
}

type fieldConfig struct {
	Defaults  fieldDefaults `json:"defaults"`
	Overrides []any         `json:"overrides"`
}

type fieldDefaults struct {
	Unit       string      `json:"unit"`
	Min        *float64    `json:"min,omitempty"`
	Color      *color      `json:"color,omitempty"`
	Thresholds *thresholds `json:"thresholds,omitempty"`
	Mappings   []any       `json:"mappings"`
	NoValue    string      `json:"noValue,omitempty"`
	Custom     any         `json:"custom,omitempty"`
}

type color struct {
	Mode string `json:"mode"`
}

type thresholds struct {
	Mode  string      `json:"mode"`
	Steps []threshold `json:"steps"`
}

type threshold struct {
	Color string   `json:"color"`
	Value *float64 `json:"value"` // nil: from the beginning on
}

// source is whichever Prometheus the dashboard's variable names.
var source = datasource{Type: "prometheus", UID: "${datasource}"}

// Dashboard generates the dashboard of an environment, for Grafana.
func Dashboard(e Environment) (File, error) {
	d := dashboardOf(e)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	err := enc.Encode(d)
	return File{Path: DashboardFile, Content: b.Bytes()}, err
}

// dashboardOf holds a row for each section of what the environment collects.
func dashboardOf(e Environment) dashboard {
	d := dashboard{
		Description: "How fresh the ETF data are, how updates go, and what deployments did.\n\n" + headerText("monitoring:generate"),
		Editable:    false, GraphTooltip: 1, Refresh: "30s", SchemaVersion: 42, Tags: []string{"etf", "generated"},
		Time: timeRange{"now-24h", "now"}, Timezone: "utc", Title: "ETF service: " + e.Name, UID: "etf-service-" + e.Name,
		Templating: templating{[]variable{{Name: "datasource", Label: "Prometheus", Type: "datasource", Query: "prometheus", Refresh: 1}}},
	}
	d.Annotations.List = []annotation{}
	if e.HearsTheSuite() {
		d.Annotations.List = append(d.Annotations.List, annotation{
			Name: "Operations", Datasource: source, Enable: true, IconColor: "blue", Step: "60s",
			Expr:        e.ofSuite("etf_deploy_last_operation_timestamp_seconds") + " * 1000",
			TitleFormat: "{{kind}} {{outcome}}", TextFormat: "{{kind}}: {{outcome}}", ValueIsTime: true,
		})
	}
	for _, s := range sections(e) {
		d.row(s)
	}
	return d
}

// HearsTheSuite reports whether what this program measures can arrive.
func (e Environment) HearsTheSuite() bool { return suiteMissing(e) == "" }

// The width of Grafana's grid.
const gridWidth = 24

// row adds a section: its title, and its panels from left to right.
func (d *dashboard) row(s section) {
	if len(s.panels) == 0 {
		return
	}
	open := false
	x, y := 0, d.bottom()
	d.add(panel{Type: "row", Title: s.title, GridPos: gridPos{0, y, gridWidth, 1}, Collapsed: &open})
	y++
	for _, p := range s.panels {
		if x+p.GridPos.W > gridWidth {
			x, y = 0, d.bottom()
		}
		p.GridPos.X, p.GridPos.Y = x, y
		x += p.GridPos.W
		d.add(p)
	}
}

func (d *dashboard) add(p panel) {
	p.ID = len(d.Panels) + 1
	d.Panels = append(d.Panels, p)
}

func (d *dashboard) bottom() (y int) {
	for _, p := range d.Panels {
		y = max(y, p.GridPos.Y+p.GridPos.H)
	}
	return y
}
