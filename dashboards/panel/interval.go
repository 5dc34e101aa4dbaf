package panel

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"time"
)

// intervals are those that Grafana rounds to: each with the length up to which
// it is taken (rangeutil.roundInterval).
var intervals = []struct{ below, rounded time.Duration }{
	{10 * time.Millisecond, time.Millisecond}, {15 * time.Millisecond, 10 * time.Millisecond}, {35 * time.Millisecond, 20 * time.Millisecond},
	{75 * time.Millisecond, 50 * time.Millisecond}, {150 * time.Millisecond, 100 * time.Millisecond}, {350 * time.Millisecond, 200 * time.Millisecond},
	{750 * time.Millisecond, 500 * time.Millisecond}, {1500 * time.Millisecond, time.Second}, {3500 * time.Millisecond, 2 * time.Second},
	{7500 * time.Millisecond, 5 * time.Second}, {12500 * time.Millisecond, 10 * time.Second}, {17500 * time.Millisecond, 15 * time.Second},
	{25 * time.Second, 20 * time.Second}, {45 * time.Second, 30 * time.Second}, {90 * time.Second, time.Minute}, {210 * time.Second, 2 * time.Minute},
	{450 * time.Second, 5 * time.Minute}, {750 * time.Second, 10 * time.Minute}, {1050 * time.Second, 15 * time.Minute}, {1500 * time.Second, 20 * time.Minute},
	{2700 * time.Second, 30 * time.Minute}, {5400 * time.Second, time.Hour}, {9000 * time.Second, 2 * time.Hour}, {16200 * time.Second, 3 * time.Hour},
	{32400 * time.Second, 6 * time.Hour}, {86400 * time.Second, 12 * time.Hour}, {604800 * time.Second, day}, {1814400 * time.Second, 7 * day},
	{3628800 * time.Second, 30 * day}, {math.MaxInt64, 365 * day},
}

const day = 24 * time.Hour

// IntervalOf is the width of a bucket, as Grafana chooses it for a panel that
// shows at most points of them.
func (p *Panel) IntervalOf(from, to time.Time, points int) time.Duration {
	if p.MaxDataPoints > 0 {
		points = min(points, p.MaxDataPoints)
	}
	wanted := to.Sub(from) / time.Duration(max(points, 1))
	rounded := wanted
	for _, i := range intervals {
		if wanted < i.below {
			rounded = i.rounded
			break
		}
	}
	return max(rounded, p.Interval)
}

var anInterval = regexp.MustCompile(`^(\d+(?:\.\d+)?)(ms|[Mwdhmsy])$`)

var intervalUnits = map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": day, "w": 7 * day, "M": 30 * day, "y": 365 * day}

func parseInterval(text string) (time.Duration, error) {
	m := anInterval.FindStringSubmatch(text)
	if m == nil {
		return 0, fmt.Errorf("interval %q is not a number with a unit, such as 1h", text)
	}
	n, err := strconv.ParseFloat(m[1], 64)
	return time.Duration(n * float64(intervalUnits[m[2]])), err
}

// formatInterval is Grafana's secondsToHms: the largest unit that fits, whole.
func formatInterval(d time.Duration) string {
	for _, unit := range []string{"y", "d", "h", "m", "s"} {
		if n := d / intervalUnits[unit]; n > 0 {
			return strconv.FormatInt(int64(n), 10) + unit
		}
	}
	if d >= time.Millisecond {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	return "less than a millisecond"
}
