package panel

import (
	"encoding/json"
	"maps"
	"slices"
)

// Field says how a column's values are shown.
type Field struct {
	Name       string // in place of the column's own; "": that
	Unit       string // Grafana's id, such as s, percentunit or currencyUSD
	Decimals   *int
	Min, Max   *float64
	NoValue    string
	Color      string // a fixed one, by Grafana's name; "": any
	Hidden     bool
	Bars       bool // a time series is drawn as bars
	Stacked    bool
	Steps      []Step // thresholds, rising; the first has no lower end
	Percentage bool   // Steps are percent of Min to Max
	Mappings   []Mapping
}

// Step is a threshold: from Value on, the color holds.
type Step struct {
	Value *float64 `json:"value"` // nil: from anything on
	Color string   `json:"color"`
}

// Mapping shows a value, or a number within From and To, as a text in a color.
type Mapping struct {
	Value    string
	From, To *float64
	Range    bool
	Text     string // "": the value itself
	Color    string
}

// Override changes the field of some columns.
type Override struct {
	Matcher struct {
		ID      string          `json:"id"`
		Options json.RawMessage `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

type rawThresholds struct {
	Mode  string `json:"mode"`
	Steps []Step `json:"steps"`
}

type rawColor struct {
	Mode       string `json:"mode"`
	FixedColor string `json:"fixedColor"`
}

type rawResult struct {
	Text  string `json:"text"`
	Color string `json:"color"`
}

type rawMapping struct{ all []Mapping }

// UnmarshalJSON leaves out mappings of patterns and of special values.
func (m *rawMapping) UnmarshalJSON(data []byte) error {
	var raw struct {
		Type    string          `json:"type"`
		Options json.RawMessage `json:"options"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	switch raw.Type {
	case "value":
		var options map[string]rawResult
		if err := json.Unmarshal(raw.Options, &options); err != nil {
			return err
		}
		for _, value := range slices.Sorted(maps.Keys(options)) {
			m.all = append(m.all, Mapping{Value: value, Text: options[value].Text, Color: options[value].Color})
		}
	case "range":
		var o struct {
			From, To *float64
			Result   rawResult
		}
		if err := json.Unmarshal(raw.Options, &o); err != nil {
			return err
		}
		m.all = append(m.all, Mapping{Range: true, From: o.From, To: o.To, Text: o.Result.Text, Color: o.Result.Color})
	}
	return nil
}

type rawField struct {
	DisplayName string        `json:"displayName"`
	Unit        string        `json:"unit"`
	Decimals    *int          `json:"decimals"`
	Min         *float64      `json:"min"`
	Max         *float64      `json:"max"`
	NoValue     string        `json:"noValue"`
	Color       rawColor      `json:"color"`
	Thresholds  rawThresholds `json:"thresholds"`
	Mappings    []rawMapping  `json:"mappings"`
	Custom      struct {
		Hidden    bool   `json:"hidden"`
		DrawStyle string `json:"drawStyle"`
		Stacking  struct {
			Mode string `json:"mode"`
		} `json:"stacking"`
	} `json:"custom"`
}

func (r *rawField) field() Field {
	f := Field{Name: r.DisplayName, Unit: r.Unit, Decimals: r.Decimals, Min: r.Min, Max: r.Max, NoValue: r.NoValue,
		Hidden: r.Custom.Hidden, Bars: r.Custom.DrawStyle == "bars", Stacked: r.Custom.Stacking.Mode == "normal" || r.Custom.Stacking.Mode == "percent",
		Steps: r.Thresholds.Steps, Percentage: r.Thresholds.Mode == "percentage", Mappings: mappings(r.Mappings)}
	if r.Color.Mode == "fixed" {
		f.Color = r.Color.FixedColor
	}
	return f
}

func mappings(raw []rawMapping) (all []Mapping) {
	for _, m := range raw {
		all = append(all, m.all...)
	}
	return all
}

// Map is the mapping of a value, or nil.
func (f *Field) Map(v any) *Mapping {
	n, isNumber := v.(Num)
	for i := range f.Mappings {
		switch m := &f.Mappings[i]; {
		case m.Range && isNumber && (m.From == nil || n.Float >= *m.From) && (m.To == nil || n.Float <= *m.To):
			return m
		case !m.Range && v != nil && m.Value == Plain(v):
			return m
		}
	}
	return nil
}

// Step is the threshold that a number has reached, and whether it is the first,
// which everything reaches; nil without thresholds.
func (f *Field) Step(number float64) (reached *Step, first bool) {
	if f.Percentage {
		low, high := 0., 100.
		if f.Min != nil {
			low = *f.Min
		}
		if f.Max != nil {
			high = *f.Max
		}
		number = 100 * (number - low) / (high - low)
	}
	for i := range f.Steps {
		if s := &f.Steps[i]; s.Value == nil || number >= *s.Value {
			reached, first = s, i == 0
		}
	}
	return reached, first
}

// FieldOf is how the panel shows the column of that name: of the defaults, what
// the overrides leave.
func (p *Panel) FieldOf(name string, kind Kind) Field {
	f := p.Field
	for _, o := range p.Overrides {
		if o.matches(name, kind) {
			for _, property := range o.Properties {
				f.set(property.ID, property.Value)
			}
		}
	}
	return f
}

func (o *Override) matches(name string, kind Kind) bool {
	var text string
	switch o.Matcher.ID {
	case "byName":
		return json.Unmarshal(o.Matcher.Options, &text) == nil && text == name
	case "byRegexp":
		if json.Unmarshal(o.Matcher.Options, &text) != nil {
			return false
		}
		return matchesPattern(text, name)
	case "byType":
		return json.Unmarshal(o.Matcher.Options, &text) == nil && text == string(kind)
	}
	return false
}

// set takes one property; what has no meaning here, such as links, is left out.
func (f *Field) set(id string, value json.RawMessage) {
	var err error
	switch id {
	case "displayName":
		err = json.Unmarshal(value, &f.Name)
	case "unit":
		err = json.Unmarshal(value, &f.Unit)
	case "decimals":
		err = json.Unmarshal(value, &f.Decimals)
	case "min":
		err = json.Unmarshal(value, &f.Min)
	case "max":
		err = json.Unmarshal(value, &f.Max)
	case "noValue":
		err = json.Unmarshal(value, &f.NoValue)
	case "custom.hidden":
		err = json.Unmarshal(value, &f.Hidden)
	case "custom.hideFrom":
		var from struct {
			Viz bool `json:"viz"`
		}
		err = json.Unmarshal(value, &from)
		f.Hidden = from.Viz
	case "custom.drawStyle":
		var style string
		err = json.Unmarshal(value, &style)
		f.Bars = style == "bars"
	case "color":
		var c rawColor
		if err = json.Unmarshal(value, &c); c.Mode == "fixed" {
			f.Color = c.FixedColor
		}
	case "thresholds":
		var t rawThresholds
		err = json.Unmarshal(value, &t)
		f.Steps, f.Percentage = t.Steps, t.Mode == "percentage"
	case "mappings":
		var m []rawMapping
		err = json.Unmarshal(value, &m)
		f.Mappings = mappings(m)
	}
	_ = err // Grafana, too, passes over what it can't read
}
