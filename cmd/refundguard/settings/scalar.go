package settings

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"
)

var duration = reflect.TypeFor[time.Duration]()

// parseScalar reads the text of one value. What it returns is assignable to t,
// or is the text itself for a type that reads its own.
func parseScalar(t reflect.Type, name, text string) (any, error) {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if reflect.PointerTo(t).Implements(unmarshaler) {
		return text, reflect.New(t).Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	}
	value := reflect.New(t).Elem()
	switch {
	case t == duration:
		d, err := ParseDuration(text)
		return d, err
	case t.Kind() == reflect.String:
		value.SetString(text)
	case t.Kind() == reflect.Bool:
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		value.SetBool(text == "true")
	case value.CanInt():
		n, err := parseInt(name, text)
		if err != nil || value.OverflowInt(n) {
			return nil, fmt.Errorf("%q is not a whole number%s", text, orBytes(name))
		}
		value.SetInt(n)
	case value.CanUint():
		n, err := parseInt(name, text)
		if err != nil || n < 0 || value.OverflowUint(uint64(n)) {
			return nil, fmt.Errorf("%q is not a whole number from 0%s", text, orBytes(name))
		}
		value.SetUint(uint64(n))
	case value.CanFloat():
		f, err := strconv.ParseFloat(text, t.Bits())
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return nil, fmt.Errorf("%q is not a number", text)
		}
		value.SetFloat(f)
	default:
		return nil, fmt.Errorf("can't be set from text (%s)", t)
	}
	return value.Interface(), nil
}

var byteUnits = []struct {
	suffix string
	bytes  int64
}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}}

func isBytes(name string) bool { return strings.HasSuffix(name, "bytes") || name == "memory" }

func orBytes(name string) string {
	if isBytes(name) {
		return ", nor a size such as 64KiB"
	}
	return ""
}

// parseInt reads a whole number; a key that counts bytes also takes units.
func parseInt(name, text string) (int64, error) {
	if isBytes(name) {
		return ParseBytes(text)
	}
	return strconv.ParseInt(text, 10, 64)
}

// ParseBytes reads a whole number of bytes, or of the units KiB, MiB, GiB, kB, MB
// and GB: "64KiB".
func ParseBytes(text string) (int64, error) {
	factor := int64(1)
	for _, unit := range byteUnits {
		if number, ok := strings.CutSuffix(text, unit.suffix); ok {
			text, factor = strings.TrimSpace(number), unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, err
	}
	if n > math.MaxInt64/factor || n < math.MinInt64/factor {
		return 0, strconv.ErrRange
	}
	return n * factor, nil
}

var timeUnits = []struct {
	suffix string
	unit   time.Duration
}{
	{"ns", time.Nanosecond}, {"us", time.Microsecond}, {"µs", time.Microsecond}, {"ms", time.Millisecond},
	{"s", time.Second}, {"m", time.Minute}, {"h", time.Hour}, {"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour},
}

// ParseDuration reads what time.ParseDuration does, and days and weeks:
// "400d", "1d12h", "2w". A bare number other than 0 has no unit, and is refused.
func ParseDuration(text string) (time.Duration, error) {
	wrong := fmt.Errorf("%q is not a duration such as 500ms, 30s, 15m, 4h or 7d", text)
	rest, negative := strings.CutPrefix(text, "-")
	if rest == "0" {
		return 0, nil
	}
	if rest == "" {
		return 0, wrong
	}
	var total float64
	for rest != "" {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789."))
		number, err := strconv.ParseFloat(rest[:digits], 64)
		if err != nil {
			return 0, wrong
		}
		rest = rest[digits:]
		letters := strings.IndexAny(rest, "0123456789.")
		if letters < 0 {
			letters = len(rest)
		}
		unit, err := timeUnit(rest[:letters])
		if err != nil {
			return 0, wrong
		}
		rest = rest[letters:]
		total += number * float64(unit)
	}
	if total > math.MaxInt64/2 {
		return 0, fmt.Errorf("%q is longer than 146 years", text)
	}
	if negative {
		total = -total
	}
	return time.Duration(math.Round(total)), nil
}

func timeUnit(suffix string) (time.Duration, error) {
	for _, u := range timeUnits {
		if u.suffix == suffix {
			return u.unit, nil
		}
	}
	return 0, errors.New("no such unit")
}

// FormatDuration writes the shortest text that ParseDuration reads back.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	for i := len(timeUnits) - 2; i >= 0; i-- { // not weeks: 400d rather than 57w1d
		if u := timeUnits[i]; d%u.unit == 0 {
			return strconv.FormatInt(int64(d/u.unit), 10) + u.suffix
		}
	}
	return d.String()
}
