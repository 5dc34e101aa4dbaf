package calendar

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Config says when business is done. The zero value is no calendar.
type Config struct {
	Timezone string `koanf:"timezone"` // IANA name

	// Hours are by weekday ("sat"), or from one to another ("mon-fri", "sun-thu"):
	// one or more intervals, "09:00-12:30, 13:30-18:00".
	Hours map[string]string `koanf:"hours"`

	Holidays     []string `koanf:"holidays"`      // dates, 2026-12-25
	HolidaysFile string   `koanf:"holidays_file"` // one date a line
}

// Bounds of a holidays file.
const (
	maxFile   = 1 << 20
	maxFaults = 10 // that are shown of one file
)

// New makes the calendar; nil, where every moment counts, if c is the zero value.
// It reads the file that c names. The error joins all faults, each of which
// begins with its key.
func New(c Config) (*Calendar, error) {
	if c.Timezone == "" && len(c.Hours) == 0 && len(c.Holidays) == 0 && c.HolidaysFile == "" {
		return nil, nil
	}
	cal := &Calendar{holidays: map[int64]bool{}}
	var errs []error
	fault := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	var err error
	switch cal.zone, err = time.LoadLocation(c.Timezone); {
	case c.Timezone == "":
		fault("timezone is missing: name one, such as Europe/Berlin or UTC")
	case c.Timezone == "Local":
		fault("timezone is \"Local\", which is another on each machine: name one, such as Europe/Berlin or UTC")
	case err != nil:
		fault("timezone is %q, which is no time zone: name one, such as Europe/Berlin or UTC", c.Timezone)
	}
	cal.readHours(c.Hours, fault)
	for i, text := range c.Holidays {
		if day, err := parseDate(text); err != nil {
			fault("holidays[%d] is %w", i, err)
		} else {
			cal.holidays[day] = true
		}
	}
	if c.HolidaysFile != "" {
		cal.readHolidays(c.HolidaysFile, fault)
	}
	if len(cal.holidays) > maxHolidays {
		fault("holidays: there are %d, and at most %d are kept: leave out those of past years", len(cal.holidays), maxHolidays)
	} else if len(errs) == 0 {
		cal.checkClosed(fault)
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return cal, nil
}

type faultf func(format string, args ...any)

// weekdays in the order of time.Weekday.
var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

func (c *Calendar) readHours(hours map[string]string, fault faultf) {
	if len(hours) == 0 {
		fault(`hours is missing: write {mon-fri: "09:00-17:00"}, or {mon-sun: "00:00-24:00"} for all hours`)
	}
	var owner [7]string
	for _, key := range slices.Sorted(maps.Keys(hours)) {
		first, last, ranged := strings.Cut(strings.ReplaceAll(key, "_", "-"), "-") // variables have no -
		from, to := slices.Index(weekdays, first), slices.Index(weekdays, last)
		if !ranged {
			to = from
		}
		if from < 0 || to < 0 {
			fault("hours.%s: no such weekday; write one of mon, tue, wed, thu, fri, sat, sun, or two of them, such as mon-fri", key)
			continue
		}
		intervals, err := parseIntervals(hours[key])
		if err != nil {
			fault("hours.%s is %q: %w", key, hours[key], err)
			continue
		}
		for day := from; ; day = (day + 1) % 7 {
			if owner[day] != "" {
				fault("hours.%s and hours.%s both have %s: give all its hours in one of them", owner[day], key, weekdays[day])
				break
			}
			owner[day], c.hours[day] = key, intervals
			if day == to {
				break
			}
		}
	}
}

// parseIntervals reads "09:00-12:30, 13:30-18:00".
func parseIntervals(text string) (all []interval, err error) {
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		if part == "" {
			return nil, errors.New(`an interval is missing; write "09:00-12:30, 13:30-18:00", and leave out days that are closed`)
		}
		start, end, _ := strings.Cut(part, "-")
		from, fromOK := parseClock(start)
		to, toOK := parseClock(end)
		switch {
		case !fromOK || !toOK:
			return nil, fmt.Errorf("%q is not an interval such as 09:00-12:30; hours go from 00:00 to 24:00", part)
		case from == to:
			return nil, fmt.Errorf("%s has no length; 00:00-24:00 is a whole day", part)
		case from > to:
			return nil, fmt.Errorf("%s goes over midnight: write %s-24:00 for this day, and 00:00-%s for the next", part, strings.TrimSpace(start), strings.TrimSpace(end))
		}
		all = append(all, interval{from, to})
	}
	slices.SortFunc(all, func(a, b interval) int { return int(a.from - b.from) })
	for i := 1; i < len(all); i++ {
		if all[i].from < all[i-1].to {
			return nil, fmt.Errorf("two intervals overlap at %02d:%02d: make one of them", all[i].from/3600, all[i].from/60%60)
		}
	}
	return all, nil
}

// parseClock reads 09:30 as seconds from midnight.
func parseClock(text string) (int64, bool) {
	text = strings.TrimSpace(text)
	if len(text) != 5 || text[2] != ':' {
		return 0, false
	}
	hour, err1 := strconv.ParseUint(text[:2], 10, 8)
	minute, err2 := strconv.ParseUint(text[3:], 10, 8)
	at := int64(hour*60+minute) * 60
	return at, err1 == nil && err2 == nil && minute < 60 && at <= daySeconds
}

func parseDate(text string) (int64, error) {
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return 0, fmt.Errorf("%.40q, which is no date such as 2026-12-25", text)
	}
	return dayOf(t), nil
}

// readHolidays reads a date from each line; what follows it is its name.
func (c *Calendar) readHolidays(name string, fault faultf) {
	content, err := readFile(name)
	if err != nil {
		fault("holidays_file is %q: %w", name, err)
		return
	}
	number, faults := 0, 0
	for line := range strings.Lines(content) {
		number++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		day, err := parseDate(words[0])
		if err == nil {
			c.holidays[day] = true
			continue
		}
		if faults++; faults == maxFaults {
			fault("holidays_file: %s:%d: and so on", name, number)
			return
		}
		fault("holidays_file: %s:%d: the line begins with %w", name, number, err)
	}
}

func readFile(name string) (string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for
		return "", errors.New("this is no file")
	}
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = fmt.Errorf("it is larger than %d MiB", maxFile>>20)
	}
	return string(content), err
}

// checkClosed refuses a calendar that is closed for more than a year at a time.
func (c *Calendar) checkClosed(fault faultf) {
	for _, day := range slices.Sorted(maps.Keys(c.holidays)) {
		closed := int64(0)
		for c.holidays[day+closed] || len(c.hours[weekday(day+closed)]) == 0 {
			if closed++; closed > maxDays {
				fault("holidays: from %s on there is no business hour for more than a year: a deadline would never pass", time.Unix(day*daySeconds, 0).UTC().Format(time.DateOnly))
				return
			}
		}
	}
}
