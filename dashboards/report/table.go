package report

import (
	"slices"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// table is rows of cells; the first column heads its row.
type table struct {
	Heads []head
	Rows  [][]cell
	More  int
	Least bool // More is a lower bound
}

type head struct {
	Name  string
	Right bool
}

// Rows that are shown of a table, and of the numbers behind a chart.
const (
	tableRows = 50
	chartRows = 150
)

func tableOf(p *panel.Panel, f *panel.Frame, rows int) *table {
	t := &table{More: max(0, f.Rows-rows), Least: f.Cut}
	shown := f.Rows - t.More
	t.Rows = make([][]cell, shown)
	for i := range f.Columns {
		c := &f.Columns[i]
		field := p.FieldOf(c.Name, c.Kind)
		if field.Hidden {
			continue
		}
		field = aligned(field, c.Values[:shown])
		t.Heads = append(t.Heads, head{fieldName(field, c.Name), c.Kind == panel.Number})
		for row := range shown {
			t.Rows[row] = append(t.Rows[row], cellOf(field, c, c.Values[row]))
		}
	}
	return t
}

// table is the numbers of a chart.
func (c *chart) table() *table {
	at := map[int64]int{}
	var times []int64
	for _, l := range c.all {
		for _, when := range l.series.Times {
			if _, known := at[when.UnixMilli()]; !known {
				at[when.UnixMilli()] = 0
				times = append(times, when.UnixMilli())
			}
		}
	}
	slices.Sort(times)
	t := &table{Heads: []head{{Name: "time (UTC)"}}, More: max(0, len(times)-chartRows)}
	times = times[:len(times)-t.More]
	for i, when := range times {
		at[when] = i
		stamp := time.UnixMilli(when).UTC()
		t.Rows = append(t.Rows, append([]cell{{Text: stamp.Format(c.stampFormat()), Raw: stamp.Format(time.RFC3339), Fixed: true}}, make([]cell, len(c.all))...))
	}
	for n, l := range c.all {
		t.Heads = append(t.Heads, head{l.Name, true})
		for i := range t.Rows {
			t.Rows[i][n+1] = cell{Text: "", Null: true, Right: true}
		}
		column := panel.Column{Kind: panel.Number}
		field := aligned(l.field, l.series.Values)
		for i, when := range l.series.Times {
			if row, shown := at[when.UnixMilli()]; shown && row < len(t.Rows) && when.UnixMilli() == times[row] {
				t.Rows[row][n+1] = cellOf(field, &column, l.series.Values[i])
			}
		}
	}
	return t
}
