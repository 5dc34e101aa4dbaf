package report

import (
	"strings"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// tile is one number, large.
type tile struct {
	Name  string // "": the panel's title says it
	Value cell
	State string // what its threshold means, in words; "": nothing
	Tone  string
}

// cell is a value as it is shown.
type cell struct {
	Text  string
	Raw   string // the value itself, exact
	Null  bool
	Right bool // aligned as numbers are
	Fixed bool // not to be broken
	Tone  string
}

func cellOf(f panel.Field, c *panel.Column, v any) cell {
	shown := cell{Text: text(f, c.Type, v), Raw: panel.Plain(v), Null: v == nil, Right: c.Kind == panel.Number, Fixed: c.Kind == panel.Time}
	if m := f.Map(v); m != nil {
		shown.Tone = tone(m.Color)
	}
	return shown
}

// tiles are a stat's: a number for each column, of the last row, or for each row.
func tiles(p *panel.Panel, t *panel.Target, f *panel.Frame) (all []tile) {
	if f.Rows == 0 {
		return nil
	}
	if t.Series {
		if series, err := f.AllSeries(); err == nil {
			for _, s := range series {
				c := panel.Column{Name: s.Name, Kind: panel.Number, Values: s.Values}
				all = append(all, tileOf(p, &c, reduce(p.Options.Calcs, s.Values), len(series) > 1))
			}
			return all
		}
	}
	var numbers []*panel.Column
	var names *panel.Column
	for i := range f.Columns {
		switch c := &f.Columns[i]; {
		case c.Kind == panel.Number || p.Options.Fields != "" && c.Kind != panel.Other:
			numbers = append(numbers, c)
		case names == nil && c.Kind == panel.Text:
			names = c
		}
	}
	rows := []int{f.Rows - 1}
	if p.Options.AllValues {
		rows = rows[:0]
		for row := range f.Rows {
			rows = append(rows, row)
		}
	}
	for _, row := range rows {
		for _, c := range numbers {
			made := tileOf(p, c, c.Values[row], len(numbers) > 1)
			if p.Options.AllValues && names != nil {
				made.Name = strings.TrimSpace(panel.Plain(names.Values[row]) + " " + made.Name)
			}
			all = append(all, made)
		}
	}
	return all
}

// reduce makes one value of a series.
func reduce(calcs []string, values []any) any {
	calc := "lastNotNull"
	if len(calcs) > 0 {
		calc = calcs[0]
	}
	if calc == "last" {
		return values[len(values)-1]
	}
	for i := len(values) - 1; i >= 0; i-- {
		if values[i] != nil {
			return values[i]
		}
	}
	return nil
}

func tileOf(p *panel.Panel, c *panel.Column, v any, named bool) tile {
	f := p.FieldOf(c.Name, c.Kind)
	made := tile{Value: cellOf(f, c, v)}
	if v == nil && f.NoValue != "" {
		made.Value.Text = f.NoValue
	}
	if named {
		made.Name = fieldName(f, c.Name)
	}
	if n, isNumber := v.(panel.Num); isNumber {
		made.State, made.Tone = state(f, n)
	}
	if made.Value.Tone != "" {
		made.Tone = made.Value.Tone
	}
	return made
}

func fieldName(f panel.Field, name string) string {
	if f.Name != "" && !strings.Contains(f.Name, "${") {
		return f.Name
	}
	return strings.ReplaceAll(name, "_", " ")
}

// words for what a threshold's color means: nothing is said by color alone.
var words = map[string]string{"green": "in order", "orange": "attention", "yellow": "attention", "red": "alarm"}

// state says which threshold a number has reached.
func state(f panel.Field, n panel.Num) (string, string) {
	if len(f.Steps) < 2 {
		return "", ""
	}
	step, first := f.Step(n.Float)
	if step == nil {
		return "", ""
	}
	color := tone(step.Color)
	says := words[color]
	if says == "" {
		return "", color
	}
	at, comparison := step.Value, " or more"
	if first {
		at, comparison = f.Steps[1].Value, ""
		says += ": below "
	} else {
		says += ": "
	}
	if at == nil || f.Percentage {
		return words[color], color
	}
	return says + axisText(f, *at) + comparison, color
}
