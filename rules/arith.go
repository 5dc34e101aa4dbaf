package rules

import (
	"math"
	"math/bits"
	"time"

	"github.com/refundguard/refundguard/rules/event"
)

// The faults of arithmetic. They are constants, so that a failing rule does not
// allocate either.
const (
	faultOverflow   = "overflow: the result does not fit in 64 bits"
	faultZero       = "division by zero"
	faultCurrencies = "two currencies can't be added or compared: use amount_base, or compare currency first"
)

// scaled says that Num is in 1/10,000.
func (v Value) scaled() bool { return v.Kind == KindMoney || v.Kind == KindDecimal }

// common is the currency of a result: that of the operand that has one. ok is
// false where both have one, and not the same.
func common(x, y Value) (c event.Currency, ok bool) {
	if x.Currency == y.Currency || y.Currency == 0 {
		return x.Currency, true
	}
	return y.Currency, x.Currency == 0
}

// compareNumbers gives -1, 0 or 1, or a fault. It is exact, except where one
// side is a float: then the other is compared as the nearest float.
func compareNumbers(x, y Value) (int, string) {
	if x.Kind == KindInt && y.Kind == KindInt {
		return compareInts(x.Num, y.Num), ""
	}
	if _, ok := common(x, y); !ok {
		return 0, faultCurrencies
	}
	if x.scaled() && y.scaled() {
		return compareInts(x.Num, y.Num), ""
	}
	if x.Kind == KindFloat || y.Kind == KindFloat {
		a, b := x.float(), y.float()
		switch {
		case a < b:
			return -1, ""
		case a > b:
			return 1, ""
		}
		return 0, ""
	}
	if x.Kind == KindInt {
		return -compareScaled(y.Num, x.Num), ""
	}
	return compareScaled(x.Num, y.Num), ""
}

func compareInts(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareScaled compares s/10,000 with n.
func compareScaled(s, n int64) int {
	scaledN, ok := mulInt(n, scale)
	if ok {
		return compareInts(s, scaledN)
	}
	if n > 0 {
		return -1
	}
	return 1
}

func addInt(a, b int64) (int64, bool) {
	c := a + b
	return c, (a^c)&(b^c) >= 0
}

func mulInt(a, b int64) (int64, bool) {
	hi, lo := bits.Mul64(abs64(a), abs64(b))
	neg := (a < 0) != (b < 0)
	switch {
	case hi != 0 || lo > 1<<63 || lo == 1<<63 && !neg:
		return 0, false
	case neg:
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs64(a int64) uint64 {
	if a < 0 {
		return -uint64(a)
	}
	return uint64(a)
}

// add, subtract, multiply, divide and modulo take numbers; times where the
// checker lets them through. A fault comes back as a value.
func add(x, y Value) Value {
	if x.Kind == KindTime || y.Kind == KindTime {
		return addTime(x, y)
	}
	c, ok := common(x, y)
	if !ok {
		return FaultValue(faultCurrencies)
	}
	if x.Kind == KindFloat || y.Kind == KindFloat {
		return floatValue(x.float()+y.float(), c)
	}
	kind := max(x.Kind, y.Kind) // int < decimal < money
	a, b := x.Num, y.Num
	okA, okB := true, true
	if kind != KindInt && x.Kind == KindInt {
		a, okA = mulInt(a, scale)
	}
	if kind != KindInt && y.Kind == KindInt {
		b, okB = mulInt(b, scale)
	}
	sum, okC := addInt(a, b)
	if !okA || !okB || !okC {
		return FaultValue(faultOverflow)
	}
	return Value{Kind: kind, Num: sum, Currency: c}
}

// addTime adds seconds to a time.
func addTime(x, y Value) Value {
	if y.Kind == KindTime {
		x, y = y, x
	}
	ms, ok := milliseconds(y)
	sum, ok2 := addInt(x.Num, ms)
	if !ok || !ok2 {
		return FaultValue(faultOverflow)
	}
	return Value{Kind: KindTime, Num: sum}
}

// milliseconds of a number of seconds, floored.
func milliseconds(v Value) (int64, bool) {
	switch v.Kind {
	case KindInt:
		return mulInt(v.Num, 1000)
	case KindFloat:
		ms := math.Floor(v.float() * 1000)
		return int64(ms), math.Abs(ms) < 1<<62
	}
	ms := v.Num / 10
	if v.Num%10 < 0 {
		ms--
	}
	return ms, true
}

func negate(v Value) Value {
	if v.Kind == KindFloat {
		return floatValue(-v.float(), v.Currency)
	}
	if v.Num == math.MinInt64 {
		return FaultValue(faultOverflow)
	}
	v.Num = -v.Num
	return v
}

func subtract(x, y Value) Value {
	if x.Kind == KindTime && y.Kind == KindTime {
		d, ok := addInt(x.Num, -y.Num)
		seconds, ok2 := mulInt(d, scale/1000)
		if !ok || !ok2 || y.Num == math.MinInt64 {
			return FaultValue(faultOverflow)
		}
		return Value{Kind: KindDecimal, Num: seconds}
	}
	n := negate(y)
	if n.broken() {
		return n
	}
	return add(x, n)
}

// multiply is exact where one side is an integer.
func multiply(x, y Value) Value {
	if y.Kind == KindInt {
		x, y = y, x
	}
	if x.Kind == KindInt && y.Kind != KindFloat {
		p, ok := mulInt(x.Num, y.Num)
		if !ok {
			return FaultValue(faultOverflow)
		}
		return Value{Kind: y.Kind, Num: p, Currency: y.Currency}
	}
	c, ok := common(x, y)
	if !ok {
		return FaultValue(faultCurrencies)
	}
	return floatValue(x.float()*y.float(), c)
}

// divide gives a float; money by money gives a number without a currency.
func divide(x, y Value) Value {
	c, ok := common(x, y)
	if !ok {
		return FaultValue(faultCurrencies)
	}
	d := y.float()
	if d == 0 {
		return FaultValue(faultZero)
	}
	if y.Kind == KindMoney || y.Currency != 0 {
		c = 0
	}
	return floatValue(x.float()/d, c)
}

func modulo(x, y Value) Value {
	if y.Num == 0 {
		return FaultValue(faultZero)
	}
	if y.Num == -1 {
		return IntValue(0) // what MinInt64 % -1 is, without the trap
	}
	return IntValue(x.Num % y.Num)
}

func appendTime(dst []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999Z07:00")
}
