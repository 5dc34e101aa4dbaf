package report

import (
	"cmp"
	"fmt"
	"html"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// chart is a time series' drawing. Colors are classes: the page has them for
// light, dark and paper.
type chart struct {
	Title, Description string

	field     panel.Field
	interval  time.Duration
	from, to  time.Time
	marks     []mark
	all       []*line // by total, falling
	lines     []*line // those that are drawn
	whole     bool    // all numbers are
	panel     *panel.Panel
	low, high float64
}

type line struct {
	Name  string
	Class string

	series *panel.Series
	field  panel.Field
	total  float64
}

// Legend is what names the lines; MoreLines aren't drawn.
func (c *chart) Legend() []*line { return c.lines }
func (c *chart) MoreLines() int  { return len(c.all) - len(c.lines) }

// Marks are those within the chart's time.
func (c *chart) Marks() []mark { return c.marks }

// maxLines are as many as can be told apart.
const maxLines = 8

// The drawing's size, in its own units.
const (
	width, height           = 960., 250.
	left, right, top, below = 64., 12., 10., 26.
)

func newChart(p *panel.Panel, span panel.Range, to time.Time, marks []mark) *chart {
	c := &chart{panel: p, field: p.Field, interval: span.Interval, from: span.From, to: to, whole: true}
	for _, m := range marks {
		if !m.At.Before(c.from) && m.At.Before(c.to) {
			c.marks = append(c.marks, m)
		}
	}
	return c
}

func (c *chart) add(f *panel.Frame) error {
	if f.Rows == 0 {
		return nil
	}
	series, err := f.AllSeries()
	if err != nil {
		return err
	}
	for _, s := range series {
		field := c.panel.FieldOf(s.Name, panel.Number)
		if s.Name != s.Column {
			named := c.panel.FieldOf(s.Column, panel.Number)
			named.Color = cmp.Or(field.Color, named.Color)
			field = named
		}
		if field.Hidden {
			continue
		}
		l := &line{Name: cmp.Or(fieldName(field, s.Name), "(none)"), series: s, field: field}
		if l.Name == fieldName(panel.Field{}, s.Name) && s.Name != s.Column {
			l.Name = cmp.Or(s.Name, "(none)") // a value, not a name of ours
		}
		for _, v := range s.Values {
			if n, is := v.(panel.Num); is && !math.IsNaN(n.Float) && !math.IsInf(n.Float, 0) {
				l.total += math.Abs(n.Float)
				c.whole = c.whole && n.Float == math.Trunc(n.Float)
			}
		}
		c.all = append(c.all, l)
	}
	slices.SortStableFunc(c.all, func(a, b *line) int { return cmp.Compare(b.total, a.total) })
	c.lines = c.all[:min(len(c.all), maxLines)]
	c.color()
	return nil
}

// color gives each line a class: its own color, or the next that no line has.
func (c *chart) color() {
	used := map[string]bool{}
	for _, l := range c.lines {
		if l.Class = ""; tone(l.field.Color) != "" && !used[tone(l.field.Color)] {
			l.Class = tone(l.field.Color)
			used[l.Class] = true
		}
	}
	next := 1
	taken := map[int]string{1: "blue", 2: "orange", 4: "yellow", 6: "green", 5: "purple", 8: "red"} // by place, what looks alike
	for _, l := range c.lines {
		if l.Class != "" {
			continue
		}
		for next < maxLines && used[taken[next]] {
			next++
		}
		l.Class = fmt.Sprint("c", min(next, maxLines))
		next++
	}
}

func (c *chart) stampFormat() string {
	if c.interval >= aDay {
		return time.DateOnly
	}
	return "2006-01-02 15:04"
}

// buckets are what is drawn, by time: the value of each line, NaN for none.
func (c *chart) buckets() (times []time.Time, values map[int64][]float64) {
	values = map[int64][]float64{}
	for i, l := range c.lines {
		for k, at := range l.series.Times {
			row := values[at.UnixMilli()]
			if row == nil {
				row = slices.Repeat([]float64{math.NaN()}, len(c.lines))
				values[at.UnixMilli()] = row
				times = append(times, at)
			}
			if n, is := l.series.Values[k].(panel.Num); is && !math.IsInf(n.Float, 0) {
				row[i] = n.Float
			}
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	return times, values
}

func (c *chart) stacked() bool { return c.lines[0].field.Stacked }

func (c *chart) x(at time.Time) float64 {
	share := float64(at.Sub(c.from)) / float64(c.to.Sub(c.from))
	return left + math.Min(1, math.Max(0, share))*(width-left-right)
}

func (c *chart) y(v float64) float64 {
	return top + (c.high-v)/(c.high-c.low)*(height-top-below)
}

// SVG draws it. All text in it is escaped.
func (c *chart) SVG(id string) template.HTML {
	times, values := c.buckets()
	ticks := c.span(times, values)
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	esc := html.EscapeString
	p(`<svg class="chart" viewBox="0 0 %g %g" role="img" aria-labelledby="%s-t %[3]s-d">`, width, height, esc(id))
	p(`<title id="%[1]s-t">%[2]s</title><desc id="%[1]s-d">%[3]s</desc>`, esc(id), esc(c.Title), esc(c.summary(times)))
	for _, t := range ticks {
		p(`<line class="grid" x1="%g" x2="%g" y1="%.1f" y2="%.1[3]f"/><text class="tick" x="%g" y="%.1f" text-anchor="end">%s</text>`,
			left, width-right, c.y(t), left-8, c.y(t)+4, esc(axisText(c.lines[0].field, t)))
	}
	for _, t := range timeTicks(c.from, c.to, 8) {
		anchor := "middle"
		if c.x(t.At) > width-right-16 {
			anchor = "end"
		}
		p(`<line class="notch" x1="%.1[1]f" x2="%.1[1]f" y1="%[2]g" y2="%[3]g"/><text class="tick" x="%.1[1]f" y="%[4]g" text-anchor="%[5]s">%[6]s</text>`,
			c.x(t.At), height-below, height-below+4, height-6, anchor, t.Text)
	}
	if c.lines[0].field.Bars {
		c.bars(p, times, values)
	} else {
		c.curves(p, times, values)
	}
	c.thresholds(p)
	for _, m := range c.marks {
		p(`<line class="mark" x1="%.1f" x2="%.1[1]f" y1="%g" y2="%g"><title>%s</title></line>`, c.x(m.At), top, height-below, esc(m.At.Format("2006-01-02 15:04 ")+m.Text))
	}
	p(`<line class="axis" x1="%g" x2="%g" y1="%.1f" y2="%.1[3]f"/>`, left, width-right, c.y(math.Max(c.low, math.Min(0, c.high))))
	c.hovers(p, times, values)
	p(`</svg>`)
	return template.HTML(b.String()) // every text in it went through esc
}

// span sets what the axis reaches from and to, and returns its ticks.
func (c *chart) span(times []time.Time, values map[int64][]float64) []float64 {
	low, high := 0., 0.
	for _, at := range times {
		up, down := 0., 0.
		for _, v := range values[at.UnixMilli()] {
			switch {
			case math.IsNaN(v):
			case !c.stacked():
				high, low = math.Max(high, v), math.Min(low, v)
			case v >= 0:
				up += v
			default:
				down += v
			}
		}
		high, low = math.Max(high, up), math.Min(low, down)
	}
	u, _ := unitOf(c.lines[0].field.Unit)
	by := u.largest(math.Max(high, -low))
	ticks := numberTicks(low/by, high/by, 4, c.whole && by == 1)
	for i := range ticks {
		ticks[i] *= by
	}
	c.low, c.high = ticks[0], ticks[len(ticks)-1]
	return ticks
}

func (c *chart) summary(times []time.Time) string {
	var names []string
	for _, l := range c.lines {
		names = append(names, l.Name)
	}
	return fmt.Sprintf("%s from %s to %s, UTC, %d points of time. The numbers are in the table that follows.",
		strings.Join(names, ", "), c.from.UTC().Format("2006-01-02 15:04"), c.to.UTC().Format("2006-01-02 15:04"), len(times))
}

type printf func(format string, args ...any)

func (c *chart) bars(p printf, times []time.Time, values map[int64][]float64) {
	for _, at := range times {
		x, end := c.x(at), c.x(at.Add(c.interval))
		wide := math.Max(1, end-x-1)
		if !c.stacked() {
			wide = math.Max(1, (end-x-1)/float64(len(c.lines)))
		}
		up, down := 0., 0.
		for i, v := range values[at.UnixMilli()] {
			if math.IsNaN(v) || v == 0 {
				continue
			}
			from := 0.
			if c.stacked() && v > 0 {
				from, up = up, up+v
			} else if c.stacked() {
				from, down = down, down+v
			}
			begin := x
			if !c.stacked() {
				begin += wide * float64(i)
			}
			high, low := c.y(from+math.Max(v, 0)), c.y(from+math.Min(v, 0))
			p(`<rect class="fill %s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, c.lines[i].Class, begin, high, wide, math.Max(low-high, 0.5))
		}
	}
}

// curves break where a bucket is missing.
func (c *chart) curves(p printf, times []time.Time, values map[int64][]float64) {
	for i, l := range c.lines {
		var path strings.Builder
		var last time.Time
		alone := false // the last point has no neighbor yet
		dot := func() {
			if alone {
				p(`<circle class="dot %s" cx="%.1f" cy="%.1f" r="2.5"/>`, l.Class, c.x(last), c.y(values[last.UnixMilli()][i]))
			}
		}
		for _, at := range times {
			v := values[at.UnixMilli()][i]
			if math.IsNaN(v) {
				continue
			}
			command := "L"
			if last.IsZero() || at.Sub(last) > c.interval+c.interval/2 {
				dot()
				command, alone = "M", true
			} else {
				alone = false
			}
			fmt.Fprintf(&path, "%s%.1f %.1f", command, c.x(at), c.y(v))
			last = at
		}
		dot()
		p(`<path class="line %s" d="%s"/>`, l.Class, path.String())
	}
}

func (c *chart) thresholds(p printf) {
	for _, s := range c.field.Steps {
		if s.Value == nil || *s.Value <= c.low || *s.Value >= c.high || c.field.Percentage || words[tone(s.Color)] == "" {
			continue
		}
		p(`<line class="limit %[1]s" x1="%[2]g" x2="%[3]g" y1="%.1[4]f" y2="%.1[4]f"/><text class="tick" x="%[3]g" y="%.1[5]f" text-anchor="end">%[6]s from %[7]s</text>`,
			tone(s.Color), left, width-right, c.y(*s.Value), c.y(*s.Value)-4, words[tone(s.Color)], html.EscapeString(axisText(c.field, *s.Value)))
	}
}

// hovers let a pointer read the numbers, without a script.
func (c *chart) hovers(p printf, times []time.Time, values map[int64][]float64) {
	column := panel.Column{Kind: panel.Number}
	for _, at := range times {
		text := at.UTC().Format(c.stampFormat())
		for i, l := range c.lines {
			if math.IsNaN(values[at.UnixMilli()][i]) {
				continue
			}
			for k, when := range l.series.Times {
				if when.Equal(at) {
					text += "\n" + l.Name + ": " + cellOf(l.field, &column, l.series.Values[k]).Text
				}
			}
		}
		x, end := c.x(at), c.x(at.Add(c.interval))
		if !c.lines[0].field.Bars { // a point stands in the middle
			half := (end - x) / 2
			x, end = x-half, x+half
		}
		p(`<rect class="hover" x="%.1f" y="%g" width="%.1f" height="%g"><title>%s</title></rect>`, x, top, math.Max(end-x, 1), height-top-below, html.EscapeString(text))
	}
}
