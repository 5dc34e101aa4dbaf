package demo

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Speed is how much of the shop's time passes in one of ours. It is a flag's
// value: 1d/s, 90m/s, 5000x, or max.
type Speed float64

// Max is as fast as it goes.
var Max = Speed(math.Inf(1))

// Set reads what was given to the flag.
func (s *Speed) Set(text string) error {
	wrong := fmt.Errorf("%q is not a speed: write 1d/s (a day of the shop in each second), 12h/s, 5000x, or max", text)
	if text == "max" {
		*s = Max
		return nil
	}
	if n, ok := strings.CutSuffix(text, "x"); ok {
		v, err := strconv.ParseFloat(n, 64)
		if err != nil || !(v > 0) || v > 1e9 {
			return wrong
		}
		*s = Speed(v)
		return nil
	}
	span, ok := strings.CutSuffix(text, "/s")
	if !ok || span == "" {
		return wrong
	}
	seconds := map[byte]float64{'s': 1, 'm': 60, 'h': 3600, 'd': 86400, 'w': 7 * 86400}[span[len(span)-1]]
	v, err := strconv.ParseFloat(span[:len(span)-1], 64)
	if seconds == 0 || err != nil || !(v > 0) || v*seconds > 1e9 {
		return wrong
	}
	*s = Speed(v * seconds)
	return nil
}

// Type names the flag's value in the help text.
func (*Speed) Type() string { return "SPEED" }

func (s *Speed) String() string {
	switch v := float64(*s); {
	case math.IsInf(v, 1):
		return "max"
	case v >= 86400 && math.Mod(v, 86400) == 0:
		return strconv.FormatFloat(v/86400, 'g', -1, 64) + "d/s"
	default:
		return strconv.FormatFloat(v, 'g', -1, 64) + "x"
	}
}

// reached is the shop's time at one of ours: begin at start, and from there on
// at this speed. Times of the shop are Unix milliseconds.
func (s Speed) reached(begin int64, start, now time.Time) int64 {
	ahead := float64(s) * float64(now.Sub(start).Milliseconds())
	if ahead > math.MaxInt64/4 {
		return math.MaxInt64 / 4
	}
	return begin + int64(ahead)
}
