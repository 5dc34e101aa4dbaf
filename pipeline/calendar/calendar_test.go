package calendar_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/refundguard/refundguard/pipeline/calendar"
)

func mustNew(t testing.TB, c calendar.Config) *calendar.Calendar {
	t.Helper()
	cal, err := calendar.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cal
}

var office = calendar.Config{Timezone: "Europe/Berlin", Hours: map[string]string{"mon-fri": "09:00-12:30, 13:30-18:00", "sat": "10:00-14:00"},
	Holidays: []string{"2026-12-24", "2026-12-25", "2026-12-26", "2026-12-31", "2027-01-01"}}

func TestAfter(t *testing.T) {
	night := calendar.Config{Timezone: "Europe/Berlin", Hours: map[string]string{"sun": "01:00-05:00"}}
	all := calendar.Config{Timezone: "Europe/Berlin", Hours: map[string]string{"mon-sun": "00:00-24:00"}}
	for _, c := range []struct {
		config        calendar.Config
		from, d, want string
	}{
		{office, "2026-11-20T17:00:00+01:00", "4h", "2026-11-21T13:00:00+01:00"},  // Friday evening: over on Saturday
		{office, "2026-11-21T13:00:00+01:00", "4h", "2026-11-23T12:00:00+01:00"},  // not on Sunday
		{office, "2026-11-23T12:00:00+01:00", "30m", "2026-11-23T12:30:00+01:00"}, // closing time, not the next opening
		{office, "2026-11-23T12:00:00+01:00", "30m1ns", "2026-11-23T13:30:00.000000001+01:00"},
		{office, "2026-11-23T03:00:00.5+01:00", "1s", "2026-11-23T09:00:01+01:00"}, // before opening nothing passes
		{office, "2026-11-23T09:00:00.5+01:00", "1s", "2026-11-23T09:00:01.5+01:00"},
		{office, "2026-12-23T17:59:00+01:00", "2m", "2026-12-28T09:01:00+01:00"}, // three holidays and a Sunday
		{office, "2026-12-30T18:00:00+01:00", "1m", "2027-01-02T10:01:00+01:00"},
		{office, "2026-12-23T16:59:00Z", "0s", "2026-12-23T16:59:00Z"},
		{office, "2026-12-23T16:59:00Z", "-5m", "2026-12-23T16:59:00Z"},
		{night, "2026-03-29T01:30:00+01:00", "1h", "2026-03-29T03:30:00+02:00"}, // 2 to 3 never comes
		{night, "2026-10-25T01:30:00+02:00", "2h", "2026-10-25T02:30:00+01:00"}, // 2 to 3 comes twice
		{all, "2026-10-24T12:00:00+02:00", "24h", "2026-10-25T11:00:00+01:00"},
		{office, "2126-11-22T12:00:00Z", "8h", "2126-11-23T13:30:00+01:00"}, // a hundred years ahead
	} {
		from, err1 := time.Parse(time.RFC3339Nano, c.from)
		want, err2 := time.Parse(time.RFC3339Nano, c.want)
		d, err3 := time.ParseDuration(c.d)
		if err1 != nil || err2 != nil || err3 != nil {
			t.Fatal(err1, err2, err3)
		}
		if got := mustNew(t, c.config).After(from, d); !got.Equal(want) {
			t.Errorf("%s after %s is %v, want %v", c.d, c.from, got, want)
		}
	}
}

func TestWithoutACalendarEveryMomentCounts(t *testing.T) {
	c := mustNew(t, calendar.Config{})
	if c != nil {
		t.Fatal("the zero configuration is a calendar")
	}
	at := time.Date(2026, 11, 22, 23, 0, 0, 1, time.UTC)
	bd, err := calendar.ParseSpan("3bd")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.After(at, 4*time.Hour); got != at.Add(4*time.Hour) {
		t.Error(got)
	}
	if got := c.After(at, -time.Hour); got != at {
		t.Error(got)
	}
	if got := bd.After(at, c); got != at.Add(72*time.Hour) {
		t.Error(got)
	}
	if err := c.Check(1000 * 24 * time.Hour); err != nil {
		t.Error(err)
	}
}

func TestSpanAfter(t *testing.T) {
	c := mustNew(t, office)
	for _, x := range []struct{ span, from, want string }{
		{"1h", "2026-11-20T17:30:00+01:00", "2026-11-20T18:30:00+01:00"}, // real time, whatever is open
		{"3d", "2026-11-20T17:30:00+01:00", "2026-11-23T17:30:00+01:00"},
		{"2w", "2026-10-20T17:30:00+02:00", "2026-11-03T16:30:00+01:00"},
		{"1bd", "2026-11-20T00:00:00+01:00", "2026-11-21T14:00:00+01:00"},
		{"1bd", "2026-11-20T23:59:59.9+01:00", "2026-11-21T14:00:00+01:00"}, // the same date
		{"1bd", "2026-11-22T12:00:00+01:00", "2026-11-23T18:00:00+01:00"},
		{"3bd", "2026-11-20T10:00:00+01:00", "2026-11-24T18:00:00+01:00"},
		{"2bd", "2026-12-23T10:00:00+01:00", "2026-12-29T18:00:00+01:00"},
		{"1bd", "2026-11-20T23:30:00Z", "2026-11-23T18:00:00+01:00"}, // in Berlin it is Saturday
	} {
		span, err := calendar.ParseSpan(x.span)
		from, err1 := time.Parse(time.RFC3339Nano, x.from)
		want, err2 := time.Parse(time.RFC3339Nano, x.want)
		if err != nil || err1 != nil || err2 != nil {
			t.Fatal(err, err1, err2)
		}
		if got := span.After(from, c); !got.Equal(want) {
			t.Errorf("%s after %s is %v, want %s", x.span, x.from, got, x.want)
		}
	}
}

// In Newfoundland, the first minute of 29 October 2006 was followed by the last
// 59 of the 28th, once more.
func TestABusinessDayEndsTwice(t *testing.T) {
	c := mustNew(t, calendar.Config{Timezone: "America/St_Johns", Hours: map[string]string{"sat": "23:00-24:00", "sun": "00:00-00:01"}})
	span, err := calendar.ParseSpan("1bd")
	if err != nil {
		t.Fatal(err)
	}
	friday := time.Date(2006, 10, 27, 12, 0, 0, 0, time.UTC)
	if got, want := span.After(friday, c), time.Date(2006, 10, 29, 3, 30, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// The longest that settings allow is exact even where a thousand holidays take
// the one day of a week: nothing ends at the horizon.
func TestTheLongestSpansAreExact(t *testing.T) {
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	config := calendar.Config{Timezone: "UTC", Hours: map[string]string{"mon": "23:00-24:00"}}
	// 20 of each 21 weeks are closed: more at a time is refused.
	for week := 0; len(config.Holidays) < 1000; week++ {
		if week%21 != 0 {
			config.Holidays = append(config.Holidays, monday.AddDate(0, 0, 7*week).Format(time.DateOnly))
		}
	}
	c := mustNew(t, config)
	if err := c.Check(52 * time.Hour); err != nil {
		t.Error(err)
	}
	if err := c.Check(52*time.Hour + 1); err == nil || !strings.Contains(err.Error(), "1h0m0s a week") {
		t.Error(err)
	}
	// 1,050 weeks have 50 open Mondays, then each is one.
	if got, want := c.After(monday, 52*time.Hour), monday.AddDate(0, 0, 7*1051+1); !got.Equal(want) {
		t.Errorf("52 h end at %v, want %v", got, want)
	}
	span, err := calendar.ParseSpan("366bd")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := span.After(monday, c), monday.AddDate(0, 0, 7*(1050+316)+1); !got.Equal(want) {
		t.Errorf("366bd end at %v, want %v", got, want)
	}
	if got, want := c.After(monday, 1<<63-1), monday.AddDate(29, 11, 0); got.Before(want) {
		t.Errorf("what Check refuses ends at %v", got)
	}
}

func TestNewRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holidays.txt")
	if err := os.WriteFile(file, []byte("# ours\n2026-12-25 Christmas\n\n25.12.2026\n2026-02-30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	year := []string{}
	for day := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); len(year) < 366; day = day.AddDate(0, 0, 1) {
		year = append(year, day.Format(time.DateOnly))
	}
	week := map[string]string{"mon-fri": "09:00-17:00"}
	hours := func(key, text string) calendar.Config {
		return calendar.Config{Timezone: "UTC", Hours: map[string]string{key: text}}
	}
	many := calendar.Config{Timezone: "UTC", Hours: week}
	for i := range 1001 {
		many.Holidays = append(many.Holidays, time.Date(2027, 1, 1+3*i, 0, 0, 0, 0, time.UTC).Format(time.DateOnly))
	}
	for name, c := range map[string]struct {
		config calendar.Config
		want   string
	}{
		"no zone":        {calendar.Config{Hours: week}, "timezone is missing: name one, such as Europe/Berlin or UTC"},
		"wrong zone":     {calendar.Config{Timezone: "Europe/Berln", Hours: week}, `timezone is "Europe/Berln", which is no time zone: name one, such as Europe/Berlin or UTC`},
		"a path":         {calendar.Config{Timezone: "../../etc/passwd", Hours: week}, `timezone is "../../etc/passwd", which is no time zone: name one, such as Europe/Berlin or UTC`},
		"the machine's":  {calendar.Config{Timezone: "Local", Hours: week}, `timezone is "Local", which is another on each machine: name one, such as Europe/Berlin or UTC`},
		"no hours":       {calendar.Config{Timezone: "UTC"}, `hours is missing: write {mon-fri: "09:00-17:00"}, or {mon-sun: "00:00-24:00"} for all hours`},
		"weekday":        {hours("monday", "09:00-17:00"), "hours.monday: no such weekday; write one of mon, tue, wed, thu, fri, sat, sun, or two of them, such as mon-fri"},
		"half a range":   {hours("mon-", "09:00-17:00"), "hours.mon-: no such weekday; write one of mon, tue, wed, thu, fri, sat, sun, or two of them, such as mon-fri"},
		"midnight":       {hours("fri", "22:00 - 06:00"), `hours.fri is "22:00 - 06:00": 22:00 - 06:00 goes over midnight: write 22:00-24:00 for this day, and 00:00-06:00 for the next`},
		"no length":      {hours("fri", "09:00-09:00"), `hours.fri is "09:00-09:00": 09:00-09:00 has no length; 00:00-24:00 is a whole day`},
		"after midnight": {hours("fri", "09:00-24:01"), `hours.fri is "09:00-24:01": "09:00-24:01" is not an interval such as 09:00-12:30; hours go from 00:00 to 24:00`},
		"a minute 60":    {hours("fri", "09:60-12:00"), `hours.fri is "09:60-12:00": "09:60-12:00" is not an interval such as 09:00-12:30; hours go from 00:00 to 24:00`},
		"short":          {hours("fri", "9:00-12:00"), `hours.fri is "9:00-12:00": "9:00-12:00" is not an interval such as 09:00-12:30; hours go from 00:00 to 24:00`},
		"nothing":        {hours("fri", ""), `hours.fri is "": an interval is missing; write "09:00-12:30, 13:30-18:00", and leave out days that are closed`},
		"overlap":        {hours("fri", "13:00-18:00, 09:00-13:30"), `hours.fri is "13:00-18:00, 09:00-13:30": two intervals overlap at 13:00: make one of them`},
		"twice": {calendar.Config{Timezone: "UTC", Hours: map[string]string{"mon-fri": "09:00-17:00", "thu-sat": "10:00-12:00"}},
			"hours.mon-fri and hours.thu-sat both have thu: give all its hours in one of them"},
		"a date":        {calendar.Config{Timezone: "UTC", Hours: week, Holidays: []string{"2026-12-25", "25.12."}}, `holidays[1] is "25.12.", which is no date such as 2026-12-25`},
		"no file":       {calendar.Config{Timezone: "UTC", Hours: week, HolidaysFile: "/no/such"}, `holidays_file is "/no/such": stat /no/such: no such file or directory`},
		"no such file":  {calendar.Config{Timezone: "UTC", Hours: week, HolidaysFile: "/dev/zero"}, `holidays_file is "/dev/zero": this is no file`},
		"lines":         {calendar.Config{Timezone: "UTC", Hours: week, HolidaysFile: file}, fmt.Sprintf("holidays_file: %[1]s:4: the line begins with \"25.12.2026\", which is no date such as 2026-12-25\nholidays_file: %[1]s:5: the line begins with \"2026-02-30\", which is no date such as 2026-12-25", file)},
		"a closed year": {calendar.Config{Timezone: "UTC", Hours: week, Holidays: year}, "holidays: from 2027-01-01 on there is no business hour for more than a year: a deadline would never pass"},
		"many holidays": {many, "holidays: there are 1001, and at most 1000 are kept: leave out those of past years"},
		"all at once":   {calendar.Config{Timezone: "x", Hours: map[string]string{"x": ""}, Holidays: []string{"x"}}, "timezone is \"x\", which is no time zone: name one, such as Europe/Berlin or UTC\nhours.x: no such weekday; write one of mon, tue, wed, thu, fri, sat, sun, or two of them, such as mon-fri\nholidays[0] is \"x\", which is no date such as 2026-12-25"},
	} {
		if got, err := calendar.New(c.config); err == nil || err.Error() != c.want || got != nil {
			t.Errorf("%s:\n got %v\nwant %v", name, err, c.want)
		}
	}
}

// One closed day less, and the year has an hour.
func TestAYearOfHolidaysLessADay(t *testing.T) {
	config := calendar.Config{Timezone: "UTC", Hours: map[string]string{"mon-sun": "12:00-13:00"}}
	for day := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC); len(config.Holidays) < 366; day = day.AddDate(0, 0, 1) {
		config.Holidays = append(config.Holidays, day.Format(time.DateOnly))
	}
	at := time.Date(2026, 12, 31, 20, 0, 0, 0, time.UTC)
	if got, want := mustNew(t, config).After(at, time.Hour), time.Date(2028, 1, 2, 13, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestKeysOfVariablesAndOtherWeeks(t *testing.T) {
	c := mustNew(t, calendar.Config{Timezone: "Asia/Jerusalem", Hours: map[string]string{"sun_thu": "09:00-17:00"}})
	friday := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	if got, want := c.After(friday, time.Hour), time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestHolidaysFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "holidays.txt")
	if err := os.WriteFile(file, []byte("# ours\r\n2026-11-23\tSome day\r\n\r\n2026-11-24 # another"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := office
	config.HolidaysFile = file
	monday := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	if got, want := mustNew(t, config).After(monday, time.Hour), time.Date(2026, 11, 25, 9, 0, 0, 0, time.UTC); !got.Equal(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if err := os.WriteFile(file, []byte(strings.Repeat("# much\n", 200_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := calendar.New(config); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Error(err)
	}
}

func TestParseSpan(t *testing.T) {
	for text, want := range map[string]string{
		"0d": "must be above 0", "0bd": "must be above 0", "-1h": "must be above 0", "0s": "must be above 0",
		"367bd": "at most 366 days", "367d": "at most 366 days", "53w": "at most 366 days", "9000h": "at most 366 days",
		"99999bd": "is not a time", "": "is not a time", "bd": "is not a time", "3": "is not a time", "-3bd": "is not a time",
		"3 bd": "is not a time", "3.5d": "is not a time", "+3d": "is not a time", "1bd2h": "is not a time",
	} {
		if s, err := calendar.ParseSpan(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseSpan(%q) = %v, %v; want an error about %q", text, s, err, want)
		}
	}
	at := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{"1h": time.Hour, "1h30m": 90 * time.Minute, "366d": 366 * 24 * time.Hour, "52w": 364 * 24 * time.Hour} {
		if s, err := calendar.ParseSpan(text); err != nil || s.Business() || s.After(at, nil) != at.Add(want) {
			t.Errorf("ParseSpan(%q) = %v, %v", text, s, err)
		}
	}
}

// Whatever settings hold is refused, or is a calendar whose answers are not
// before the question, in bounded time.
func FuzzNew(f *testing.F) {
	f.Add("Europe/Berlin", "mon-fri", "09:00-12:30, 13:30-18:00", "2026-12-25", "4h")
	f.Add("UTC", "sun_thu", "22:00-06:00", "2026-02-30", "3bd")
	f.Add("Pacific/Apia", "fri", "00:00-24:00", "2011-12-30", "2w")
	f.Add("America/St_Johns", "mon-sun", "00:00-00:02,23:00-24:00", "0001-01-01", "366bd")
	f.Fuzz(func(t *testing.T, zone, days, hours, holiday, span string) {
		c, err := calendar.New(calendar.Config{Timezone: zone, Hours: map[string]string{days: hours}, Holidays: []string{holiday}})
		if (c == nil) != (err != nil) {
			t.Fatal(c, err)
		}
		at := time.Date(2026, 11, 22, 1, 2, 3, 4, time.UTC)
		s, err := calendar.ParseSpan(span)
		if err != nil {
			return
		}
		latest := at.AddDate(30, 2, 0)
		if got := s.After(at, c); !got.After(at) || got.After(latest) {
			t.Errorf("%s after %v is %v", span, at, got)
		}
		if got := c.After(at, time.Hour); got.Before(at.Add(time.Hour)) || got.After(latest) {
			t.Errorf("an hour after %v is %v", at, got)
		}
	})
}

func BenchmarkAfter(b *testing.B) {
	c, err := calendar.New(office)
	if err != nil {
		b.Fatal(err)
	}
	at := time.Date(2026, 12, 23, 16, 0, 0, 0, time.UTC)
	for name, d := range map[string]time.Duration{"4h": 4 * time.Hour, "a year": 52 * 44 * time.Hour} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				c.After(at, d)
			}
		})
	}
}
