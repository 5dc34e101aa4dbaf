package rules

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// number renders one expression over one refund.
func rendered(t testing.TB, expr string, fields ...string) string {
	t.Helper()
	s := mustLoad(t, fmt.Sprintf("rules: [{id: r, action: review, when: amount > 0, message: %q}]", "{{"+expr+"}}"))
	r := evaluate(t, s, Input{Event: refund(t, fields...)}, nil)
	return r.Hits[0].Message
}

func TestHelperFunctions(t *testing.T) {
	for _, c := range []struct{ expr, want string }{
		{`hour(occurred_at, "UTC")`, "12"},
		{`hour(occurred_at, "Europe/Berlin")`, "13"},
		{`hour(occurred_at + hours(10.5), "Europe/Berlin")`, "23"},
		{`hour(occurred_at + days(60), "Europe/Berlin")`, "14"}, // summer time
		{`hour(occurred_at, "Asia/Kolkata")`, "17"},
		{`hour(occurred_at - days(30000), "UTC")`, "12"},
		{`weekday(occurred_at, "UTC")`, "7"}, // 1 March 2026 is a Sunday
		{`weekday(occurred_at, "Pacific/Auckland")`, "1"},
		{`weekday(occurred_at + days(6), "UTC")`, "6"},
		{`days(2) + hours(1.5) + minutes(2)`, "178320"},
		{`days(-0.5)`, "-43200"},
		{`ratio(amount, 4)`, "2.5"},
		{`ratio(5, 2)`, "2.5"},
		{`ratio(amount, amount)`, "1"},
		{`ratio(amount, 0)`, "nil"},
		{`ratio(amount, amount - amount)`, "nil"},
		{`zscore(amount, 4, 2)`, "3"},
		{`zscore(amount, amount / 2, amount / 4)`, "2"},
		{`zscore(1, 4.5, 2)`, "-1.75"},
		{`zscore(amount, 4, 0)`, "nil"},
		{`zscore(amount, 4, units)`, "nil"},
		{`same_currency(amount, amount)`, "true"},
		{`same_currency(amount, amount / 3)`, "true"},
		{`same_currency(amount, original.amount)`, "nil"},
		{`hash_bucket("customer_1", 1)`, "0"},
		{`hash_bucket("customer_1", 100)`, "11"},
		{`hash_bucket("customer_1", 1000)`, "118"},
		{`hash_bucket("", 100)`, "17"},
		{`floor(distance_km(52.52, 13.405, 48.8566, 2.3522))`, "877"}, // Berlin and Paris
		{`floor(distance_km(0, 0, 0, 180))`, "20015"},
		{`floor(distance_km(90, 0, -90, 77))`, "20015"},
		{`floor(distance_km(0, 179.9, 0, -179.9) + 0.5)`, "22"},
		{`distance_km(1, 2, 1, 2)`, "0"},
		{`distance_km(91, 2, 1, 2)`, "nil"},
		{`distance_km(1, 2, 1, -180.5)`, "nil"},
		{`distance_km(1, 2, 1, weight)`, "nil"},
	} {
		if got := rendered(t, c.expr); got != c.want {
			t.Errorf("%s is %s, want %s", c.expr, got, c.want)
		}
	}
}

func TestHelperFaults(t *testing.T) {
	for when, want := range map[string]string{
		`zscore(amount, original.amount, 1) > 1`:         faultCurrencies,
		`zscore(amount, 1, original.amount) > 1`:         faultCurrencies,
		`same_currency(amount, original.amount)`:         "no",
		`not same_currency(amount, original.amount)`:     "hit",
		`hash_bucket(customer_id, units - 7) == 0`:       faultBuckets,
		`hash_bucket(customer_id, units) in 0..6`:        "hit",
		`(ratio(amount, units - 7) ?? 5) == 5`:           "hit",
		`ratio(amount, units - 7) > 5`:                   "missing",
		`days(units * 1000000000000) > 5`:                "no",
		`days(units * 1000000000000000) > 5`:             faultOverflow,
		`in_cidr(customer_id, ["10.0.0.0/8"])`:           "missing",
		`(in_cidr(customer_id, ["10.0.0.0/8"]) ?? true)`: "hit",
		`device_id matches "x"`:                          faultMatched,
		`device_id contains "x"`:                         "no",
	} {
		s := mustLoad(t, one(when))
		in := Input{Event: refund(t, "units=7", "customer_id=c1", "device_id="+fmt.Sprintf("%5000d", 1)), Original: payment(t, "amount=5 EUR")}
		want := want
		if when == `days(units * 1000000000000) > 5` {
			want = "hit"
		}
		if got := verdict(evaluate(t, s, in, nil)); got != want {
			t.Errorf("%s: %s, want %s", when, got, want)
		}
	}
}

func TestHelperProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text, n := rapid.String().Draw(t, "text"), rapid.Int64Range(1, math.MaxInt64).Draw(t, "n")
		bucket := hashBucket(Value{Kind: KindString, Str: text}, IntValue(n))
		if bucket.Kind != KindInt || bucket.Num < 0 || bucket.Num >= n {
			t.Fatalf("%q of %d is in bucket %+v", text, n, bucket)
		}
		coordinate := func(label string, limit int64) Value {
			return Value{Kind: KindDecimal, Num: rapid.Int64Range(-limit*scale, limit*scale).Draw(t, label)}
		}
		a, b, c, d := coordinate("lat1", 90), coordinate("lon1", 180), coordinate("lat2", 90), coordinate("lon2", 180)
		there, back := distance([4]Value{a, b, c, d}), distance([4]Value{c, d, a, b})
		if there.Kind != KindFloat || there.float() < 0 || there.float() > math.Pi*earthRadius+1e-6 || math.Abs(there.float()-back.float()) > 1e-6 {
			t.Fatalf("%v there, %v back", there.float(), back.float())
		}
		x, y := exactValue(t, "x"), exactValue(t, "y")
		if z := zscore([4]Value{x, x, y}); y.Num != 0 && x.Num != math.MinInt64 && (z.Kind != KindFloat || z.float() != 0) {
			t.Fatalf("x is %+v away from itself", z)
		} else if y.Num == 0 && x.Num != math.MinInt64 && z.Kind != KindNil {
			t.Fatalf("without a deviation: %+v", z)
		}
	})
}

// TestTextIsBounded: nine texts of 4 KiB are what a rule may read, wherever it
// does; of shorter ones, more.
func TestTextIsBounded(t *testing.T) {
	for _, c := range []struct {
		n, bytes int
		want     string
	}{{9, 4096, "no"}, {10, 4096, faultWork}, {1, 40_000, "no"}, {1, 40_001, faultWork}, {80, 500, "no"}, {80, 501, faultWork}} {
		in := Input{Event: refund(t, "ip="+strings.Repeat("A", c.bytes))}
		for _, call := range []string{"lower(ip)", "upper(ip)", "trim(ip)"} {
			s := mustLoad(t, one(strings.Repeat(call+` == "x" or `, c.n)+"amount > 50"))
			if got := verdict(evaluate(t, s, in, nil)); got != c.want {
				t.Errorf("%d times %s of %d bytes: %s, want %s", c.n, call, c.bytes, got, c.want)
			}
		}
		spread := `{id: r, action: review, on_missing: skip, when: lower(ip) != "x", exceptions: [{reason: x, when: 'len(ip) < 5` + strings.Repeat(` or ip contains "x"`, c.n-1) + `'}]}`
		got := evaluate(t, mustLoad(t, "rules: ["+spread+"]"), in, nil)
		if fails := len(got.Errors) > 0; fails != ((c.n+1)*c.bytes > 40_000) {
			t.Errorf("%d texts of %d bytes, spread over the rule: %+v", c.n+1, c.bytes, got)
		}
	}
	if got := verdict(evaluate(t, mustLoad(t, one(`ip matches "x{50}y"`)), Input{Event: refund(t, "ip="+strings.Repeat("x", 2000))}, nil)); got != faultWork {
		t.Errorf("a pattern of many steps on a long text: %s", got)
	}
	if got := verdict(evaluate(t, mustLoad(t, one(`ip matches "x{50}y"`)), Input{Event: refund(t, "ip="+strings.Repeat("x", 256))}, nil)); got != "no" {
		t.Errorf("a pattern of many steps on an id: %s", got)
	}
}

// TestBucketsAreEven: no bucket of 20 is far from its share of 100,000 names.
func TestBucketsAreEven(t *testing.T) {
	counts := [20]int{}
	for i := range 100_000 {
		counts[hashBucket(Value{Kind: KindString, Str: fmt.Sprint("customer_", i)}, IntValue(20)).Num]++
	}
	for i, n := range counts {
		if n < 4600 || n > 5400 {
			t.Errorf("bucket %d has %d", i, n)
		}
	}
}
