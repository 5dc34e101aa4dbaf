package report

import (
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/shopspring/decimal"

	"github.com/refundguard/refundguard/dashboards/panel"
)

// unit is how a number is written: divided, with a text before or behind.
type unit struct {
	factor        float64 // by which it is multiplied
	before, after string
	steps         []scaleStep // larger units of the same
	decimals      int         // unless the field says; -1: as many as it has, up to 2
}

type scaleStep struct {
	from  float64 // in the unit's own
	by    float64
	after string
}

var (
	durations = []scaleStep{{86400 * 2, 86400, " d"}, {7200, 3600, " h"}, {120, 60, " min"}, {1, 1, " s"}, {0, 0.001, " ms"}}
	binary    = []scaleStep{{1 << 40, 1 << 40, " TiB"}, {1 << 30, 1 << 30, " GiB"}, {1 << 20, 1 << 20, " MiB"}, {1 << 10, 1 << 10, " KiB"}, {0, 1, " B"}}
	thousands = []scaleStep{{1e12, 1e12, " TB"}, {1e9, 1e9, " GB"}, {1e6, 1e6, " MB"}, {1e3, 1e3, " kB"}, {0, 1, " B"}}
)

// units are Grafana's, by id.
var units = map[string]unit{
	"": {factor: 1, decimals: -1}, "none": {factor: 1, decimals: -1}, "short": {factor: 1, decimals: -1}, "locale": {factor: 1, decimals: -1},
	"sishort": {factor: 1, decimals: -1}, "string": {factor: 1, decimals: -1},
	"percentunit": {factor: 100, after: " %", decimals: 1}, "percent": {factor: 1, after: " %", decimals: 1},
	"s": {factor: 1, steps: durations, decimals: -1}, "dtdurations": {factor: 1, steps: durations, decimals: -1}, "ms": {factor: 1e-3, steps: durations, decimals: -1},
	"dtdurationms": {factor: 1e-3, steps: durations, decimals: -1},
	"m":            {factor: 60, steps: durations, decimals: -1}, "h": {factor: 3600, steps: durations, decimals: -1}, "d": {factor: 86400, steps: durations, decimals: -1},
	"bytes": {factor: 1, steps: binary, decimals: -1}, "decbytes": {factor: 1, steps: thousands, decimals: -1},
	"ops": {factor: 1, after: "/s", decimals: -1}, "cps": {factor: 1, after: "/s", decimals: -1}, "reqps": {factor: 1, after: "/s", decimals: -1}, "eps": {factor: 1, after: "/s", decimals: -1}, "rps": {factor: 1, after: "/s", decimals: -1},
	"currencyUSD": {factor: 1, before: "$", decimals: 2}, "currencyEUR": {factor: 1, before: "€", decimals: 2}, "currencyGBP": {factor: 1, before: "£", decimals: 2},
	"currencyJPY": {factor: 1, before: "¥", decimals: 0},
}

// largest is what a number of that size is divided by to be written.
func (u *unit) largest(size float64) float64 {
	for _, step := range u.steps {
		if size*u.factor >= step.from {
			return step.by / u.factor
		}
	}
	return 1 / u.factor
}

// aligned is the field with as many decimals as any of the values needs, up to
// two, so that they stand one under the other.
func aligned(f panel.Field, values []any) panel.Field {
	if u, _ := unitOf(f.Unit); f.Decimals != nil || u.decimals >= 0 || len(u.steps) > 0 {
		return f
	}
	places := 0
	for _, v := range values {
		n, is := v.(panel.Num)
		if !is {
			continue
		}
		exact, err := decimal.NewFromString(n.Text)
		if err != nil || exact.Round(2).IsZero() && !exact.IsZero() {
			return f // each as it is: none must seem to be nothing
		}
		for places < 2 && !exact.Round(int32(places)).Equal(exact) {
			places++
		}
	}
	f.Decimals = &places
	return f
}

// KnowsUnit reports whether numbers of Grafana's unit can be written.
func KnowsUnit(id string) bool {
	_, known := unitOf(id)
	return known
}

func unitOf(id string) (unit, bool) {
	if text, is := strings.CutPrefix(id, "suffix:"); is {
		return unit{factor: 1, after: " " + strings.TrimSpace(text), decimals: -1}, true
	}
	if text, is := strings.CutPrefix(id, "prefix:"); is {
		return unit{factor: 1, before: text, decimals: -1}, true
	}
	if text, is := strings.CutPrefix(id, "currency:"); is {
		return unit{factor: 1, after: " " + text, decimals: 2}, true
	}
	u, known := units[id]
	if !known {
		u = unit{factor: 1, after: " " + id, decimals: -1}
	}
	return u, known
}

// text writes a value as the field wants it, after its mappings.
func text(f panel.Field, typ string, v any) string {
	if m := f.Map(v); m != nil && m.Text != "" {
		return m.Text
	}
	switch x := v.(type) {
	case nil:
		return "–"
	case panel.Num:
		return number(f, x)
	case time.Time:
		if strings.Contains(typ, "Date") && !strings.Contains(typ, "DateTime") {
			return x.Format(time.DateOnly)
		}
		return x.Format("2006-01-02 15:04:05")
	case bool:
		return map[bool]string{true: "yes", false: "no"}[x]
	}
	return panel.Plain(v)
}

func number(f panel.Field, n panel.Num) string {
	if math.IsNaN(n.Float) || math.IsInf(n.Float, 0) {
		return "–"
	}
	u, _ := unitOf(f.Unit)
	exact, err := decimal.NewFromString(n.Text)
	if err != nil {
		return n.Text
	}
	exact = exact.Mul(decimal.NewFromFloat(u.factor))
	after, scaled := u.after, false
	for _, step := range u.steps {
		if exact.IsZero() && step.by < 1 {
			continue // 0 s, not 0 ms
		}
		if size := exact.Abs().InexactFloat64(); size >= step.from || step.from <= 1 && exact.IsZero() {
			exact, after, scaled = exact.Div(decimal.NewFromFloat(step.by)), step.after, true
			break
		}
	}
	places := u.decimals
	switch {
	case f.Decimals != nil && !scaled:
		places = *f.Decimals
	case scaled && !exact.IsInteger():
		places = 1
	case places < 0:
		places = min(2, max(0, -int(exact.Exponent())))
		if rounded := exact.Round(int32(places)); rounded.IsInteger() && exact.IsInteger() {
			places = 0
		} else if rounded.IsZero() && !exact.IsZero() { // not nothing
			return u.before + exact.Truncate(6).String() + after
		}
	}
	return u.before + group(exact.StringFixed(int32(places))) + after
}

// group puts commas between thousands.
func group(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "−", text[1:]
	}
	whole, fraction, has := strings.Cut(text, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		whole += "." + fraction
	}
	return sign + whole
}

// axisText is short: 1.5 k rather than 1,500.
func axisText(f panel.Field, v float64) string {
	u, _ := unitOf(f.Unit)
	if len(u.steps) > 0 || u.factor != 1 || math.Abs(v) < 10_000 {
		f.Decimals = nil
		return strings.Replace(number(f, panel.Num{Float: v, Text: decimal.NewFromFloat(v).String()}), ".0 %", " %", 1)
	}
	for _, big := range []struct {
		by   float64
		name string
	}{{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= big.by {
			return fmt.Sprintf("%s%s %s%s", u.before, decimal.NewFromFloat(v/big.by).Round(2), big.name, u.after)
		}
	}
	return ""
}

// tone is the class of one of Grafana's colors: what it means, where it says so.
func tone(color string) string {
	color = strings.TrimPrefix(strings.TrimPrefix(color, "semi-"), "super-")
	color = strings.TrimPrefix(strings.TrimPrefix(color, "dark-"), "light-")
	switch color {
	case "green", "red", "orange", "yellow", "blue", "purple":
		return color
	}
	return ""
}
