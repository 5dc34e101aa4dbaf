package window

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// The error of estimates is what the documentation says, at all sizes.
func TestEstimateError(t *testing.T) {
	sizes := []int{1, 2, 10, 100, 1000, 3000, 10_000, 20_000, 50_000, 100_000}
	const sketches = 200
	squares, sums := make([]float64, len(sizes)), make([]float64, len(sizes))
	for i := range int64(sketches) {
		r := rand.New(rand.NewPCG(uint64(i), 5))
		to := make([]uint8, registers)
		n := 0
		for j, size := range sizes {
			for ; n < size; n++ {
				v := r.Int64()
				if i%2 == 0 {
					v = i<<32 + int64(n) // neighbours, as amounts and counters are
				}
				note(to, v)
				note(to, v)
			}
			off := float64(estimate(to))/float64(size) - 1
			squares[j] += off * off
			sums[j] += off
		}
	}
	for j, size := range sizes {
		standard, bias := math.Sqrt(squares[j]/sketches), sums[j]/sketches
		t.Logf("%7d values: standard error %.2f %%, bias %.2f %%", size, 100*standard, 100*bias)
		if standard > 0.02 || math.Abs(bias) > 0.005 {
			t.Errorf("%d values: standard error %.4f, bias %.4f", size, standard, bias)
		}
	}
	if got := estimate(make([]uint8, registers)); got != 0 {
		t.Errorf("of nothing: %d", got)
	}
	if got := estimate(slices.Repeat([]uint8{maxRank}, registers)); got <= 0 {
		t.Errorf("of the most there can be: %d", got)
	}
}
