package quality

import "math"

// z95 is the quantile of the standard normal distribution that a two-sided
// interval of 95 % ends at.
const z95 = 1.959963984540054

// Wilson is the score interval of 95 % of a share of which count of n were seen
// (Wilson 1927), without continuity correction. Unlike the usual one it is right
// where n is small, or the share is near 0 or 1. n must be above 0.
func Wilson(count, n int64) (low, high float64) {
	size, p := float64(n), float64(count)/float64(n)
	scale := 1 + z95*z95/size
	middle := (p + z95*z95/(2*size)) / scale
	half := z95 / scale * math.Sqrt(p*(1-p)/size+z95*z95/(4*size*size))
	low, high = max(middle-half, 0), min(middle+half, 1)
	if count == 0 {
		low = 0 // exactly, whatever was rounded
	}
	if count == n {
		high = 1
	}
	return low, high
}
