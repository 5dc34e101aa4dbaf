package shop

import "time"

const (
	minute = int64(60_000)
	hour   = 60 * minute
	day    = 24 * hour
)

// calendar turns a place in the shop's business into a time: busy hours hold
// more of it than quiet ones, closed ones nothing.
type calendar struct {
	start int64    // of hour 0, Unix milliseconds
	until []uint64 // business done by the end of each hour
	at    int      // hour of the last answer: places are asked for in order
}

func newCalendar(start int64, hours int) *calendar {
	c := &calendar{start: start, until: make([]uint64, hours)}
	sum := uint64(0)
	for h := range hours {
		t := time.UnixMilli(start + int64(h)*hour).UTC()
		sum += monthWeight[t.Month()-1] * weekdayWeight[t.Weekday()] * hourWeight[t.Hour()]
		c.until[h] = sum
	}
	return c
}

func (c *calendar) total() uint64 { return c.until[len(c.until)-1] }

// before is the business done before a time on a full hour.
func (c *calendar) before(t int64) uint64 {
	if h := (t - c.start) / hour; h > 0 {
		return c.until[h-1]
	}
	return 0
}

// time is when the place comes; places must not go back.
func (c *calendar) time(place uint64) int64 {
	for c.until[c.at] <= place {
		c.at++
	}
	begin := uint64(0)
	if c.at > 0 {
		begin = c.until[c.at-1]
	}
	within := muldiv(place-begin, uint64(hour), c.until[c.at]-begin)
	return c.start + int64(c.at)*hour + int64(within)
}

// open moves the time of a refund to one when refunds are asked for: into the
// day's hours, and off Saturdays. It never moves it back.
func open(t int64, r rng) int64 {
	d := t / day * day
	at := d + refundMinute.draw(r)*minute + int64(r.below(uint64(minute)))
	if at < t {
		if m := (t - d) / minute; m >= refundMinute[0].v && m < refundMinute[len(refundMinute)-1].v {
			at = t
		} else {
			at += day
		}
	}
	if time.UnixMilli(at).UTC().Weekday() == time.Saturday && !r.permille(20) {
		at += day
	}
	return at
}
