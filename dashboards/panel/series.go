package panel

import (
	"fmt"
	"strings"
	"time"
)

// Series is one line of a time series.
type Series struct {
	Name   string
	Column string // the number's own name
	Times  []time.Time
	Values []any // Num, or nil
}

// AllSeries are the lines of a result, in the order in which they first occur:
// each column of numbers once for each combination of texts, as the data
// source's long format is widened.
func (f *Frame) AllSeries() ([]*Series, error) {
	var times *Column
	var labels, numbers []*Column
	for i := range f.Columns {
		switch c := &f.Columns[i]; c.Kind {
		case Time:
			if times == nil {
				times = c
			}
		case Number:
			numbers = append(numbers, c)
		case Text, Bool:
			labels = append(labels, c)
		default:
			return nil, fmt.Errorf("column %s is of type %s, which is neither a time, a number nor a label", c.Name, c.Type)
		}
	}
	if times == nil {
		return nil, fmt.Errorf("no column is a time")
	}
	if len(numbers) == 0 {
		return nil, fmt.Errorf("no column is a number")
	}
	var all []*Series
	known := map[string]*Series{}
	var last time.Time
	for row := range f.Rows {
		at, isTime := times.Values[row].(time.Time)
		if !isTime {
			return nil, fmt.Errorf("row %d has no time", row)
		}
		if at.Before(last) {
			return nil, fmt.Errorf("times don't rise: %s follows %s; ORDER BY %s", at.Format(time.RFC3339), last.Format(time.RFC3339), times.Name)
		}
		last = at
		var label []string
		for _, c := range labels {
			label = append(label, Plain(c.Values[row]))
		}
		for _, c := range numbers {
			name := c.Name
			if len(labels) > 0 {
				if name = strings.Join(label, " "); len(numbers) > 1 {
					name = c.Name + " " + name
				}
			}
			key := c.Name + "\x00" + strings.Join(label, "\x00")
			s := known[key]
			if s == nil {
				s = &Series{Name: name, Column: c.Name}
				known[key] = s
				all = append(all, s)
			}
			if n := len(s.Times); n > 0 && s.Times[n-1].Equal(at) {
				return nil, fmt.Errorf("series %q has two values at %s", name, at.Format(time.RFC3339))
			}
			s.Times, s.Values = append(s.Times, at), append(s.Values, c.Values[row])
		}
	}
	return all, nil
}

// NoQuery are the panels that ask nothing.
var NoQuery = map[string]bool{"row": true, "text": true, "dashlist": true, "alertlist": true}

// Check says why a panel of that type can't draw the result; nil if it can. An
// empty one has its columns, too.
func (p *Panel) Check(t *Target, f *Frame) error {
	count := map[Kind]int{}
	for _, c := range f.Columns {
		count[c.Kind]++
		if c.Kind != Other {
			continue
		}
		if p.Type != "table" {
			return fmt.Errorf("column %s is of type %s, which a %s panel doesn't draw", c.Name, c.Type, p.Type)
		}
	}
	series := func() error {
		if count[Time] == 0 || count[Number] == 0 {
			return fmt.Errorf("a %s panel needs a column of times and one of numbers", p.Type)
		}
		if count[Text] > 0 && !t.Series {
			return fmt.Errorf("a text column makes series only where the query is asked for as time series (format 0), not as a table")
		}
		_, err := f.AllSeries()
		return err
	}
	switch p.Type {
	case "timeseries", "state-timeline":
		return series()
	case "stat", "gauge", "bargauge":
		if count[Number] == 0 && (p.Type != "stat" || p.Options.Fields == "") {
			return fmt.Errorf("a %s panel needs a column of numbers", p.Type)
		}
		if t.Series && count[Time] > 0 {
			return series()
		}
		if !p.Options.AllValues && f.Rows > 1 {
			return fmt.Errorf("a %s panel shows one row, unless reduceOptions.values is set; there are %d", p.Type, f.Rows)
		}
	case "barchart", "piechart":
		if count[Number] == 0 || count[Text]+count[Time]+count[Bool] == 0 {
			return fmt.Errorf("a %s panel needs a column of names, and one of numbers", p.Type)
		}
	case "table":
		if len(f.Columns) == 0 {
			return fmt.Errorf("a table needs a column")
		}
	default:
		return fmt.Errorf("panels of type %s are not known here", p.Type)
	}
	return nil
}
