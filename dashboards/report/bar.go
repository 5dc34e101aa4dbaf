package report

import (
	"math"
	"strings"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// bar compares one value with its like.
type bar struct {
	Name  string
	Value cell
	Tone  string
	Width int // of 1000

	size float64
}

// maxBars of a panel are drawn.
const maxBars = 20

func bars(p *panel.Panel, t *panel.Target, f *panel.Frame) (all []bar) {
	q := *p
	q.Options.AllValues = !(t.Series && p.Type == "bargauge")
	add := func(name string, c *panel.Column, v any) {
		field := p.FieldOf(name, panel.Number)
		if c.Name != name {
			field = p.FieldOf(c.Name, c.Kind)
		}
		field = aligned(field, c.Values)
		b := bar{Name: name, Value: cellOf(field, c, v)}
		if n, isNumber := v.(panel.Num); isNumber && !math.IsNaN(n.Float) {
			b.size = math.Max(n.Float, 0)
		}
		if named := p.FieldOf(name, panel.Number); named.Color != "" {
			b.Tone = tone(named.Color)
		}
		all = append(all, b)
	}
	if !q.Options.AllValues {
		if series, err := f.AllSeries(); err == nil {
			for _, s := range series {
				add(s.Name, &panel.Column{Name: s.Name, Kind: panel.Number}, reduce(p.Options.Calcs, s.Values))
			}
		}
		return all
	}
	var names []*panel.Column
	var numbers []*panel.Column
	for i := range f.Columns {
		switch c := &f.Columns[i]; c.Kind {
		case panel.Number:
			numbers = append(numbers, c)
		case panel.Text, panel.Time, panel.Bool:
			names = append(names, c)
		}
	}
	for row := range f.Rows {
		var name []string
		for _, c := range names {
			name = append(name, text(panel.Field{}, c.Type, c.Values[row]))
		}
		for _, c := range numbers {
			label := strings.Join(name, " ")
			if len(numbers) > 1 || label == "" {
				label = strings.TrimSpace(label + " " + fieldName(p.FieldOf(c.Name, c.Kind), c.Name))
			}
			add(label, c, c.Values[row])
		}
	}
	return all
}

// scale makes the longest bar the whole width.
func scale(all []bar) {
	longest := 0.
	for _, b := range all {
		longest = math.Max(longest, b.size)
	}
	for i := range all {
		if longest > 0 {
			all[i].Width = int(math.Round(1000 * all[i].size / longest))
		}
	}
}

// Bar and More are the bars that are drawn, and how many aren't.
func (d *drawn) FirstBars() []bar { return d.Bars[:min(len(d.Bars), maxBars)] }
func (d *drawn) MoreBars() int    { return max(0, len(d.Bars)-maxBars) }
