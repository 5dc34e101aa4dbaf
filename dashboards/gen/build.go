package main

import (
	"fmt"
	"regexp"
	"strings"
)

const (
	grafanaSchema    = 41 // Grafana 12.0
	clickhousePlugin = "4.10.2"
)

// How a panel is made: stat(…).sql(…).red(1), and so on.

// stat is a tile with one number.
func stat(id int, title, unit, description string) *panel {
	return newPanel(id, "stat", title, unit, description, 4, 4, object{
		"reduceOptions": object{"values": false, "calcs": []string{"lastNotNull"}, "fields": ""},
		"colorMode":     "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "textMode": "auto", "wideLayout": true})
}

// series shows one line for each value of a label.
func series(id int, title, unit, description string) *panel {
	p := newPanel(id, "timeseries", title, unit, description, 12, 8, object{
		"legend":  object{"showLegend": true, "displayMode": "list", "placement": "bottom", "calcs": []string{}},
		"tooltip": object{"mode": "multi", "sort": "desc"}})
	p.FieldConfig.Defaults.Color = object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Min = number(0)
	p.FieldConfig.Defaults.Custom = object{"drawStyle": "line", "lineWidth": 1, "fillOpacity": 10, "showPoints": "auto", "spanNulls": false}
	return p
}

func table(id int, title, description string) *panel {
	p := newPanel(id, "table", title, "none", description, 24, 9, object{"showHeader": true, "cellHeight": "sm"})
	p.FieldConfig.Defaults.Color = object{"mode": "thresholds"}
	p.FieldConfig.Defaults.Custom = object{"align": "auto", "filterable": true}
	return p
}

// bars compares the values of a label.
func bars(id int, title, unit, description string) *panel {
	p := newPanel(id, "bargauge", title, unit, description, 12, 8, object{
		"reduceOptions": object{"values": true, "calcs": []string{"lastNotNull"}, "fields": "", "limit": 20},
		"orientation":   "horizontal", "displayMode": "basic", "valueMode": "color", "showUnfilled": true})
	p.FieldConfig.Defaults.Color = object{"mode": "palette-classic"}
	p.FieldConfig.Defaults.Min = number(0)
	return p
}

// row is a headline over the panels that follow.
func row(id int, title string) *panel {
	open := false
	return &panel{ID: id, Type: "row", Title: title, GridPos: gridPos{H: 1, W: 24}, Collapsed: &open, Panels: []any{}}
}

func newPanel(id int, kind, title, unit, description string, w, h int, options object) *panel {
	return &panel{ID: id, Type: kind, Title: title, Description: description, GridPos: gridPos{W: w, H: h}, Options: options,
		FieldConfig: &fieldConf{Defaults: fieldDefaults{Unit: unit, NoValue: "No data", Color: object{"mode": "thresholds"},
			Thresholds: &thresholds{Mode: "absolute", Steps: []step{{Color: "text"}}}}, Overrides: []override{}}}
}

func number(f float64) *float64 { return &f }
func flag(b bool) *bool         { return &b }

func (p *panel) size(w, h int) *panel {
	p.GridPos.W, p.GridPos.H = w, h
	return p
}

// sql asks ClickHouse. A series has a column time, numbers, and at most one
// text, which names the lines.
func (p *panel) sql(query string) *panel {
	kind, format := "table", 1
	if p.Type == "timeseries" {
		kind, format = "timeseries", 0
	}
	p.Datasource = &clickhouse
	p.Targets = append(p.Targets, target{RefID: string(rune('A' + len(p.Targets))), Datasource: clickhouse, PluginVersion: clickhousePlugin,
		EditorType: "sql", RawSQL: tidy(query), QueryType: kind, Format: format})
	p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, columns(p.Type, query)...)
	return p
}

// ours are the metrics to which the deployment asked for is added.
var ours = regexp.MustCompile(`\b((?:refundguard|go|process)_[a-z0-9_]+)(\{)?`)

// prom asks Prometheus; of all deployments only $job.
func (p *panel) prom(expr, legend string) *panel {
	expr = ours.ReplaceAllStringFunc(tidy(expr), func(found string) string {
		if name, more := strings.CutSuffix(found, "{"); more {
			return name + `{job="$job", `
		}
		return found + `{job="$job"}`
	})
	now := p.Type != "timeseries"
	t := target{RefID: string(rune('A' + len(p.Targets))), Datasource: prometheus, EditorMode: "code", Expr: expr, LegendFormat: legend,
		Instant: flag(now), Range: flag(!now), Format: "time_series"}
	if p.Type == "table" {
		t.Format = "table"
	}
	if p.Type == "bargauge" {
		p.Options["reduceOptions"].(object)["values"] = false
	}
	p.Datasource = &prometheus
	p.Targets = append(p.Targets, t)
	return p
}

// tidy takes the indentation of this source from a query.
func tidy(query string) string {
	var lines []string
	for line := range strings.Lines(query) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

func (p *panel) paint(base string, steps ...step) *panel {
	p.FieldConfig.Defaults.Thresholds.Steps = append([]step{{Color: base}}, steps...)
	if p.Type == "timeseries" {
		p.FieldConfig.Defaults.Custom["thresholdsStyle"] = object{"mode": "dashed"}
	}
	return p
}

func from(value float64, color string) step { return step{Color: color, Value: &value} }

// red is green below a value; orange the same, for what can wait until morning.
func (p *panel) red(at float64) *panel    { return p.paint("green", from(at, "red")) }
func (p *panel) orange(at float64) *panel { return p.paint("green", from(at, "orange")) }

// says shows words for values.
func (p *panel) says(words ...string) *panel {
	texts := object{}
	for i := 0; i+2 < len(words); i += 3 {
		texts[words[i]] = object{"text": words[i+1], "color": words[i+2], "index": i / 3}
	}
	p.FieldConfig.Defaults.Mappings = append(p.FieldConfig.Defaults.Mappings, object{"type": "value", "options": texts})
	return p
}

// none is what stands there where nothing is found, and that is no fault.
func (p *panel) none(text string) *panel {
	p.FieldConfig.Defaults.NoValue = text
	return p
}

// stacked shows bars, one on the other, of at least an interval each.
func (p *panel) stacked(interval string) *panel {
	p.Interval = interval
	custom := p.FieldConfig.Defaults.Custom
	custom["drawStyle"], custom["fillOpacity"], custom["stacking"] = "bars", 70, object{"mode": "normal", "group": "A"}
	return p
}

// every makes the points of a line at least an interval apart.
func (p *panel) every(interval string) *panel {
	p.Interval = interval
	return p
}

func (p *panel) decimals(n int) *panel {
	p.FieldConfig.Defaults.Decimals = &n
	return p
}

// share is of 0 to 1.
func (p *panel) share() *panel {
	p.FieldConfig.Defaults.Max = number(1)
	return p
}

// text shows what a tile says, not a number: the name of its series.
func (p *panel) text() *panel {
	p.Options["textMode"] = "name"
	return p
}

// by names the lines after the values of a column.
func (p *panel) by(label string) *panel {
	p.FieldConfig.Defaults.DisplayName = "${__field.labels." + label + "}"
	for _, c := range palette[label] {
		p.FieldConfig.Overrides = append(p.FieldConfig.Overrides, override{Matcher: object{"id": "byName", "options": c.value},
			Properties: []object{{"id": "color", "value": object{"mode": "fixed", "fixedColor": c.color}}}})
	}
	return p
}

// to makes a tile lead to a dashboard.
func (p *panel) to(name string) *panel {
	p.FieldConfig.Defaults.Links = []object{{"title": "Open " + name, "url": boardURL(name) + keep}}
	return p
}

// finish adds what all dashboards have, and puts panels in place.
func (d *dashboard) finish() {
	d.Tags = []string{"refundguard"}
	d.SchemaVersion, d.Editable, d.GraphTooltip = grafanaSchema, true, 1
	d.Timezone, d.Refresh = "browser", "30s"
	d.Links = []any{object{"type": "dashboards", "tags": []string{"refundguard"}, "title": "refundguard", "asDropdown": false, "includeVars": false,
		"keepTime": true, "targetBlank": false, "icon": "external link", "tooltip": "", "url": ""}}
	for _, v := range d.variables {
		d.Templating.List = append(d.Templating.List, v)
	}
	d.Annotations.List = []any{object{"builtIn": 1, "datasource": object{"type": "grafana", "uid": "-- Grafana --"}, "enable": true, "hide": true,
		"iconColor": "rgba(0, 211, 255, 1)", "name": "Annotations & Alerts", "type": "dashboard"}}
	if d.changes {
		d.Annotations.List = append(d.Annotations.List, rulesetChanges)
	}
	place(d.Panels)
}

// place lets panels flow from left to right, as text does.
func place(panels []*panel) {
	x, y, high := 0, 0, 0
	for _, p := range panels {
		if x+p.GridPos.W > 24 || p.Type == "row" {
			x, y, high = 0, y+high, 0
		}
		p.GridPos.X, p.GridPos.Y = x, y
		x, high = x+p.GridPos.W, max(high, p.GridPos.H)
	}
}

func boardURL(name string) string {
	return fmt.Sprintf("/d/refundguard-%s/refundguard-%s?", name, name)
}

// anySign lets a graph go below 0.
func (p *panel) anySign() *panel {
	p.FieldConfig.Defaults.Min = nil
	return p
}
