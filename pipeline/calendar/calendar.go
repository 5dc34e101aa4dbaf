// Package calendar counts business time: a deadline of four hours that begins on
// a Friday evening ends on Monday.
//
// What a caller can't see: a moment is business time if the clock on the wall of
// the calendar's zone shows a business hour on a date that is no holiday. So an
// hour that a zone repeats in autumn counts twice, one that it leaves out in
// spring never comes, and a date that it skipped has no hours. Zones are those
// of the machine's database, or the embedded one where it has none. A Calendar
// does not change; any number of goroutines can use one.
package calendar

import (
	"fmt"
	"time"
	_ "time/tzdata" // a container may have no database of time zones
)

const (
	daySeconds  = 24 * 60 * 60
	week        = 7 * daySeconds
	maxHolidays = 1_000
	maxWeeks    = 52  // of opening hours: the longest business time
	maxDays     = 366 // the longest span; and no calendar is closed for longer

	// horizon ends every search. It is further than what maxWeeks or maxDays need
	// if the calendar is open on one day a week, and each holiday, and each
	// beginning of summer time, takes one of these.
	horizon = 30 * 366 * daySeconds
)

// Calendar says which moments are business time. In a nil one all are.
type Calendar struct {
	zone     *time.Location
	hours    [7][]interval  // by weekday, Sunday first, as time.Weekday; in order
	holidays map[int64]bool // by day since 1970-01-01
}

// interval is a part of a day, in seconds from its midnight on the wall: [from, to).
type interval struct{ from, to int64 }

// After is the first moment at which d of business time has passed since t: the
// evening's closing time rather than the next morning's opening. It is t for a d
// that is not above 0. Its time grows with the days between. A d that Check
// refuses may give a moment 30 years from t instead.
func (c *Calendar) After(t time.Time, d time.Duration) time.Time {
	if d <= 0 {
		return t
	}
	if c == nil {
		return t.Add(d)
	}
	from := t.Unix()
	left := min(d, 2*horizon*time.Second)
	end := time.Unix(from+horizon, 0)
	c.open(from, func(_, start, stop int64) bool {
		if start == from {
			left += time.Duration(t.Nanosecond()) // of this second, so much has passed
		}
		length := time.Duration(stop-start) * time.Second
		if left <= length {
			end = time.Unix(start, 0).Add(left)
			return false
		}
		left -= length
		return true
	})
	return end.In(t.Location())
}

// Check refuses a d that is more than 52 weeks of opening hours, for which After
// would have to look years ahead. Without a calendar it refuses nothing.
func (c *Calendar) Check(d time.Duration) error {
	if c == nil {
		return nil
	}
	var weekly int64
	for _, day := range c.hours {
		for _, h := range day {
			weekly += h.to - h.from
		}
	}
	open := time.Duration(weekly) * time.Second
	if d > maxWeeks*open {
		return fmt.Errorf("is %v, and the calendar is open for %v a week: that takes more than a year; at most %v", d, open, maxWeeks*open)
	}
	return nil
}

// businessDays is when the n-th day with business time after the date of t ends:
// its last closing time.
func (c *Calendar) businessDays(t time.Time, n int) time.Time {
	last := dayOf(t.In(c.zone))
	end := t.Unix() + horizon
	c.open(t.Unix(), func(day, start, stop int64) bool {
		switch {
		case n > 0 && day > last:
			last, n, end = day, n-1, stop
		case n == 0 && day == last:
			end = stop
		}
		// A clock that is set back at midnight shows the end of a date again
		// after the next one has begun.
		return n > 0 || start < end+2*daySeconds
	})
	return time.Unix(end, 0).In(t.Location())
}

// open visits the stretches of business time from the Unix second from on, in
// order, with the days that they belong to, until visit returns false or the
// horizon is reached. The offset of a zone is constant between two of its
// changes, so that its dates and hours are plain arithmetic there.
func (c *Calendar) open(from int64, visit func(day, start, stop int64) bool) {
	limit := from + horizon
	for at := from; at < limit; {
		t := time.Unix(at, 0).In(c.zone)
		_, seconds := t.Zone()
		offset, until := int64(seconds), limit
		if _, change := t.ZoneBounds(); !change.IsZero() {
			until = min(limit, change.Unix())
		}
		for day := dayOf(t); day*daySeconds-offset < until; day++ {
			if c.holidays[day] {
				continue
			}
			midnight := day*daySeconds - offset
			for _, h := range c.hours[weekday(day)] {
				start, stop := max(at, midnight+h.from), min(until, midnight+h.to)
				if start < stop && !visit(day, start, stop) {
					return
				}
			}
		}
		at = until
	}
}

// dayOf is the date that t shows, in days since 1970-01-01.
func dayOf(t time.Time) int64 {
	_, offset := t.Zone()
	local := t.Unix() + int64(offset)
	day := local / daySeconds
	if local%daySeconds < 0 {
		day--
	}
	return day
}

// weekday of a day since 1970-01-01, a Thursday; 0 is Sunday.
func weekday(day int64) int64 { return ((day+4)%7 + 7) % 7 }
