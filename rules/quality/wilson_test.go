package quality_test

import (
	"math"
	"testing"

	"github.com/refundguard/refundguard/rules/quality"
)

// TestWilson: the values of Newcombe, "Two-sided confidence intervals for the
// single proportion", Statistics in Medicine 17 (1998), table I, method 3.
func TestWilson(t *testing.T) {
	for _, c := range []struct {
		count, of int64
		low, high float64
	}{
		{81, 263, 0.2553, 0.3662},
		{15, 148, 0.0624, 0.1605},
		{0, 20, 0, 0.1611},
		{1, 29, 0.0061, 0.1718},
	} {
		low, high := quality.Wilson(c.count, c.of)
		if math.Abs(low-c.low) > 0.00005 || math.Abs(high-c.high) > 0.00005 {
			t.Errorf("%d of %d: %.4f to %.4f, published are %.4f to %.4f", c.count, c.of, low, high, c.low, c.high)
		}
		mirrorLow, mirrorHigh := quality.Wilson(c.of-c.count, c.of)
		if math.Abs(1-mirrorHigh-low) > 1e-12 || math.Abs(1-mirrorLow-high) > 1e-12 {
			t.Errorf("%d of %d isn't the mirror of its opposite: %v to %v", c.count, c.of, mirrorLow, mirrorHigh)
		}
	}
}

// TestWilsonBounds solves what defines the interval: a true share p at its end
// is z standard errors of p away from what was seen.
func TestWilsonBounds(t *testing.T) {
	for n := int64(1); n <= 200; n++ {
		for count := int64(0); count <= n; count++ {
			low, high := quality.Wilson(count, n)
			seen := float64(count) / float64(n)
			if !(0 <= low && low <= seen && seen <= high && high <= 1) {
				t.Fatalf("%d of %d: %v to %v", count, n, low, high)
			}
			for _, p := range []float64{low, high} {
				if p == 0 || p == 1 {
					continue
				}
				if z := math.Abs(seen-p) / math.Sqrt(p*(1-p)/float64(n)); math.Abs(z-1.959964) > 1e-5 {
					t.Fatalf("%d of %d: %v is %v standard errors away", count, n, p, z)
				}
			}
		}
	}
}
