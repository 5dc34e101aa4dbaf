package calendar_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/refundguard/refundguard/pipeline/calendar"
)

// model looks at the clock on the wall, minute by minute.
type model struct {
	zone     *time.Location
	hours    map[time.Weekday][][2]int // minutes of the day
	holidays map[date]bool
}

type date struct {
	year  int
	month time.Month
	day   int
}

func dateOf(wall time.Time) (d date) {
	d.year, d.month, d.day = wall.Date()
	return d
}

// open says whether the minute that begins at t is business time.
func (m model) open(t time.Time) bool {
	wall := t.In(m.zone)
	minute := wall.Hour()*60 + wall.Minute()
	return slices.ContainsFunc(m.hours[wall.Weekday()], func(h [2]int) bool { return h[0] <= minute && minute < h[1] }) && !m.holidays[dateOf(wall)]
}

// after walks until d has passed; false if that takes more than 30 days.
func (m model) after(t time.Time, d time.Duration) (time.Time, bool) {
	at := t.Truncate(time.Minute)
	for range 30 * 24 * 60 {
		next := at.Add(time.Minute)
		if m.open(at) {
			from := at
			if from.Before(t) {
				from = t
			}
			if d <= next.Sub(from) {
				return from.Add(d), true
			}
			d -= next.Sub(from)
		}
		at = next
	}
	return t, false
}

// businessDays notes when each date has its last open minute.
func (m model) businessDays(t time.Time, n int) (time.Time, bool) {
	today, ends := t.In(m.zone).Format(time.DateOnly), map[string]time.Time{}
	at := t.Truncate(time.Minute)
	for range 30 * 24 * 60 {
		if m.open(at) {
			if date := at.In(m.zone).Format(time.DateOnly); date > today {
				ends[date] = at.Add(time.Minute)
			}
		}
		if at = at.Add(time.Minute); len(ends) > n+2 {
			break
		}
	}
	dates := []string{}
	for date := range ends {
		dates = append(dates, date)
	}
	slices.Sort(dates)
	if len(dates) < n+2 {
		return t, false
	}
	return ends[dates[n-1]], true
}

// zones with something odd each: quarters of an hour, half an hour or two hours
// of summer time, clocks that change at midnight or a minute after it, dates
// that never were, changes that the moon decides.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Chatham", "Australia/Lord_Howe", "Antarctica/Troll",
	"America/St_Johns", "America/Sao_Paulo", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia", "Pacific/Kwajalein", "Africa/Casablanca", "Asia/Gaza",
	"Europe/Dublin", "Asia/Tehran", "America/Caracas", "Asia/Pyongyang", "Pacific/Kiritimati"}

var names = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// business draws a configuration, and its model.
func business(t *rapid.T, near time.Time, zone *time.Location) (calendar.Config, model) {
	m := model{zone: zone, hours: map[time.Weekday][][2]int{}, holidays: map[date]bool{}}
	c := calendar.Config{Timezone: zone.String(), Hours: map[string]string{}}
	clock := func(minute int) string { return fmt.Sprintf("%02d:%02d", minute/60, minute%60) }
	first := rapid.IntRange(0, 6).Draw(t, "first weekday")
	for i := range rapid.IntRange(1, 7).Draw(t, "weekdays") {
		day := (first + i) % 7
		// Edges near midnight and the hours at which clocks change are likely.
		edge := rapid.OneOf(rapid.IntRange(0, 24*60), rapid.IntRange(0, 4*60), rapid.SampledFrom([]int{0, 1, 60, 120, 180, 23 * 60, 24 * 60}))
		edges := rapid.SliceOfNDistinct(edge, 2, 7, rapid.ID[int]).Draw(t, names[day])
		slices.Sort(edges)
		var texts []string
		for j := 0; j+1 < len(edges); j += 2 {
			m.hours[time.Weekday(day)] = append(m.hours[time.Weekday(day)], [2]int{edges[j], edges[j+1]})
			texts = append(texts, clock(edges[j])+"-"+clock(edges[j+1]))
		}
		c.Hours[names[day]] = strings.Join(rapid.Permutation(texts).Draw(t, "order"), ", ")
	}
	from := near.AddDate(0, 0, rapid.IntRange(-5, 10).Draw(t, "holidays from"))
	for i := range rapid.IntRange(0, 12).Draw(t, "holidays") {
		m.holidays[dateOf(from.AddDate(0, 0, i))] = true
		c.Holidays = append(c.Holidays, from.AddDate(0, 0, i).Format(time.DateOnly))
	}
	return c, m
}

// moment draws a time, mostly one around which a zone changes its clocks.
func moment(t *rapid.T, zone *time.Location) time.Time {
	// Before 1973 there are offsets with seconds, which minutes don't show.
	at := time.Unix(rapid.Int64Range(100_000_000, 7_900_000_000).Draw(t, "moment"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanoseconds"))
	if _, change := at.In(zone).ZoneBounds(); !change.IsZero() && rapid.Bool().Draw(t, "near a change") {
		at = change.Add(time.Duration(rapid.Int64Range(-3*24*3600e9, 3600e9).Draw(t, "from the change")))
	}
	return at.UTC()
}

// After is what walking minute by minute gives, whatever the zone does.
func TestAfterIsTheSlowModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, err := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		if err != nil {
			t.Fatal(err)
		}
		at := moment(t, zone)
		config, slow := business(t, at, zone)
		c, err := calendar.New(config)
		if err != nil {
			t.Fatal(err)
		}
		d := time.Duration(rapid.OneOf(rapid.Int64Range(1, 3600e9), rapid.Int64Range(1, 30*3600e9),
			rapid.Map(rapid.Int64Range(1, 3000), func(minutes int64) int64 { return minutes * 60e9 })).Draw(t, "duration"))
		if want, ok := slow.after(at, d); ok {
			if got := c.After(at, d); !got.Equal(want) || got.Location() != at.Location() {
				t.Fatalf("%v after %v is %v, want %v", d, at.In(zone), got.In(zone), want.In(zone))
			}
		}
		n := rapid.IntRange(1, 8).Draw(t, "business days")
		span, err := calendar.ParseSpan(fmt.Sprintf("%dbd", n))
		if err != nil || !span.Business() {
			t.Fatal(err)
		}
		if want, ok := slow.businessDays(at, n); ok {
			if got := span.After(at, c); !got.Equal(want) {
				t.Fatalf("%d business days after %v end at %v, want %v", n, at.In(zone), got.In(zone), want.In(zone))
			}
		}
	})
}

// Time adds up: what is left of a span may be asked for later.
func TestAfterAddsUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zone, _ := time.LoadLocation(rapid.SampledFrom(zones).Draw(t, "zone"))
		at := moment(t, zone)
		config, _ := business(t, at, zone)
		c, err := calendar.New(config)
		if err != nil {
			t.Fatal(err)
		}
		a := time.Duration(rapid.Int64Range(0, 100*3600e9).Draw(t, "a"))
		b := time.Duration(rapid.Int64Range(1, 100*3600e9).Draw(t, "b"))
		if once, twice := c.After(at, a+b), c.After(c.After(at, a), b); !once.Equal(twice) {
			t.Fatalf("from %v: %v at once, %v in two steps", at, once, twice)
		}
	})
}
