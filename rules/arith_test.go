package rules

import (
	"math"
	"math/big"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
	"pgregory.net/rapid"
)

// exactValue draws an int, a decimal or an amount, often near the edges.
func exactValue(t *rapid.T, label string) Value {
	n := rapid.OneOf(
		rapid.Int64(),
		rapid.Int64Range(-1_000_000, 1_000_000),
		rapid.SampledFrom([]int64{math.MinInt64, math.MinInt64 + 1, math.MaxInt64, math.MaxInt64 / scale, math.MaxInt64/scale + 1, math.MinInt64 / scale, 0, 1, -1}),
	).Draw(t, label)
	kind := rapid.SampledFrom([]Kind{KindInt, KindDecimal, KindMoney}).Draw(t, label+" kind")
	v := Value{Kind: kind, Num: n}
	if kind == KindMoney {
		v.Currency = 1
	}
	return v
}

func ratOf(v Value) *big.Rat {
	if v.Kind == KindInt {
		return new(big.Rat).SetInt64(v.Num)
	}
	return big.NewRat(v.Num, scale)
}

// sameOrFault: the result is exactly want, or want does not fit and it is a
// fault.
func sameOrFault(t *rapid.T, op string, whole bool, got Value, want *big.Rat) {
	if got.Kind == KindFault {
		units := want
		if !whole {
			units = new(big.Rat).Mul(want, big.NewRat(scale, 1))
		}
		if units.IsInt() && units.Num().IsInt64() && got.Str == faultOverflow {
			t.Fatalf("%s overflows although %v fits", op, want)
		}
		return
	}
	if ratOf(got).Cmp(want) != 0 {
		t.Fatalf("%s is %v, want %v", op, ratOf(got), want)
	}
}

func TestExactArithmetic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x, y := exactValue(t, "x"), exactValue(t, "y")
		a, b := ratOf(x), ratOf(y)
		order, fault := compareNumbers(x, y)
		if fault != "" || order != a.Cmp(b) {
			t.Fatalf("comparison is %d %q, want %d", order, fault, a.Cmp(b))
		}
		// An integer beside money needs 10,000 times its size: a fault is right where
		// that does not fit, even if the result would.
		wide := func(v, other Value) bool {
			_, ok := mulInt(v.Num, scale)
			return v.Kind == KindInt && other.Kind != KindInt && !ok
		}
		whole := x.Kind == KindInt && y.Kind == KindInt
		sum, difference := add(x, y), subtract(x, y)
		if !wide(x, y) && !wide(y, x) {
			sameOrFault(t, "x + y", whole, sum, new(big.Rat).Add(a, b))
			if y.Num != math.MinInt64 {
				sameOrFault(t, "x - y", whole, difference, new(big.Rat).Sub(a, b))
			}
		} else if sum.Kind != KindFault && ratOf(sum).Cmp(new(big.Rat).Add(a, b)) != 0 {
			t.Fatal("x + y is wrong")
		}
		if x.Kind == KindInt || y.Kind == KindInt {
			sameOrFault(t, "x * y", whole, multiply(x, y), new(big.Rat).Mul(a, b))
		}
		if whole && y.Num != 0 {
			want := new(big.Int).Rem(big.NewInt(x.Num), big.NewInt(y.Num)).Int64()
			if got := modulo(x, y); got.Num != want {
				t.Fatalf("x %% y is %d, want %d", got.Num, want)
			}
		}
		for name, f := range map[string]func(Value) Value{
			"floor": functions["floor"].one, "ceil": functions["ceil"].one,
		} {
			got := new(big.Rat).Sub(ratOf(f(x)), a)
			if !f(x).broken() && (got.Cmp(big.NewRat(1, 1)) >= 0 || got.Cmp(big.NewRat(-1, 1)) <= 0 || (name == "floor") != (got.Sign() <= 0) && got.Sign() != 0) {
				t.Fatalf("%s of %v is %v off", name, a, got)
			}
		}
	})
}

// TestLiteralsFinerThanMoney: they are decimals as written, however large the
// amount is that they are compared with.
func TestLiteralsFinerThanMoney(t *testing.T) {
	for when, want := range map[string]string{
		"amount >= 9999999999999.00005": "no",
		"amount > 9999999999999.00005":  "no",
		"amount < 9999999999999.00005":  "hit",
		"amount <= 9999999999999.00005": "hit",
		"amount == 9999999999999.00005": "no",
		"amount != 9999999999999.00005": "hit",
		"amount > 9999999999998.99995":  "hit",
		"amount < 9999999999998.99995":  "no",
		"9999999999999.00005 <= amount": "no",
		"9999999999999.00005 > amount":  "hit",
		"9999999999998.99995 < amount":  "hit",
		"amount * 0.5 < 0.00001":        "no",
		"amount > 1e-7":                 "hit",
		"1.00001 < 1.00002":             "hit",
	} {
		s := mustLoad(t, one(when))
		if got := verdict(evaluate(t, s, Input{Event: refund(t, "amount=9999999999999 USD")}, nil)); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
}

func TestConversion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		units := rapid.Int64Range(1, 999_999_999_999_999_999).Draw(t, "units")
		text := rapid.StringMatching(`[0-9]{1,6}(\.[0-9]{1,11})?`).Draw(t, "rate")
		r, err := parseRate(text)
		exact, _ := new(big.Rat).SetString(text)
		if err != nil {
			if exact.Sign() > 0 {
				t.Fatalf("%s is refused: %v", text, err)
			}
			return
		}
		got, ok := r.of(units)
		want := roundHalfEven(new(big.Rat).Mul(exact, new(big.Rat).SetInt64(units)))
		if ok != want.IsInt64() || ok && got != want.Int64() {
			t.Fatalf("%d × %s is %d (%v), want %v", units, text, got, ok, want)
		}
	})
}

func roundHalfEven(r *big.Rat) *big.Int {
	q, rest := new(big.Int).QuoRem(r.Num(), r.Denom(), new(big.Int))
	switch new(big.Int).Lsh(rest, 1).Cmp(r.Denom()) {
	case 1:
		q.Add(q, big.NewInt(1))
	case 0:
		q.Add(q, new(big.Int).And(q, big.NewInt(1)))
	}
	return q
}

func TestAmountBase(t *testing.T) {
	euro, _ := event.ParseCurrency("EUR")
	yen, _ := event.ParseCurrency("JPY")
	rates := func(o *Options) { o.Rates = map[event.Currency]string{euro: "1.08", yen: "0.00671"} }
	s := mustLoad(t, "rules: [{id: r, action: alert, when: '(amount_base ?? 0) >= 0', message: '{{amount_base}}'}]", rates)
	for amount, want := range map[string]string{
		"12.34 USD":               "12.34",
		"10 EUR":                  "10.80",
		"0.0001 EUR":              "0.0001",
		"99999999999999.9999 EUR": "107999999999999.9999",
		"1 JPY":                   "0.0067",
		"5 GBP":                   "nil",
	} {
		r := evaluate(t, s, Input{Event: refund(t, "amount="+amount)}, nil)
		if len(r.Hits) != 1 || r.Hits[0].Message != want {
			t.Errorf("%s: %+v, want %s", amount, r.Hits, want)
		}
	}
	for _, rate := range []string{"", "0", "1,08", "-1", "1.", ".5", "1e3", "1234567890123456789"} {
		_, err := loadText(t, one("amount > 5"), func(o *Options) { o.Rates = map[event.Currency]string{euro: rate} })
		if err == nil {
			t.Errorf("the rate %q is taken", rate)
		}
	}
}
