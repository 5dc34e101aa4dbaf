package calendar

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Span is how long something takes, as settings say it: real time ("1h", "3d",
// "2w"), or business days ("3bd").
type Span struct {
	real time.Duration
	days int // of business; 0: real counts
}

// ParseSpan reads a span above 0 and of at most 366 days.
func ParseSpan(text string) (Span, error) {
	s, ok := parseSpan(text)
	switch {
	case !ok:
		return Span{}, fmt.Errorf("%.40q is not a time such as 1h, 3d, 2w, or 3bd for business days", text)
	case s.real <= 0 && s.days <= 0:
		return Span{}, fmt.Errorf("%q: it must be above 0", text)
	case s.real > maxDays*daySeconds*time.Second || s.days > maxDays:
		return Span{}, fmt.Errorf("%q is too long: at most %d days", text, maxDays)
	}
	return s, nil
}

func parseSpan(text string) (s Span, ok bool) {
	if n, found := strings.CutSuffix(text, "bd"); found {
		days, err := strconv.ParseUint(n, 10, 15)
		return Span{days: int(days)}, err == nil
	}
	for suffix, seconds := range map[string]int64{"d": daySeconds, "w": week} {
		if n, found := strings.CutSuffix(text, suffix); found {
			count, err := strconv.ParseUint(n, 10, 15)
			return Span{real: time.Duration(int64(count)*seconds) * time.Second}, err == nil
		}
	}
	real, err := time.ParseDuration(text)
	return Span{real: real}, err == nil
}

// Business says whether s counts business days, which need a calendar to be more
// than days.
func (s Span) Business() bool { return s.days > 0 }

// After is when s has passed since t. Real time doesn't ask the calendar.
// Business days end at the last closing time of the n-th day with business hours
// after the date of t, whatever the hour of t: of "1bd", that is the evening of
// the next one. Without a calendar, a business day is 24 hours.
func (s Span) After(t time.Time, c *Calendar) time.Time {
	switch {
	case s.days == 0:
		return t.Add(s.real)
	case c == nil:
		return t.Add(time.Duration(s.days) * daySeconds * time.Second)
	}
	return c.businessDays(t, s.days)
}
