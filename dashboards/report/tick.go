package report

import (
	"math"
	"strconv"
	"time"
)

// numberTicks are round numbers that cover low to high, about n of them.
func numberTicks(low, high float64, n int, whole bool) []float64 {
	if !(high > low) {
		high = low + 1
	}
	rough := (high - low) / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := 10 * power
	for _, m := range []float64{1, 2, 2.5, 5} {
		if m*power >= rough {
			step = m * power
			break
		}
	}
	if whole {
		step = math.Max(1, math.Ceil(step))
	}
	var ticks []float64
	for i := math.Floor(low / step); ; i++ {
		tick, _ := strconv.ParseFloat(strconv.FormatFloat(i*step, 'g', 12, 64), 64) // 0.3, not 0.30000000000000004
		ticks = append(ticks, tick)
		if i*step >= high {
			return ticks
		}
	}
}

// timeTick is a point of the time axis.
type timeTick struct {
	At   time.Time
	Text string
}

const aDay = 24 * time.Hour

// timeTicks are at round times: hours, days, or beginnings of months.
func timeTicks(from, to time.Time, n int) (ticks []timeTick) {
	rough := to.Sub(from) / time.Duration(n)
	for _, step := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second, time.Minute, 5 * time.Minute, 15 * time.Minute, 30 * time.Minute,
		time.Hour, 3 * time.Hour, 6 * time.Hour, 12 * time.Hour, aDay, 2 * aDay, 7 * aDay, 14 * aDay} {
		if step < rough {
			continue
		}
		at := from.UTC().Truncate(step) // weeks are those from Monday, 1 January of year 1
		for ; !at.After(to); at = at.Add(step) {
			if !at.Before(from) {
				ticks = append(ticks, timeTick{at, tickText(at, step)})
			}
		}
		return ticks
	}
	months := max(1, int(math.Ceil(rough.Hours()/24/31)))
	for _, whole := range []int{1, 2, 3, 4, 6, 12} {
		if whole >= months {
			months = whole
			break
		}
	}
	if months > 12 {
		months = (months + 11) / 12 * 12
	}
	for at := time.Date(from.Year(), 1, 1, 0, 0, 0, 0, time.UTC); !at.After(to); at = at.AddDate(0, months, 0) {
		if !at.Before(from) {
			ticks = append(ticks, timeTick{at, at.Format("Jan 2006")})
		}
	}
	return ticks
}

func tickText(at time.Time, step time.Duration) string {
	switch {
	case step < time.Minute:
		return at.Format("15:04:05")
	case step < aDay && at.Hour()+at.Minute() == 0, step >= aDay:
		return at.Format("2 Jan")
	}
	return at.Format("15:04")
}
