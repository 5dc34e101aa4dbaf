package engine

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/refundguard/refundguard/rules/event"
)

// What counts of a transaction's refunds is their sum in each currency, whatever
// came and went before, and survives being saved.
func TestReservedIsTheSumOfWhatIsLeft(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	var currencies [3]event.Currency
	for i, code := range []string{"EUR", "JPY", "USD"} {
		currencies[i], _ = event.ParseCurrency(code)
	}
	for range 500 {
		var r reserved
		left := []reserves{}
		for range rng.IntN(40) {
			if n := len(left); n > 0 && rng.IntN(2) == 0 {
				at := rng.IntN(n)
				r.add(-left[at].amount, left[at].currency)
				left[at] = left[n-1]
				left = left[:n-1]
			} else {
				one := reserves{1 + rng.Int64N(3), currencies[rng.IntN(3)]}
				r.add(one.amount, one.currency)
				left = append(left, one)
			}
			if rng.IntN(3) == 0 {
				saved, err := decodeReserved(r.encode(nil))
				if err != nil {
					t.Fatal(err)
				}
				r = saved
			}
			want, got := map[event.Currency]int64{}, map[event.Currency]int64{}
			for _, one := range left {
				want[one.currency] += one.amount
			}
			for _, one := range append(r.others, reserves{r.amount, r.currency}) {
				if got[one.currency] += one.amount; one.amount != want[one.currency] {
					t.Fatalf("%+v, want %v", r, want)
				}
			}
			delete(got, r.currency)
			if len(want) != len(got)+min(1, len(want)) || r.mixed {
				t.Fatalf("%+v, want %v", r, want)
			}
		}
	}
	full := reserved{}
	full.add(math.MaxInt64-1, currencies[0])
	full.add(5, currencies[0])
	if full.add(-5, currencies[0]); full.amount != math.MaxInt64 {
		t.Errorf("what no integer holds comes to %d", full.amount)
	}
	for _, bad := range [][]byte{nil, {1}, {2, 3}, {2, 3, 1, 9}} {
		if _, err := decodeReserved(bad); err == nil {
			t.Errorf("%v is read", bad)
		}
	}
	if old, err := decodeReserved([]byte{2, 3, 1}); err != nil || !old.mixed {
		t.Errorf("what an earlier program saved as mixed is %+v, %v", old, err)
	}
}
