package ruletest

import (
	"regexp"
	"strconv"
	"strings"

	"github.com/refundguard/refundguard/rules/event"
)

// nothing is how a nil is shown.
const nothing = "nil"

func showFeature(f *event.Feature) string {
	switch f.Kind {
	case event.FeatureInt:
		return strconv.FormatInt(f.Num, 10)
	case event.FeatureMoney:
		return string(event.Money(f.Num).Append(nil, f.Currency.MinorUnits()))
	case event.FeatureFloat:
		return strconv.FormatFloat(f.Float, 'f', -1, 64)
	case event.FeatureString:
		return f.Str
	case event.FeatureBool:
		return strconv.FormatBool(f.Num != 0)
	case event.FeatureError:
		return "failed: " + f.Str
	}
	return nothing
}

var decimal = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?$`)

// floatDecimals are how many decimals of a floating-point number are compared,
// where a test writes fewer.
const floatDecimals = 4

// same compares numbers as numbers: 60 is 60.00. One with more decimals than
// money can have is a floating-point number.
func same(want *scalar, got string, exact bool) bool {
	switch {
	case want.kind == scalarNull:
		return got == nothing
	case want.text == got:
		return true
	case want.quoted || !decimal.MatchString(want.text) || !decimal.MatchString(got):
		return false
	case trimmed(want.text) == trimmed(got):
		return true
	case exact || decimals(got) <= floatDecimals:
		return false
	}
	w, err := strconv.ParseFloat(want.text, 64)
	g, err2 := strconv.ParseFloat(got, 64)
	n := max(floatDecimals, decimals(want.text))
	return err == nil && err2 == nil && strconv.FormatFloat(w, 'f', n, 64) == strconv.FormatFloat(g, 'f', n, 64)
}

func decimals(text string) int {
	_, after, _ := strings.Cut(text, ".")
	return len(after)
}

// trimmed is a decimal without zeros that say nothing.
func trimmed(text string) string {
	sign := ""
	if strings.HasPrefix(text, "-") {
		sign, text = "-", text[1:]
	}
	whole, part, _ := strings.Cut(text, ".")
	whole, part = strings.TrimLeft(whole, "0"), strings.TrimRight(part, "0")
	if whole == "" && part == "" {
		return "0"
	}
	return sign + whole + "." + part
}
