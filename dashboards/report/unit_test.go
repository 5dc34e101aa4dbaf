package report

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/dashboards/panel"
)

func TestNumbersAsText(t *testing.T) {
	two := 2
	none := 0
	for _, c := range []struct {
		unit     string
		decimals *int
		number   string
		want     string
	}{
		{"short", nil, "1234567", "1,234,567"},
		{"", nil, "-1234.5", "−1,234.5"},
		{"short", nil, "0.00004", "0.00004"},
		{"locale", &two, "98765.125", "98,765.13"},
		{"locale", &two, "1000", "1,000.00"},
		{"none", &none, "2.5", "3"},
		{"percentunit", nil, "0.0375", "3.8 %"},
		{"percent", nil, "12", "12.0 %"},
		{"s", nil, "0", "0 s"},
		{"s", nil, "0.25", "250 ms"},
		{"s", &none, "90", "90 s"},
		{"s", nil, "5400", "90 min"},
		{"s", nil, "9000", "2.5 h"},
		{"s", nil, "604800", "7 d"},
		{"ms", nil, "1500", "1.5 s"},
		{"bytes", nil, "1536", "1.5 KiB"},
		{"decbytes", nil, "2000000", "2 MB"},
		{"currencyUSD", nil, "1234.5", "$1,234.50"},
		{"suffix:per day", nil, "7", "7 per day"},
		{"currency:EUR", nil, "7", "7.00 EUR"},
		{"nobody knows", nil, "7", "7 nobody knows"},
		{"locale", &two, "123456789012345678.1234", "123,456,789,012,345,678.12"}, // exact beyond a float
	} {
		n := panel.Num{Text: c.number}
		n.Float, _ = strconv.ParseFloat(c.number, 64)
		if got := number(panel.Field{Unit: c.unit, Decimals: c.decimals}, n); got != c.want {
			t.Errorf("%s as %q: %q, want %q", c.number, c.unit, got, c.want)
		}
	}
	for _, text := range []string{"NaN", "Inf", "-Inf"} {
		f, _ := strconv.ParseFloat(text, 64)
		if got := number(panel.Field{}, panel.Num{Float: f, Text: text}); got != "–" {
			t.Errorf("%s is %q", text, got)
		}
	}
}

func TestColumnsAreAligned(t *testing.T) {
	for _, c := range []struct{ unit, numbers, want string }{
		{"locale", "1 2.5 3.125", "1.00 2.50 3.13"},
		{"locale", "1 2.5", "1.0 2.5"},
		{"short", "1 2", "1 2"},
		{"short", "1 0.0001", "1 0.0001"}, // not 0.00
		{"s", "1 90.5", "1 s 90.5 s"},
		{"percentunit", "0.5 0.333", "50.0 % 33.3 %"},
	} {
		var values []any
		for _, n := range strings.Fields(c.numbers) {
			f, _ := strconv.ParseFloat(n, 64)
			values = append(values, panel.Num{Float: f, Text: n})
		}
		field := aligned(panel.Field{Unit: c.unit}, values)
		var got []string
		for _, v := range values {
			got = append(got, number(field, v.(panel.Num)))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s as %q: %q, want %q", c.numbers, c.unit, got, c.want)
		}
	}
}

func TestGroupsCanBeReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		text := group(strconv.FormatInt(n, 10))
		for i, part := range strings.Split(strings.TrimPrefix(text, "−"), ",") {
			if len(part) > 3 || i > 0 && len(part) != 3 {
				t.Fatalf("%d is %s", n, text)
			}
		}
		if back, err := strconv.ParseInt(strings.NewReplacer(",", "", "−", "-").Replace(text), 10, 64); err != nil || back != n {
			t.Fatalf("%d is %s", n, text)
		}
	})
}

// Ticks cover what is drawn, rise by the same step, and are few.
func TestNumberTicks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		low := -rapid.Float64Range(0, 1e12).Draw(t, "low")
		high := rapid.Float64Range(0, 1e12).Draw(t, "high")
		ticks := numberTicks(low, high, 4, rapid.Bool().Draw(t, "whole"))
		if len(ticks) < 2 || len(ticks) > 8 || ticks[0] > low || ticks[len(ticks)-1] < high {
			t.Fatalf("%v to %v: %v", low, high, ticks)
		}
		for i := 2; i < len(ticks); i++ {
			if a, b := ticks[1]-ticks[0], ticks[i]-ticks[i-1]; math.Abs(a-b) > 1e-6*a {
				t.Fatalf("%v", ticks)
			}
		}
	})
}

func TestTimeTicks(t *testing.T) {
	from := time.Date(2026, 10, 1, 0, 0, 0, 0, time.UTC)
	for span, want := range map[time.Duration]string{
		time.Minute:          "00:00:00 00:00:15 00:00:30 00:00:45 00:01:00",
		24 * time.Hour:       "1 Oct 03:00 06:00 09:00 12:00 15:00 18:00 21:00 2 Oct",
		7 * 24 * time.Hour:   "1 Oct 2 Oct 3 Oct 4 Oct 5 Oct 6 Oct 7 Oct 8 Oct",
		31 * 24 * time.Hour:  "5 Oct 12 Oct 19 Oct 26 Oct",
		365 * 24 * time.Hour: "Nov 2026 Jan 2027 Mar 2027 May 2027 Jul 2027 Sep 2027",
	} {
		var texts []string
		for _, tick := range timeTicks(from, from.Add(span), 8) {
			texts = append(texts, tick.Text)
		}
		if got := strings.Join(texts, " "); got != want {
			t.Errorf("%v: %s, want %s", span, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Unix(rapid.Int64Range(0, 4e9).Draw(t, "from"), 0).UTC()
		span := time.Duration(rapid.Int64Range(1, 400_000_000).Draw(t, "seconds")) * time.Second
		ticks := timeTicks(at, at.Add(span), 8)
		if len(ticks) > 10 {
			t.Fatalf("%v from %v: %d ticks", span, at, len(ticks))
		}
		for _, tick := range ticks {
			if tick.At.Before(at) || tick.At.After(at.Add(span)) {
				t.Fatalf("%v is outside", tick.At)
			}
		}
	})
}
