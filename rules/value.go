package rules

import (
	"math"
	"strconv"

	"github.com/refundguard/refundguard/rules/event"
)

// scale is the denominator of money and of decimals.
const scale = 10_000

// Kind is what a Value holds.
type Kind uint8

// The kinds of values. The zero Value is nil.
const (
	KindNil     Kind = iota
	KindBool         // Num is 0 or 1
	KindInt          // Num
	KindDecimal      // Num in 1/10,000, exact
	KindMoney        // Num in 1/10,000 of Currency; Currency 0 goes with any
	KindFloat        // Num holds the bits of a float64; Currency where it was computed from money
	KindString       // Str
	KindTime         // Num in Unix milliseconds
	KindFault        // it could not be computed, Str says why: whoever reads it fails
	kindMissing      // a nil was needed, Str says which: never leaves this package
)

// Value is one value of a condition. It has no pointers but its text's, and is
// passed by value: evaluation does not allocate.
type Value struct {
	Str      string
	Num      int64
	Kind     Kind
	Currency event.Currency
}

// IntValue is the integer n.
func IntValue(n int64) Value { return Value{Kind: KindInt, Num: n} }

// FaultValue stands for a value that could not be computed. Every rule that
// reads it fails with this text.
func FaultValue(text string) Value { return Value{Kind: KindFault, Str: text} }

func boolValue(b bool) Value {
	if b {
		return Value{Kind: KindBool, Num: 1}
	}
	return Value{Kind: KindBool}
}

// floatValue refuses what would compare in surprising ways.
func floatValue(f float64, c event.Currency) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return FaultValue("a number became too large or is not a number")
	}
	return Value{Kind: KindFloat, Num: int64(math.Float64bits(f)), Currency: c}
}

func (v Value) isTrue() bool { return v.Kind == KindBool && v.Num != 0 }

// broken says that evaluation must stop here: a failure, or a nil that was
// needed.
func (v Value) broken() bool { return v.Kind >= KindFault }

func (v Value) float() float64 {
	switch v.Kind {
	case KindFloat:
		return math.Float64frombits(uint64(v.Num))
	case KindInt:
		return float64(v.Num)
	}
	return float64(v.Num) / scale
}

// appendText writes the value as messages show it: money and decimals plain,
// numbers in shortest form, nil and what can't be computed as nil.
func (v Value) appendText(dst []byte) []byte {
	switch v.Kind {
	case KindBool:
		return strconv.AppendBool(dst, v.Num != 0)
	case KindInt:
		return strconv.AppendInt(dst, v.Num, 10)
	case KindMoney:
		return event.Money(v.Num).Append(dst, v.Currency.MinorUnits())
	case KindDecimal:
		return event.Money(v.Num).Append(dst, 0)
	case KindFloat:
		return strconv.AppendFloat(dst, v.float(), 'f', -1, 64)
	case KindString:
		return append(dst, v.Str...)
	case KindTime:
		return appendTime(dst, v.Num)
	}
	return append(dst, "nil"...)
}

// show writes the value as the decision shows it; the name stays.
func (v Value) show(f *event.Feature) {
	f.Kind, f.Currency, f.Num, f.Float, f.Str = event.FeatureNil, 0, 0, 0, ""
	switch v.Kind {
	case KindBool:
		f.Kind, f.Num = event.FeatureBool, v.Num
	case KindInt:
		f.Kind, f.Num = event.FeatureInt, v.Num
	case KindMoney:
		f.Kind, f.Num, f.Currency = event.FeatureMoney, v.Num, v.Currency
	case KindDecimal, KindFloat:
		f.Kind, f.Float, f.Currency = event.FeatureFloat, v.float(), v.Currency
	case KindString:
		f.Kind, f.Str = event.FeatureString, v.Str
	case KindTime:
		f.Kind, f.Num = event.FeatureInt, v.Num
	case KindFault, kindMissing:
		f.Kind, f.Str = event.FeatureError, v.Str
	}
}
