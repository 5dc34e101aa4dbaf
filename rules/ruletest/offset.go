package ruletest

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// defaultStart is the start of a test that doesn't say its own: a Monday noon.
var defaultStart = time.Date(2026, 1, 5, 12, 0, 0, 0, time.UTC).UnixMilli()

// units of offsets, in milliseconds, the longest first.
var units = []struct {
	name string
	ms   int64
}{{"w", 7 * 24 * 3600_000}, {"d", 24 * 3600_000}, {"h", 3600_000}, {"m", 60_000}, {"s", 1000}, {"ms", 1}}

// parseOffset reads +1d2h, 90m, -5s: milliseconds.
func parseOffset(text string) (int64, bool) {
	sign := int64(1)
	rest := strings.TrimPrefix(text, "+")
	if rest == text && strings.HasPrefix(text, "-") {
		sign, rest = -1, text[1:]
	}
	if rest == "0" {
		return 0, true
	}
	total := int64(0)
	for rest != "" {
		digits := 0
		for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
			digits++
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, false
		}
		letters := digits
		for letters < len(rest) && rest[letters] >= 'a' && rest[letters] <= 'z' {
			letters++
		}
		unit := int64(0)
		for _, u := range units {
			if u.name == rest[digits:letters] {
				unit = u.ms
			}
		}
		if unit == 0 || n > maxOffset/unit {
			return 0, false
		}
		total, rest = total+n*unit, rest[letters:]
		if total > maxOffset {
			return 0, false
		}
	}
	return sign * total, text != "" && text != "+" && text != "-"
}

// maxOffset is some 290 years: it keeps sums far from overflow.
const maxOffset = math.MaxInt64 / 1_000_000

// showOffset writes milliseconds as parseOffset reads them, with a sign.
func showOffset(ms int64) string {
	if ms == 0 {
		return "0s"
	}
	b := []byte{'+'}
	if ms < 0 {
		b[0], ms = '-', -ms
	}
	for _, u := range units {
		if n := ms / u.ms; n > 0 && u.name != "w" {
			b = append(strconv.AppendInt(b, n, 10), u.name...)
			ms %= u.ms
		}
	}
	return string(b)
}

// parseMoment reads an offset from start, or a time of RFC 3339.
func parseMoment(text string, start int64) (int64, bool) {
	if ms, ok := parseOffset(text); ok {
		return start + ms, true
	}
	return parseTime(text)
}

func parseTime(text string) (int64, bool) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return 0, false
	}
	return t.UnixMilli(), true
}

func appendTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999Z07:00")
}

// maxEvery bounds the time between repeats to ten years, so that maxEvents of
// them don't overflow.
const maxEvery = 3652 * 24 * 3600_000
