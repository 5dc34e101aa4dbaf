// Package report draws Grafana dashboards' ClickHouse panels, for a span of
// time, as one HTML page that needs nothing else: no script, no other file, no
// network. README.md of dashboards says what is drawn how.
package report

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// Options say what is drawn.
type Options struct {
	Dashboards []*panel.Dashboard
	From, To   time.Time // To is not included
	Made       time.Time
	Version    string            // of the program
	Database   string            // that is asked
	Values     map[string]string // of variables; others are as the dashboards open
	Query      func(ctx context.Context, sql string) (*panel.Frame, error)
	Progress   func(done, of int) // may be nil
}

// Report is a page that is ready to be written.
type Report struct {
	Options
	Sections []*section
	Rulesets *drawn
	Chosen   []choice // values of variables that were shown in

	failed []string
	done   int
}

// Failed says which queries failed; the page shows why, each in its place.
func (r *Report) Failed() []string { return r.failed }

// choice is a variable's value.
type choice struct{ Name, Value string }

// section is one dashboard.
type section struct {
	UID, Title, Description string
	Panels                  []*drawn
	Elsewhere               []string // panels that another data source answers
}

// drawn is a panel with what its queries gave.
type drawn struct {
	ID, Title, Description, Type string
	SQL                          []string
	Error                        string
	Empty                        string // what stands where there is no data
	Level                        int    // of its heading
	Size                         string // class: tile, half or full

	Tiles []tile
	Chart *chart
	Bars  []bar
	Table *table
}

// rulesets are in the head of the page.
const rulesets = `SELECT ruleset, min(hour) AS since, sum(refunds) AS refunds FROM v_refunds_hourly WHERE $__timeFilter(hour) GROUP BY ruleset ORDER BY since, ruleset`

// Make asks all queries. A query that fails is shown in its place, and told by
// Failed; the error is ctx's.
func Make(ctx context.Context, o Options) (*Report, error) {
	r := &Report{Options: o}
	total := 1
	for _, d := range o.Dashboards {
		for _, p := range d.Panels {
			total += len(p.Queries())
		}
	}
	r.Rulesets = r.draw(ctx, &panel.Panel{Type: "table", Title: "Rule sets", Targets: []*panel.Target{{Datasource: panel.ClickHouse, RawSQL: rulesets}}}, nil, nil, total)
	r.Rulesets.ID, r.Rulesets.Level = "rulesets", 3
	if r.Rulesets.Error != "" {
		r.failed = append(r.failed, "Rule sets: "+r.Rulesets.Error)
	}
	for _, d := range o.Dashboards {
		if err := r.section(ctx, d, total); err != nil {
			return nil, err
		}
	}
	return r, ctx.Err()
}

func (r *Report) section(ctx context.Context, d *panel.Dashboard, total int) error {
	s := &section{UID: d.UID, Title: strings.TrimPrefix(strings.TrimPrefix(d.Title, "refundguard: "), "refundguard / "), Description: d.Description}
	r.Sections = append(r.Sections, s)
	values := r.variables(ctx, d)
	marks := r.annotations(ctx, d, values)
	level := 3
	for _, p := range d.Panels {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch {
		case p.Type == "row":
			level = 4
			s.Panels = append(s.Panels, &drawn{ID: fmt.Sprintf("%s-%d", d.UID, p.ID), Title: panel.Title(p.Title, values), Type: "row", Level: 3, Size: "full"})
		case len(p.Queries()) > 0:
			drawn := r.draw(ctx, p, values, marks, total)
			drawn.ID, drawn.Level = fmt.Sprintf("%s-%d", d.UID, p.ID), level
			s.Panels = append(s.Panels, drawn)
			if drawn.Error != "" {
				r.failed = append(r.failed, fmt.Sprintf("%s, %s: %s", s.Title, drawn.Title, drawn.Error))
			}
		case !panel.NoQuery[p.Type]:
			s.Elsewhere = append(s.Elsewhere, panel.Title(p.Title, values))
		}
	}
	s.dropEmptyRows()
	return nil
}

// dropEmptyRows leaves out headings under which nothing follows.
func (s *section) dropEmptyRows() {
	var kept []*drawn
	for i, p := range s.Panels {
		if p.Type != "row" || i+1 < len(s.Panels) && s.Panels[i+1].Type != "row" {
			kept = append(kept, p)
		}
	}
	s.Panels = kept
}

// span is what macros are given: Grafana's ranges have their end in them.
func (r *Report) span(p *panel.Panel) panel.Range {
	to := r.To.Add(-time.Millisecond)
	return panel.Range{From: r.From, To: to, Interval: p.IntervalOf(r.From, to, points)}
}

// points are drawn of a time series, at most about as many.
const points = 120

// variables are the dashboard's, those that were given among them.
func (r *Report) variables(ctx context.Context, d *panel.Dashboard) map[string]panel.Value {
	values := map[string]panel.Value{}
	for _, v := range d.Variables {
		if given, is := r.Values[v.Name]; is {
			values[v.Name] = v.Given(given)
			r.choose(v, given)
			continue
		}
		var options []string
		if v.Target != nil && v.Target.Datasource == panel.ClickHouse {
			sql, err := panel.Expand(v.Target.RawSQL, r.span(&panel.Panel{}), values)
			var f *panel.Frame
			if err == nil {
				f, err = r.Query(ctx, sql)
			}
			if err != nil {
				r.failed = append(r.failed, fmt.Sprintf("%s, variable %s: %v", d.Title, v.Name, err))
				continue
			}
			options = f.Options()
		} else if v.Target != nil || v.Type == "datasource" {
			continue
		}
		value := v.Value(options)
		values[v.Name] = value
		if !value.All && len(value.Values) == 1 && value.Values[0] != "" {
			r.choose(v, value.Values[0])
		}
	}
	return values
}

func (r *Report) choose(v *panel.Variable, value string) {
	name := cmp.Or(v.Label, v.Name)
	for _, c := range r.Chosen {
		if c.Name == name {
			return
		}
	}
	r.Chosen = append(r.Chosen, choice{name, value})
}

// mark is an annotation.
type mark struct {
	At   time.Time
	Text string
}

func (r *Report) annotations(ctx context.Context, d *panel.Dashboard, values map[string]panel.Value) (marks []mark) {
	for _, a := range d.Annotations {
		if a.Target.Datasource != panel.ClickHouse {
			continue
		}
		sql, err := panel.Expand(a.Target.RawSQL, r.span(&panel.Panel{}), values)
		var f *panel.Frame
		if err == nil {
			f, err = r.Query(ctx, sql)
		}
		if err != nil {
			r.failed = append(r.failed, fmt.Sprintf("%s, annotation %s: %v", d.Title, a.Name, err))
			continue
		}
		for row := range f.Rows {
			m := mark{Text: a.Name}
			for _, c := range f.Columns {
				if at, isTime := c.Values[row].(time.Time); isTime && m.At.IsZero() {
					m.At = at
				}
				if c.Name == "text" {
					m.Text = panel.Plain(c.Values[row])
				}
			}
			if !m.At.IsZero() {
				marks = append(marks, m)
			}
		}
	}
	return marks
}

// draw asks a panel's queries.
func (r *Report) draw(ctx context.Context, p *panel.Panel, values map[string]panel.Value, marks []mark, total int) *drawn {
	d := &drawn{Title: panel.Title(p.Title, values), Description: panel.Title(p.Description, values), Type: p.Type, Empty: p.Field.NoValue, Size: "full"}
	if d.Empty == "" {
		d.Empty = "No data"
	}
	var frames []*panel.Frame
	span := r.span(p)
	for _, t := range p.Queries() {
		sql, err := panel.Expand(t.RawSQL, span, values)
		d.SQL = append(d.SQL, sql)
		var f *panel.Frame
		if err == nil {
			f, err = r.Query(ctx, sql)
		}
		if err == nil {
			err = p.Check(t, f)
		}
		if r.done++; r.Progress != nil {
			r.Progress(r.done, total)
		}
		if err != nil {
			d.Error = err.Error()
			return d
		}
		frames = append(frames, f)
	}
	d.show(p, frames, span, r.To, marks)
	return d
}

// show chooses how a panel of that type is drawn.
func (d *drawn) show(p *panel.Panel, frames []*panel.Frame, span panel.Range, to time.Time, marks []mark) {
	switch p.Type {
	case "stat", "gauge":
		d.Size = "tile"
		for i, f := range frames {
			d.Tiles = append(d.Tiles, tiles(p, p.Queries()[i], f)...)
		}
		if len(d.Tiles) > 1 {
			d.Size = "full"
		}
	case "bargauge", "barchart", "piechart":
		d.Size = "half"
		for i, f := range frames {
			d.Bars = append(d.Bars, bars(p, p.Queries()[i], f)...)
		}
		scale(d.Bars)
	case "timeseries", "state-timeline":
		c := newChart(p, span, to, marks)
		for _, f := range frames {
			if err := c.add(f); err != nil {
				d.Error = err.Error()
				return
			}
		}
		if len(c.lines) > 0 {
			c.Title, c.Description = d.Title, d.Description
			d.Chart, d.Table = c, c.table()
		}
	default:
		for _, f := range frames {
			if f.Rows > 0 {
				d.Table = tableOf(p, f, tableRows)
			}
		}
	}
}

// Shown says whether there is anything but Empty.
func (d *drawn) Shown() bool {
	return len(d.Tiles)+len(d.Bars) > 0 || d.Chart != nil || d.Table != nil
}
