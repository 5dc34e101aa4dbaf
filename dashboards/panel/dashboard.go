// Package panel runs the queries of Grafana dashboards without Grafana: it
// reads their JSON, expands macros and variables as Grafana and its ClickHouse
// data source do, runs the queries and says whether what they give can be drawn.
// README.md says what is taken from where.
package panel

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"
)

// ClickHouse is the type of the data source whose queries are run.
const ClickHouse = "grafana-clickhouse-datasource"

// Dashboard is one file, as far as it is needed to ask and draw.
type Dashboard struct {
	UID         string
	Title       string
	Description string
	Variables   []*Variable
	Annotations []*Annotation
	Panels      []*Panel // as they are read: by row, from left to right; those in rows follow their row
	From, To    string   // the time range it opens with, such as now-7d and now
}

// Panel is one panel, or the heading of a row.
type Panel struct {
	ID            int
	Type          string
	Title         string
	Description   string
	Targets       []*Target
	Interval      time.Duration // the least bucket of time; 0: any
	MaxDataPoints int           // 0: as many as fit
	Field         Field
	Overrides     []Override
	Options       Options

	X, Y, Width, Height int // in Grafana's grid of 24 columns
}

// Target is one query.
type Target struct {
	RefID      string
	Datasource string // its type
	RawSQL     string
	Expr       string // PromQL, where the data source is Prometheus; a variable's is Grafana's label_values(…)
	Series     bool   // asked for as time series: texts are labels
	Hide       bool
	Instant    bool // of Prometheus: as of the end of the time range only
}

// Annotation is what is marked on the time axis.
type Annotation struct {
	Name   string
	Target *Target
}

// Options are what a panel's kind may be told.
type Options struct {
	Calcs     []string // how a series becomes one number; empty: the last one
	AllValues bool     // each row is a number of its own
	Fields    string   // which columns are reduced; "": numbers
	Text      string   // of a text panel
	TextMode  string   // of a stat: name shows the series, not its number
}

type rawRef struct {
	Type string `json:"type"`
}

// UnmarshalJSON takes old dashboards' names of data sources, too.
func (r *rawRef) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '{' {
		return nil
	}
	type plain rawRef
	return json.Unmarshal(data, (*plain)(r))
}

type rawTarget struct {
	RefID      string          `json:"refId"`
	Datasource rawRef          `json:"datasource"`
	RawSQL     string          `json:"rawSql"`
	Expr       string          `json:"expr"`
	Query      string          `json:"query"`  // of Prometheus' variables, instead of expr
	Format     json.RawMessage `json:"format"` // Prometheus' is a word
	QueryType  string          `json:"queryType"`
	Hide       bool            `json:"hide"`
	Instant    bool            `json:"instant"`
}

func (r *rawTarget) target(of rawRef) *Target {
	series := string(r.Format) == "0" || len(r.Format) == 0 && r.QueryType == "timeseries"
	return &Target{RefID: r.RefID, Datasource: cmp.Or(r.Datasource.Type, of.Type), RawSQL: r.RawSQL, Expr: cmp.Or(r.Expr, r.Query), Series: series, Hide: r.Hide, Instant: r.Instant}
}

type rawPanel struct {
	ID            int         `json:"id"`
	Type          string      `json:"type"`
	Title         string      `json:"title"`
	Description   string      `json:"description"`
	Datasource    rawRef      `json:"datasource"`
	Targets       []rawTarget `json:"targets"`
	Interval      string      `json:"interval"`
	MaxDataPoints int         `json:"maxDataPoints"`
	GridPos       struct {
		X int `json:"x"`
		Y int `json:"y"`
		W int `json:"w"`
		H int `json:"h"`
	} `json:"gridPos"`
	FieldConfig struct {
		Defaults  rawField   `json:"defaults"`
		Overrides []Override `json:"overrides"`
	} `json:"fieldConfig"`
	Options struct {
		Content       string `json:"content"`
		TextMode      string `json:"textMode"`
		ReduceOptions struct {
			Calcs  []string `json:"calcs"`
			Values bool     `json:"values"`
			Fields string   `json:"fields"`
		} `json:"reduceOptions"`
	} `json:"options"`
	Panels []rawPanel `json:"panels"`
}

// Read reads one dashboard.
func Read(data []byte) (*Dashboard, error) {
	var raw struct {
		UID         string     `json:"uid"`
		Title       string     `json:"title"`
		Description string     `json:"description"`
		Panels      []rawPanel `json:"panels"`
		Templating  struct {
			List []rawVariable `json:"list"`
		} `json:"templating"`
		Annotations struct {
			List []struct {
				Name       string    `json:"name"`
				Datasource rawRef    `json:"datasource"`
				Target     rawTarget `json:"target"`
			} `json:"list"`
		} `json:"annotations"`
		Time struct {
			From string `json:"from"`
			To   string `json:"to"`
		} `json:"time"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("read the dashboard: %w", err)
	}
	d := &Dashboard{UID: raw.UID, Title: raw.Title, Description: raw.Description, From: raw.Time.From, To: raw.Time.To}
	for _, v := range raw.Templating.List {
		d.Variables = append(d.Variables, v.variable())
	}
	for _, a := range raw.Annotations.List {
		if a.Target.RawSQL != "" || a.Target.Expr != "" {
			d.Annotations = append(d.Annotations, &Annotation{Name: a.Name, Target: a.Target.target(a.Datasource)})
		}
	}
	byPlace := func(a, b rawPanel) int {
		return cmp.Or(cmp.Compare(a.GridPos.Y, b.GridPos.Y), cmp.Compare(a.GridPos.X, b.GridPos.X))
	}
	slices.SortStableFunc(raw.Panels, byPlace)
	for _, p := range raw.Panels {
		for _, p := range append([]rawPanel{p}, p.Panels...) {
			made, err := p.panel()
			if err != nil {
				return nil, fmt.Errorf("dashboard %s, panel %d %q: %w", d.UID, p.ID, p.Title, err)
			}
			d.Panels = append(d.Panels, made)
		}
	}
	return d, nil
}

func (r *rawPanel) panel() (*Panel, error) {
	p := &Panel{ID: r.ID, Type: r.Type, Title: r.Title, Description: r.Description, MaxDataPoints: r.MaxDataPoints,
		Field: r.FieldConfig.Defaults.field(), Overrides: r.FieldConfig.Overrides,
		Options: Options{Calcs: r.Options.ReduceOptions.Calcs, AllValues: r.Options.ReduceOptions.Values, Fields: r.Options.ReduceOptions.Fields, Text: r.Options.Content, TextMode: r.Options.TextMode},
		X:       r.GridPos.X, Y: r.GridPos.Y, Width: r.GridPos.W, Height: r.GridPos.H}
	for _, t := range r.Targets {
		p.Targets = append(p.Targets, t.target(r.Datasource))
	}
	if r.Interval != "" {
		var err error
		if p.Interval, err = parseInterval(strings.TrimPrefix(r.Interval, ">")); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Queries are the panel's visible queries of ClickHouse.
func (p *Panel) Queries() (all []*Target) {
	for _, t := range p.Targets {
		if t.Datasource == ClickHouse && !t.Hide {
			all = append(all, t)
		}
	}
	return all
}

// ReadAll reads every dashboard of a folder, by name.
func ReadAll(files fs.FS) ([]*Dashboard, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, err
	}
	var all []*Dashboard
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the dashboards: %w", err)
		}
		d, err := Read(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path.Base(name), err)
		}
		all = append(all, d)
	}
	return all, nil
}
