package panel_test

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
)

func read(t *testing.T) *panel.Dashboard {
	t.Helper()
	data, err := os.ReadFile("testdata/small.json")
	if err != nil {
		t.Fatal(err)
	}
	d, err := panel.Read(data)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestReadADashboard(t *testing.T) {
	d := read(t)
	var titles []string
	for _, p := range d.Panels {
		titles = append(titles, p.Title)
	}
	if want := []string{"Refunds", "By outcome", "Folded", "Inside", "Lag"}; !reflect.DeepEqual(titles, want) {
		t.Errorf("panels in the order %q, want %q", titles, want)
	}
	if got := []int{len(d.Panels[0].Queries()), len(d.Panels[4].Queries())}; !reflect.DeepEqual(got, []int{1, 0}) {
		t.Errorf("%v queries of ClickHouse: a hidden one, or Prometheus', counts", got)
	}
	if d.Panels[1].Interval != time.Hour || !d.Panels[1].Targets[0].Series || d.Panels[0].Targets[0].Series {
		t.Errorf("read %+v %+v", d.Panels[1], d.Panels[1].Targets[0])
	}
	if len(d.Annotations) != 1 || !strings.Contains(d.Annotations[0].Target.RawSQL, "v_ruleset_changes") {
		t.Errorf("annotations %+v", d.Annotations)
	}
	for name, bad := range map[string]string{"no JSON": "{", "an interval": `{"uid":"u","panels":[{"id":7,"interval":"soon"}]}`} {
		if _, err := panel.Read([]byte(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestVariablesOpenAsInGrafana(t *testing.T) {
	d := read(t)
	got := map[string]panel.Value{}
	for _, v := range d.Variables {
		got[v.Name] = v.Value([]string{"USD", "EUR"})
	}
	want := map[string]panel.Value{
		"clickhouse": {},
		"currency":   {Values: []string{"USD"}},
		"rule":       {Values: []string{"USD", "EUR"}, List: true, All: true},
		"mode":       {Values: []string{"live"}, Own: true},
		"search":     {Values: []string{""}, Own: true},
		"saved":      {Values: []string{"JPY"}},
	}
	for name := range want {
		g := got[name]
		if name == "clickhouse" {
			continue
		}
		if !reflect.DeepEqual(g, want[name]) {
			t.Errorf("%s is %+v, want %+v", name, g, want[name])
		}
	}
}

func TestFieldsAndOverrides(t *testing.T) {
	p := read(t).Panels[1]
	if f := p.FieldOf("review", panel.Number); f.Color != "orange" || f.Unit != "short" || !f.Stacked || !f.Bars {
		t.Errorf("%+v", f)
	}
	if f := p.FieldOf("amount", panel.Number); f.Unit != "locale" || f.Decimals == nil || *f.Decimals != 2 || f.Color != "" {
		t.Errorf("%+v", f)
	}
	f := read(t).Panels[0].FieldOf("refunds", panel.Number)
	for value, want := range map[float64]string{-5: "green", 9.99: "green", 10: "red", 1e9: "red"} {
		if step, _ := f.Step(value); step.Color != want {
			t.Errorf("%v is %s, want %s", value, step.Color, want)
		}
	}
	if m := f.Map(panel.Num{Float: 0, Text: "0"}); m == nil || m.Text != "none at all" {
		t.Errorf("0 is mapped to %+v", m)
	}
	if m := f.Map(panel.Num{Float: 700, Text: "700"}); m == nil || m.Text != "many" {
		t.Errorf("700 is mapped to %+v", m)
	}
}

func TestIntervals(t *testing.T) {
	at := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		span   time.Duration
		points int
		panel  panel.Panel
		want   time.Duration
	}{
		{7 * 24 * time.Hour, 120, panel.Panel{}, time.Hour},
		{31 * 24 * time.Hour, 120, panel.Panel{}, 6 * time.Hour},
		{365 * 24 * time.Hour, 120, panel.Panel{}, 24 * time.Hour},
		{time.Hour, 120, panel.Panel{}, 30 * time.Second},
		{time.Hour, 120, panel.Panel{Interval: time.Hour}, time.Hour},
		{7 * 24 * time.Hour, 120, panel.Panel{MaxDataPoints: 7}, 24 * time.Hour},
	} {
		if got := c.panel.IntervalOf(at, at.Add(c.span), c.points); got != c.want {
			t.Errorf("%v in %d points: %v, want %v", c.span, c.points, got, c.want)
		}
	}
}

func column(name, typ string, values ...any) panel.Column {
	return panel.Column{Name: name, Type: typ, Kind: panel.KindOf(typ), Values: values}
}

func num(f float64) panel.Num { return panel.Num{Float: f} }

func TestShapes(t *testing.T) {
	a, b := time.Unix(0, 0).UTC(), time.Unix(3600, 0).UTC()
	times := column("time", "DateTime('UTC')", a, a, b)
	labels := column("outcome", "LowCardinality(String)", "approve", "review", "approve")
	counts := column("n", "UInt64", num(1), num(2), num(3))
	frame := func(rows int, c ...panel.Column) *panel.Frame { return &panel.Frame{Columns: c, Rows: rows} }
	cut := func(c panel.Column, n int) panel.Column { c.Values = c.Values[:n]; return c }
	for _, c := range []struct {
		name, typ string
		series    bool
		all       bool
		frame     *panel.Frame
		says      string // "": fits
	}{
		{"lines by label", "timeseries", true, false, frame(3, times, labels, counts), ""},
		{"labels in a table", "timeseries", false, false, frame(3, times, labels, counts), "format 0"},
		{"two values at once", "timeseries", true, false, frame(3, times, counts), "two values at"},
		{"no numbers", "timeseries", true, false, frame(3, times, labels), "one of numbers"},
		{"no times", "timeseries", true, false, frame(3, labels, counts), "column of times"},
		{"falling times", "timeseries", true, false, frame(2, column("time", "DateTime64(3, 'UTC')", b, a), cut(counts, 2)), "don't rise"},
		{"a row without time", "timeseries", true, false, frame(1, column("time", "Nullable(DateTime)", nil), cut(counts, 1)), "has no time"},
		{"a map", "timeseries", true, false, frame(1, cut(times, 1), cut(counts, 1), column("m", "Map(String, UInt8)", "{}")), "type Map"},
		{"a number", "stat", false, false, frame(1, cut(counts, 1)), ""},
		{"no rows", "stat", false, false, frame(0, cut(counts, 0)), ""},
		{"several rows", "stat", false, false, frame(3, counts), "shows one row"},
		{"all rows", "bargauge", false, true, frame(3, labels, counts), ""},
		{"text", "stat", false, false, frame(1, cut(labels, 1)), "column of numbers"},
		{"names", "barchart", false, false, frame(3, labels, counts), ""},
		{"no names", "piechart", false, false, frame(3, counts), "column of names"},
		{"anything", "table", false, false, frame(1, column("m", "Array(String)", "[]")), ""},
		{"nothing", "table", false, false, frame(0), "needs a column"},
		{"who knows", "nodegraph", false, false, frame(3, counts), "not known"},
	} {
		p := &panel.Panel{Type: c.typ, Options: panel.Options{AllValues: c.all}}
		err := p.Check(&panel.Target{Series: c.series}, c.frame)
		if (c.says == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s, %s: %v; want %q", c.typ, c.name, err, c.says)
		}
	}
}

func TestSeriesAreNamedByTheirLabels(t *testing.T) {
	a, b := time.Unix(0, 0).UTC(), time.Unix(3600, 0).UTC()
	f := &panel.Frame{Rows: 3, Columns: []panel.Column{column("time", "DateTime", a, a, b), column("outcome", "String", "x", "y", "x"), column("n", "UInt64", num(1), num(2), num(3))}}
	all, err := f.AllSeries()
	if err != nil || len(all) != 2 || all[0].Name != "x" || len(all[0].Values) != 2 || all[1].Name != "y" || all[1].Values[0] != num(2) {
		t.Errorf("%+v %v", all, err)
	}
	f.Columns = append(f.Columns, column("amount", "Decimal(18, 4)", num(4), num(5), num(6)))
	if all, err = f.AllSeries(); err != nil || len(all) != 4 || all[1].Name != "amount x" {
		t.Errorf("%+v %v", all, err)
	}
}
